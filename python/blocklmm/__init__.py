"""Linear mixed-effects models on large data, from one pass over the rows."""

from importlib import import_module as _import_module
from typing import Any as _Any

from . import datasets, plot
from .comparison.anova import anova
from .comparison.exact import SimulatedTest, bootstrap_lrt, exact_lrt, exact_rlrt
from .comparison.information_criteria import compare
from .comparison.power import power
from .comparison.ranova import ranova
from .errors import (
    BlocklmmError,
    BlocklmmWarning,
    ConvergenceError,
    ConvergenceWarning,
    DataError,
    FormulaError,
    IncompatibleError,
    InferenceError,
    ModelSizeError,
    OptionError,
    PrivacyWarning,
    RankDeficientError,
    StatisticsFileError,
)
from .fit import LinearMixedFit
from .many import lmer_many
from .many_fits import ManyFits
from .model import LinearMixedModel, lmer
from .optimize import Certificate, FitOptions
from .other_names import IN_THE_MODULE as _IN_THE_MODULE
from .other_names import instead as _instead
from .reports.model_table import model_table
from .reports.sections import Report
from .sufficient_statistics import SufficientStatistics
from .varcorr import VarCorr

__all__ = [
    "BlocklmmError",
    "BlocklmmWarning",
    "Certificate",
    "ConvergenceError",
    "ConvergenceWarning",
    "DataError",
    "FitOptions",
    "FormulaError",
    "IncompatibleError",
    "InferenceError",
    "LinearMixedFit",
    "LinearMixedModel",
    "ManyFits",
    "ModelSizeError",
    "OptionError",
    "PrivacyWarning",
    "RankDeficientError",
    "Report",
    "SimulatedTest",
    "StatisticsFileError",
    "SufficientStatistics",
    "VarCorr",
    "anova",
    "bootstrap_lrt",
    "compare",
    "datasets",
    "exact_lrt",
    "exact_rlrt",
    "lmer",
    "lmer_many",
    "model_table",
    "plot",
    "power",
    "ranova",
]
__version__ = "0.1.0"

_OPTIONAL = ("marginaleffects", "sklearn")  # modules that need other packages


def __getattr__(name: str) -> _Any:
    if name in _OPTIONAL:
        return _import_module(f".{name}", __name__)
    said = f"module {__name__!r} has no attribute {name!r}{_instead(_IN_THE_MODULE, name)}"
    raise AttributeError(said)
