"""From arguments to an exit status: what is said on stderr, and how a command ends."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, suppress
from typing import Any, TextIO

from blocklmm.errors import BlocklmmError, BlocklmmWarning, OptionError

from .parsers import parser
from .words import in_flags

FAILED, USAGE, INTERRUPTED, PIPE_CLOSED = 1, 2, 130, 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the process's exit status.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those after the program's name; the process's own by default.

    Returns
    -------
    int
        0 for a result; 1 where data or model can't be fitted, or a file can't be read or written; 2
        for arguments that are wrong; 3 where a fit was made but is not certified to be optimal; 130
        after Ctrl-C; 141 where standard output was closed before all was written.
    """
    with ExitStack() as stack:
        if sys.stderr is None:
            stack.enter_context(redirect_stderr(stack.enter_context(open(os.devnull, "w"))))
        stack.enter_context(_said_warnings())
        stack.enter_context(_any_text(sys.stdout))
        try:
            status = _run(arguments)
            if sys.stdout is not None:
                sys.stdout.flush()
        except KeyboardInterrupt:
            _say("interrupted")
            return INTERRUPTED
        except BrokenPipeError:  # of ``| head``: who reads has enough
            _leave_stdout()
            return PIPE_CLOSED
        except (BlocklmmError, OSError, ImportError, MemoryError) as error:
            _say(_text(error))
            _leave_stdout()
            return USAGE if isinstance(error, OptionError) else FAILED
        return status


def _run(arguments: Sequence[str] | None) -> int:
    try:
        options = parser().parse_args(arguments)
    except SystemExit as end:  # after --help, or what was wrong
        return int(end.code or 0)
    run = options.run
    return int(run(options) or 0)


def _say(text: str, kind: str = "") -> None:
    """Print a message on stderr, every line of it with who says it."""
    with suppress(OSError):  # closed
        for line in text.rstrip().splitlines() or [""]:
            print(f"blocklmm: {kind}{line}".rstrip(), file=sys.stderr)
        sys.stderr.flush()


def _text(error: BaseException) -> str:
    if isinstance(error, OSError) and not isinstance(error, BlocklmmError) and error.strerror:
        place = f"{str(error.filename)!r}: " if error.filename is not None else ""
        return place + error.strerror
    if isinstance(error, MemoryError) and not str(error):
        return "there is not enough memory"
    return in_flags(str(error)) or type(error).__name__


@contextmanager
def _said_warnings() -> Iterator[None]:
    """Say each warning once, as a line on stderr."""
    said: set[str] = set()

    def say(
        message: Warning | str,
        category: type[Warning],
        filename: str,  # noqa: ARG001
        lineno: int,  # noqa: ARG001
        file: TextIO | None = None,  # noqa: ARG001
        line: str | None = None,  # noqa: ARG001
    ) -> None:
        text = in_flags(str(message))
        if not issubclass(category, BlocklmmWarning):
            text = f"{category.__name__}: {text}"
        if text not in said:
            said.add(text)
            _say(text, kind="warning: ")

    with warnings.catch_warnings():
        warnings.simplefilter("always", BlocklmmWarning)
        warnings.showwarning = say
        yield


@contextmanager
def _any_text(stream: Any) -> Iterator[None]:
    """Let a stream of a narrow encoding show what it can't encode as escapes."""
    if getattr(stream, "errors", None) != "strict" or not hasattr(stream, "reconfigure"):
        yield
        return
    stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        with suppress(OSError, ValueError):
            stream.reconfigure(errors="strict")


def _leave_stdout() -> None:
    """Write what is still to be written, or let it go where nobody reads it.

    The interpreter would try again when it ends, and complain.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
