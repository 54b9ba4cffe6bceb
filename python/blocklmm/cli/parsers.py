"""Arguments of the commands, and what ``--help`` teaches."""

from __future__ import annotations

import argparse
import codecs
import math
from pathlib import Path
from typing import Any, NoReturn

from blocklmm.inference.degrees_of_freedom.fixed_errors import DDF

from . import comparing, fitting, predicting
from .demo import demo
from .help_texts import COMPARE, DATA, EXITS, FIT, FORMULAS, PREDICT, PROGRAM
from .outputs import PICTURES, TABLES


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the arguments, and end with status 2."""
        # the shell makes ~ a folder's name
        is_word = message.startswith("unrecognized arguments: ") and ": -" not in message
        hint = "; a formula stands in quotes, 'y ~ x + (x | g)'" if is_word else ""
        self.exit(2, f"blocklmm: {message}{hint} (see {self.prog} --help)\n")


def parser() -> Parser:
    """Return the parser of all commands."""
    out = _new(Parser, prog="blocklmm", description=PROGRAM, epilog=EXITS)
    out.add_argument("--version", action=_Version, help="print the version and end")
    commands = out.add_subparsers(metavar="COMMAND", required=True)
    _add_fit(_command(commands, "fit", "fit a model, print its summary, write results", FIT))
    _add_compare(
        _command(commands, "compare", "compare models: likelihood ratios, AIC, BIC", COMPARE)
    )
    _add_predict(_command(commands, "predict", "predict the response of new rows", PREDICT))
    text = "fit the sleepstudy data and show what a fit offers"
    shown = _new(commands.add_parser, "demo", help=text, description=text)
    shown.set_defaults(run=lambda _: demo())
    return out


def _new(make: Any, *args: Any, **options: Any) -> Parser:
    kind = argparse.RawDescriptionHelpFormatter
    made: Parser = make(*args, formatter_class=kind, allow_abbrev=False, **options)
    return made


def _command(commands: Any, name: str, text: str, texts: tuple[str, str]) -> Parser:
    description, files = texts
    epilog = "\n".join([FORMULAS, DATA, files, EXITS])
    return _new(commands.add_parser, name, help=text, description=description, epilog=epilog)


def _add_fit(command: Parser) -> None:
    command.add_argument("data", metavar="DATA", help="CSV or Parquet; - is CSV on standard input")
    command.add_argument("formula", metavar="FORMULA", help="'y ~ x + (x | g)'")
    _add_model(command)
    command.add_argument(
        "--ddf", choices=DDF, help="degrees of freedom of the tests (default: satterthwaite)"
    )
    _add_level(command, "of the confidence intervals in --out")
    command.add_argument("--out", metavar="FILE", help="write the fit as JSON; - prints it")
    for name, what in (
        ("ranef", "random effects and their conditional standard deviations"),
        ("fitted", "fitted values and residuals of all rows"),
    ):
        text = f"write {what}; .parquet or .csv"
        command.add_argument(f"--{name}", metavar="FILE", type=_table, help=text)
    command.add_argument(
        "--plot",
        metavar="FILE",
        type=_picture,
        help="write caterpillar plots of the random effects, six at most; .png, .pdf, .svg",
    )
    command.add_argument(
        "--save", metavar="FILE", help="write what 'blocklmm predict FILE' needs; .blmm"
    )
    command.add_argument("--quiet", action="store_true", help="show neither summary nor progress")
    _add_csv(command)
    command.set_defaults(run=fitting.run)


def _add_compare(command: Parser) -> None:
    command.add_argument("data", metavar="DATA", help="CSV or Parquet; - is CSV on standard input")
    command.add_argument("formulas", metavar="FORMULA", nargs="+", help="two or more")
    _add_model(command)
    command.add_argument("--out", metavar="FILE", help="write the tables as JSON; - prints them")
    _add_csv(command)
    command.set_defaults(run=comparing.run)


def _add_predict(command: Parser) -> None:
    command.usage = (
        "blocklmm predict [options] MODEL NEWDATA\n"
        "       blocklmm predict [options] DATA FORMULA NEWDATA"
    )
    command.add_argument(
        "inputs",
        metavar="MODEL NEWDATA",
        nargs="+",
        help="a file of 'fit --save' and new rows; or data, formula and new rows",
    )
    command.add_argument(
        "--out",
        metavar="FILE",
        type=_table_or_dash,
        default="-",
        help="write the predictions; .parquet or .csv (default: CSV on standard output)",
    )
    command.add_argument(
        "--interval",
        choices=("confidence", "prediction"),
        help="also limits, for the mean of an observation or for a new observation",
    )
    _add_level(command, "of the interval")
    command.add_argument(
        "--new-levels",
        choices=("error", "population"),
        default="error",
        help="groups that were not in the fit: refuse them (default), or use fixed effects alone",
    )
    command.add_argument(
        "--population", action="store_true", help="random effects of zero for all rows"
    )
    _add_model(command)
    _add_csv(command)
    command.set_defaults(run=predicting.run)


def _add_model(command: Parser) -> None:
    group = command.add_argument_group("model")
    how = group.add_mutually_exclusive_group()
    how.add_argument(
        "--reml", action="store_true", default=None, help="restricted maximum likelihood (default)"
    )
    how.add_argument(
        "--ml", dest="reml", action="store_false", default=None, help="maximum likelihood"
    )
    group.add_argument(
        "--weights", metavar="COLUMN", help="precisions: the residual variance is sigma^2 / weight"
    )
    group.add_argument(
        "--missing",
        choices=("drop", "error"),
        help="rows that miss a value: leave them out and count them (default), or stop",
    )
    group.add_argument(
        "--threads", metavar="N", type=_count, default=1, help="the results are equal (default: 1)"
    )
    group.add_argument(
        "--max-evaluations",
        metavar="N",
        type=_count,
        default=500,
        help="of the criterion, before the optimiser gives up (default: 500)",
    )


def _add_level(command: Parser, what: str) -> None:
    command.add_argument(
        "--level", metavar="P", type=_level, default=0.95, help=f"{what} (default: 0.95)"
    )


def _add_csv(command: Parser) -> None:
    group = command.add_argument_group("CSV files that are read")
    group.add_argument(
        "--sep", metavar="C", type=_separator, help="separator (default: a comma; of .tsv a tab)"
    )
    group.add_argument(
        "--decimal", metavar="C", choices=(".", ","), help="decimal mark (default: a point)"
    )
    group.add_argument(
        "--na", metavar="TEXT", action="append", default=[], help="one more text for no value"
    )
    group.add_argument(
        "--encoding", metavar="NAME", type=_encoding, default="utf-8", help="default: utf-8"
    )


class _Version(argparse.Action):
    """Prints the version; read when asked for, as this module is part of what has it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(nargs=0, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from blocklmm import __version__

        print(f"blocklmm {__version__}")
        parser.exit()


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number from 1, not {text!r}")
    return int(text)


def _level(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.5 <= value < 1:
        raise argparse.ArgumentTypeError(f"a coverage from 0.5 to below 1, not {text!r}")
    return value


def _separator(text: str) -> str:
    text = {"tab": "\t", "\\t": "\t"}.get(text, text)
    if len(text) != 1 or text in '"\r\n' or text.isalnum():
        raise argparse.ArgumentTypeError(f"one character, or tab, not {text!r}")
    return text


def _encoding(text: str) -> str:
    try:
        return codecs.lookup(text).name
    except LookupError:
        raise argparse.ArgumentTypeError(f"no encoding is called {text!r}") from None


def _table(text: str) -> str:
    return _with_suffix(text, TABLES)


def _table_or_dash(text: str) -> str:
    return text if text == "-" else _table(text)


def _picture(text: str) -> str:
    return _with_suffix(text, PICTURES)


def _with_suffix(text: str, known: tuple[str, ...]) -> str:
    if Path(text).suffix.lower() not in known:
        raise argparse.ArgumentTypeError(f"a file's name ends in {' or '.join(known)}: {text!r}")
    return text
