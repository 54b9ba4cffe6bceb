"""What lme4 and statsmodels call things that have another name here, for messages."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

ON_A_FIT = {
    "AIC": "aic",
    "BIC": "bic",
    "VarCorr": "varcorr",
    "anova": "bl.anova(fit, other)",
    "cov_re": "varcorr",
    "deviance": "objective",
    "f_test": "contrast(L)",
    "fe_params": "params",
    "fitted": "fittedvalues",
    "fixef": "params",
    "isSingular": "singular",
    "logLik": "llf",
    "loglik": "llf",
    "plot": "bl.plot",
    "random_effects": "ranef()",
    "random_effects_cov": "ranef_cov()",
    "save": "pickle.dump, of a model with keep_data=True if its rows are wanted",
    "scale": "sigma ** 2",
    "t_test": "contrast(L)",
    "to_pickle": "pickle.dump, of a model with keep_data=True if its rows are wanted",
    "vcov": "cov_params()",
}
IN_THE_MODULE = {
    "MixedLM": 'bl.lmer("y ~ x + (x | g)", data)',
    "glmer": "none: responses are normal here",
    "lm": 'bl.lmer("y ~ x", data)',
    "mixedlm": 'bl.lmer("y ~ x + (x | g)", data)',
    "ols": 'bl.lmer("y ~ x", data)',
}
OF_LMER = {
    "REML": "reml=",
    "control": "options=bl.FitOptions(...)",
    "family": "none: responses are normal here",
    "groups": 'a random term in the formula, "y ~ x + (1 | g)"',
    "method": "reml=",
    "na_action": 'missing="drop" or missing="error"',
    "random": 'a random term in the formula, "y ~ x + (1 | g)"',
    "re_formula": 'a random term in the formula, "y ~ x + (x | g)"',
    "subset": "lmer(formula, data[rows])",
    "vc_formula": 'random terms in the formula, "y ~ x + (1 | a) + (1 | b)"',
}
OF_PREDICT = {
    "allow_new_levels": 'new_levels="population"',
    "exog": "predict(data)",
    "newdata": "predict(data)",
    "re_form": 'random="population", or "conditional"',
}
OF_INTERVALS = {
    "alpha": "level=, which is 1 - alpha",
    "conf_level": "level=",
    "parm": ".loc[names]",
}


def instead(names: dict[str, str], name: str) -> str:
    """Return ``; here it is x`` for another library's name, or an empty string."""
    return f"; here it is {names[name]}" if name in names else ""


def answers(names: dict[str, str]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Say what another library's keywords are called here, in a TypeError."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def answering(*args: P.args, **kwargs: P.kwargs) -> R:
            for name in kwargs:
                if name in names:
                    raise TypeError(f"{function.__name__}() takes no {name}={instead(names, name)}")
            return function(*args, **kwargs)

        return answering

    return decorate
