"""What a fit answers about its fixed effects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from blocklmm.effects import FittedEffects

from .contrasts import Contrasts, contrast
from .fixed_errors import FixedErrors, fixed_errors

if TYPE_CHECKING:
    from blocklmm.fit import LinearMixedFit


class FittedInference(FittedEffects):
    """Linear functions of the fixed effects."""

    def _fixed_errors(self, ddf: str | None = None, robust: str | None = None) -> FixedErrors:
        return fixed_errors(self, ddf, robust)

    def contrast(
        self, L: Any, ddf: str | None = None, rhs: Any = 0, level: float = 0.95
    ) -> Contrasts:
        """Estimate and test linear functions of the fixed effects.

        Parameters
        ----------
        L : array of shape (p,) or (k, p), mapping, DataFrame, str or sequence of str
            Weights; a dict of coefficients and weights, or a DataFrame with coefficients as
            columns; or texts such as ``"Days - 10"``, ``"A[T.b] = A[T.c]"``, of which a constant
            left of "=" belongs to the function and one on the right is what it is tested against.
            A dict of names and any of these names the contrasts.
        ddf : str, optional
            The method for degrees of freedom.
        rhs : float or array of shape (k,)
            Values under the null hypothesis.
        level : float
            Of the intervals.

        Returns
        -------
        Contrasts
            ``.to_frame()``, the joint ``.f_test``, and ``.adjust("holm")`` for their number.

        Raises
        ------
        DataError
            For another width, an unknown or dropped coefficient, or what is no number.
        ValueError
            For a level that is none.

        Examples
        --------
        >>> import blocklmm as bl
        >>> fit = bl.lmer("angle ~ recipe + (1 | replicate)", bl.datasets.load("cake"))
        >>> table = fit.contrast(["recipe[T.B]", "recipe[T.B] = recipe[T.C]"]).to_frame()
        >>> table["estimate"].round(3).tolist()
        [-1.478, 0.044]
        """
        return contrast(cast("LinearMixedFit", self), L, ddf, rhs, level)
