"""``blocklmm demo``."""

from __future__ import annotations

from blocklmm import datasets
from blocklmm.comparison.anova import anova
from blocklmm.model import lmer


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
