"""``python -m blocklmm``."""

from .cli import main

raise SystemExit(main())
