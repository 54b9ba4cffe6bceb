"""What a fit says of its own rows and groups: residuals, and influence."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from blocklmm.effects import FittedEffects

from . import influence as _influence
from . import refits as _refits
from . import residuals as _residuals
from . import rows as _rows

if TYPE_CHECKING:
    from blocklmm.fit import LinearMixedFit

FloatArray = npt.NDArray[np.float64]


class Diagnostics(FittedEffects):
    """The part of a fit that looks back at the data."""

    def residuals(self, kind: str = "conditional") -> FloatArray:
        """Return residuals.

        Parameters
        ----------
        kind : {"conditional", "marginal", "pearson", "standardized", "standardized_marginal"}
            With V of rows times sqrt(w) and relative to sigma^2, M = (X'V^-1X)^-1 and
            P = V^-1 - V^-1X M X'V^-1:

            - "conditional" (or "response"): y - X beta^ - Z b^, about the group's own mean;
            - "marginal": y - X beta^, about the population's;
            - "pearson": sqrt(w) (y - X beta^ - Z b^);
            - "standardized": that over sigma sqrt(P_jj), its standard deviation; it is also the
              error of predicting row j from all others, over the standard deviation of that;
            - "standardized_marginal": sqrt(w) (y - X beta^) over sigma sqrt((V - X M X')_jj).

        Returns
        -------
        array of shape (nobs,)
            In the rows' order; NaN where the variance is zero, because nothing but the row itself
            tells a coefficient.

        Raises
        ------
        DataError
            If the fit was restored without its data.

        Notes
        -----
        Nobre & Singer (2007), Biometrical Journal 49, 863-875; Haslett & Haslett (2007),
        International Statistical Review 75, 1-24. The variances take theta and sigma as known.
        """
        return _residuals.residuals(cast("LinearMixedFit", self), kind)

    def influence(
        self,
        by: str = "group",
        group: str | None = None,
        refit: bool = False,
        n_threads: int = 1,
    ) -> pd.DataFrame:
        """Return what the estimates would be without each group, or without each row.

        Parameters
        ----------
        by : {"group", "row"}
            What is left out, one at a time.
        group : str, optional
            The grouping factor; by default that in which all others are nested.
        refit : bool
            With groups: refit the model without each, from the fitted theta, instead of the closed
            form at the fitted theta. For some hundred groups.
        n_threads : int

        Returns
        -------
        DataFrame
            Indexed by the groups as :meth:`ranef` orders them, or by the rows used. NaN where a
            coefficient can't be estimated without the group. Columns:

            - n: rows left out;
            - cooks_distance: (beta^ - beta^_(i))' Var(beta^)^-1 (beta^ - beta^_(i)) / p, with the
              variance of the whole fit;
            - leverage: the sum over the rows left out of the diagonal of X (X'V^-1X)^-1 X'V^-1,
              which makes X beta^ of y; p in all;
            - covratio: det Var(beta^_(i)) / det Var(beta^);
            - dfbetas_x: (beta^ - beta^_(i)) over the standard error of beta^_(i), coefficient x;
            - params_x: beta^_(i), coefficient x;
            - sd_x|g, cor_y.x|g, sigma: the variance parameters, by group. In the closed form they
              are one Newton step from the fitted ones; by row, sigma alone, at the fitted theta.

        Raises
        ------
        InferenceError
            For groups in closed form, where their rows share random effects of another factor:
            leaving the group out would change the others' covariance.
        DataError
            If the factors are crossed and none is named, the model has no random terms, or the fit
            was restored without its data.
        ValueError

        Notes
        -----
        Without refit the fixed effects and what is made of them are exact for the fitted theta;
        lme4's ``influence`` and influence.ME refit. Cook (1977), Technometrics 19, 15-18; Belsley,
        Kuh & Welsch (1980); Demidenko & Stukel (2005), Statistics in Medicine 24, 893-909;
        Nieuwenhuis, te Grotenhuis & Pelzer (2012), The R Journal 4(2), 38-47.
        """
        fit = cast("LinearMixedFit", self)
        if by not in ("group", "row"):
            raise ValueError(f"by is 'group' or 'row', not {by!r}")
        if by == "row":
            if refit or group is not None:
                raise ValueError("by='row' takes neither refit nor group")
            return _rows.row_influence(fit)
        if refit:
            return _refits.refit_influence(fit, group, n_threads)
        return _influence.group_influence(fit, group, n_threads)
