"""Files that are written beside the one they replace: it is there as a whole, or as it was."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give an empty file to write, which takes the place of another in the end.

    A path may begin at home, ``~``. The file may be read by whom the other one could be read by; a
    new one by whom the umask says.

    Parameters
    ----------
    path : str or path

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    IsADirectoryError
    """
    target = Path(path).expanduser()
    if not target.parent.exists():
        raise FileNotFoundError(errno.ENOENT, "there is no such folder", os.fspath(target.parent))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(target))
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    beside.open("xb").close()
    try:
        if target.exists():
            beside.chmod(target.stat().st_mode & 0o777)
        yield beside
        os.replace(beside, target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
