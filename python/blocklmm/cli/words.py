"""Messages of the library in the command line's words: its options are flags here."""

from __future__ import annotations

import re

_PHRASES = (
    (
        r"use fit\.refit_reml\(\), or ddf='satterthwaite'",
        "leave --ml out, or say --ddf satterthwaite",
    ),
    (r"ddf='([\w-]+)' or '([\w-]+)'", r"--ddf \1 or \2"),
    (r"\bnew_levels='(\w+)'", r"--new-levels \1"),
    (r"\b(missing|ddf|interval)='([\w-]+)'", r"--\1 \2"),
    (r"\bweights='[^']*'", "--weights"),
    (r"\boffset='[^']*'", "offset(…) in the formula"),
    (r"\bmax_evaluations=", "--max-evaluations "),
    (r"\bout='", "--out '"),
    (r"give it as a data frame, pd\.read_csv\(.*\)", "files in folders and globs are Parquet"),
    (r"give it as a data frame, pd\.\w+\(.*\)", "export it as CSV"),
    (r"fit all to data\.dropna\(subset=.*\)", "leave such rows out of the file"),
)


def in_flags(text: str) -> str:
    """Return a message with flags, as ``--new-levels population``, for arguments of Python."""
    for pattern, flags in _PHRASES:
        text = re.sub(pattern, flags, text)
    return text
