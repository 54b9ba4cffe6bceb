"""The command line: ``blocklmm demo``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from . import datasets
from .comparison.anova import anova
from .model import lmer


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the process's exit status."""
    parser = argparse.ArgumentParser(prog="blocklmm", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("demo", help="fit the sleepstudy data and show what a fit offers")
    parser.parse_args(arguments)
    demo()
    return 0


def demo() -> None:
    """Fit reaction times on days of sleep deprivation, and print what is found."""
    data = datasets.load("sleepstudy")
    intercepts = lmer("Reaction ~ Days + (1 | Subject)", data)
    slopes = lmer("Reaction ~ Days + (Days | Subject)", data)
    print(slopes.summary())
    print("\nBLUPs of the subjects (deviations from the population's line):\n")
    print(slopes.ranef()["Subject"].round(3).to_string())
    icc = slopes.icc()
    print(f"\nICC: adjusted {icc.adjusted:.4f} ({icc.label}), unadjusted {icc.unadjusted:.4f}")
    print("\nDoes each subject need its own slope?\n")
    print(anova(intercepts, slopes).T.to_string(float_format="{:.6g}".format))
