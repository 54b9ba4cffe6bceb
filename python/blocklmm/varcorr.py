"""Variances and correlations of the random effects, term by term."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TermCovariance:
    """Covariance of one random-effects term.

    Attributes
    ----------
    group : str
        lme4's label: a second term on the same factor is ``g.1``.
    names : tuple of str
        The random effects, lme4's names.
    cov : array of shape (q, q)
    """

    group: str
    names: tuple[str, ...]
    cov: FloatArray

    def __post_init__(self) -> None:
        self.cov.setflags(write=False)

    @property
    def sd(self) -> FloatArray:
        """Standard deviations, shape (q,)."""
        return np.sqrt(np.diag(self.cov))

    @property
    def corr(self) -> FloatArray:
        """Correlations, shape (q, q); NaN where a variance is zero."""
        sd = self.sd
        with np.errstate(invalid="ignore", divide="ignore"):
            out = self.cov / np.outer(sd, sd)
        np.fill_diagonal(out, np.where(sd > 0, 1.0, np.nan))
        return out


@dataclass(frozen=True, slots=True, repr=False)
class VarCorr:
    """Variance components of a fit, in the order of the formula's terms; iterates over the terms.

    Attributes
    ----------
    terms : tuple of TermCovariance
    sigma : float
        Residual standard deviation.
    """

    terms: tuple[TermCovariance, ...]
    sigma: float

    def __iter__(self) -> Iterator[TermCovariance]:
        return iter(self.terms)

    def __getitem__(self, group: str) -> TermCovariance:
        for term in self.terms:
            if term.group == group:
                return term
        raise KeyError(f"no random-effects term {group!r}: {[t.group for t in self.terms]}")

    def to_frame(self) -> pd.DataFrame:
        """Return the table of R's ``as.data.frame(VarCorr(fit))``.

        Returns
        -------
        DataFrame
            Columns group, name1, name2, vcov, sdcor: for each term its variances (name2 is None,
            sdcor the standard deviation), then its covariances (sdcor the correlation); the last
            row is group Residual.
        """
        rows: list[tuple[str, str | None, str | None, float, float]] = []
        for term in self.terms:
            sd, corr = term.sd, term.corr
            for i, name in enumerate(term.names):
                rows.append((term.group, name, None, float(term.cov[i, i]), float(sd[i])))
            for j, name in enumerate(term.names):
                rows += [
                    (term.group, name, term.names[i], float(term.cov[i, j]), float(corr[i, j]))
                    for i in range(j + 1, len(term.names))
                ]
        rows.append(("Residual", None, None, self.sigma**2, self.sigma))
        frame = pd.DataFrame(rows, columns=["group", "name1", "name2", "vcov", "sdcor"])
        names = frame[["name1", "name2"]].astype(object)
        frame[["name1", "name2"]] = names.where(names.notna(), None)
        return frame

    def labels(self) -> list[str]:
        """Return the names of the rows of :meth:`to_frame` as lme4's profiles have them.

        ``sd_x|g``, ``cor_y.x|g`` and ``sigma``.
        """
        return [
            "sigma"
            if row.group == "Residual"
            else f"sd_{row.name1!s}|{row.group!s}"
            if row.name2 is None
            else f"cor_{row.name2!s}.{row.name1!s}|{row.group!s}"
            for row in self.to_frame().itertuples()
        ]

    def __repr__(self) -> str:
        return self.to_frame().to_string(index=False)

    def _repr_html_(self) -> str:
        return self.to_frame().fillna("").to_html(index=False)
