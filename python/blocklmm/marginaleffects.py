"""Fits as models of marginaleffects (Arel-Bundock, Greifer & Heiss 2024), for the population."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

try:
    import polars as pl
    from marginaleffects.classes import ModelAbstract, ModelVault
except ImportError:
    raise ImportError(
        "models of marginaleffects need marginaleffects: pip install 'blocklmm[marginaleffects]'"
    ) from None

from .design import Design
from .errors import DataError, InferenceError, OptionError, warn
from .factors import CategoryFactor, Factor
from .fit import LinearMixedFit
from .frames import Categories, Column, Frame
from .inference.degrees_of_freedom.fixed_errors import ROBUST
from .inference.fixed_effects.span import Span, span_of
from .inference.marginal_means.reference_grid import variables_of

FloatArray = npt.NDArray[np.float64]

_RESERVED = (
    *("rowid", "type", "group", "term", "contrast"),
    *("estimate", "std_error", "statistic", "p_value", "s_value", "conf_low", "conf_high"),
)
_NO_COLUMN = "_response_"  # left of a formula that tells marginaleffects the variables' names
_PADDING = -1  # the "rowid" of rows that marginaleffects adds for their levels, and drops again
_MOST_LEVELS = 1000  # of texts that marginaleffects can group by
_MANY = 10**9  # degrees of freedom, where whole and finite ones are needed


def adapt(fit: LinearMixedFit, data: Any = None, df: float = np.inf) -> AdaptedFit:
    """Return a fit as a model that the functions of marginaleffects take.

    Parameters
    ----------
    fit : LinearMixedFit
    data : data frame, optional
        The rows to average over, and what variables' means, levels and ranges are taken from; by
        default those of the fit. A fit without its rows, or of rows that come in chunks, needs it.
    df : float
        Degrees of freedom of tests and intervals. marginaleffects takes one number for all of
        them: infinitely many by default, that is normal quantiles.

    Returns
    -------
    AdaptedFit

    Raises
    ------
    DataError
        Without rows in memory; if an offset was given as an array, of which new rows have no
        values; or if a variable has a name that marginaleffects keeps for its tables.
    OptionError
        If ``df`` is no positive number.

    Notes
    -----
    Predictions are of the population, with random effects of zero, and include offsets. ``vcov=``
    of marginaleffects is True, a matrix, or a method of :meth:`LinearMixedFit.cov_params`:
    "kenward-roger", or "CR0" to "CR3". Satterthwaite's degrees of freedom are others for each
    estimate: :meth:`LinearMixedFit.contrast` and :meth:`LinearMixedFit.emmeans` have them.

    Categories stand at the fit's levels and in their order, also those that are numbers in the
    data (``C(year)``); marginaleffects 0.6 compares levels that are texts with polars before 2.
    Where columns of X were dropped, what the data don't determine is NaN, and means of predictions
    over such rows fail. Slopes at the ends of a spline's values need ``extrapolation="extend"`` in
    it. A hypothesis writes ``Q(a[T.b])`` for a coefficient whose name is none in Python. ``by=``
    takes texts of up to 1,000 levels.

    marginaleffects finds the standard errors of ``slopes()`` by steps of 1.5e-8 in each
    coefficient, and rounding can change those of single slopes by some percent. Predictions are
    linear in the coefficients, so that a step of one is as right and leaves nine digits: give
    ``eps_vcov=1.0``, save for ratios and elasticities.

    Examples
    --------
    >>> import blocklmm as bl
    >>> from marginaleffects import avg_comparisons
    >>> fit = bl.lmer("Reaction ~ Days + (Days | Subject)", bl.datasets.load("sleepstudy"))
    >>> found = avg_comparisons(bl.marginaleffects.adapt(fit), variables={"Days": [0, 9]})
    >>> found["estimate"].round(3).to_list()
    [94.206]
    """
    if not isinstance(fit, LinearMixedFit):
        raise TypeError(f"a fit is adapted, not {type(fit).__name__!r}")
    if isinstance(df, bool) or not isinstance(df, Real) or not float(df) > 0:
        raise OptionError(f"df is a positive number, not {df!r}")
    return AdaptedFit(fit, _rows_of(fit, data), float(df))


class AdaptedFit(ModelAbstract):  # type: ignore[misc]
    """A fit as marginaleffects sees a model; made by :func:`adapt`.

    Parameters
    ----------
    fit : LinearMixedFit
    rows : tuple of Frame and array of shape (n,) of bool
        Rows, and which of them to use.
    df : float

    Attributes
    ----------
    model : LinearMixedFit
    df_resid : float
        Degrees of freedom of tests and intervals.
    """

    def __init__(
        self, fit: LinearMixedFit, rows: tuple[Frame, npt.NDArray[np.bool_]], df: float
    ) -> None:
        self.df_resid = df
        self._problem = fit._problem
        design = self._problem.design
        self._predictors = _variables(design, design.x_recipes)
        self._read = _variables(design, [*design.x_recipes, *design.offsets])
        response = fit.response_name.strip("`")
        _require_names([response, *self._read])
        self._levels = _levels_by_column(design)
        right = " + ".join(f"`{name}`" for name in self._read)
        vault = ModelVault(
            coef=np.array(fit._beta),
            coefnames=np.array(fit._names),
            formula=f"{_NO_COLUMN} ~ {right or '1'}",
            modeldata=_model_data(fit, *rows, response, self._levels, self._read),
            package="blocklmm",
            variable_names=[response, *self._read],
        )
        super().__init__(fit, vault)

    def __reduce__(self) -> Any:
        raise TypeError("this holds rows of data: pickle the fit, and adapt it again")

    def validation(self) -> None:
        """Take over what the fit knows, where marginaleffects would read its formula."""
        vault = self.vault
        self.coef, self.formula = vault.coef, vault.formula
        self.response_name = vault.variable_names[0]
        design = self._problem.design
        numbers = {
            name
            for factor in _factors(design, design.x_recipes)
            if not isinstance(factor, CategoryFactor)
            for name in variables_of(factor)
        }
        vault.variables_type = {
            # numbers that stand for levels have differences between these, and no slopes
            name: _type(vault.modeldata[name], name in self._levels and name not in numbers)
            for name in vault.variable_names
        }

    def find_predictors(self) -> list[str] | None:
        """Return the variables of the fixed effects, without those of offsets alone."""
        return list(self._predictors) or None

    def get_exog(self, newdata: pl.DataFrame) -> FloatArray:
        """Return the columns of X that are in the model, and the offset if there is one.

        Parameters
        ----------
        newdata : polars.DataFrame

        Returns
        -------
        array of shape (n, p) or (n, p + 1)
            NaN in rows of which the data don't determine X beta.
        """
        problem, design = self._problem, self._problem.design
        frame = self._frame(newdata)
        X = design.matrix(frame, design.x_recipes)
        out = X[:, problem.kept]
        if problem.dropped:
            unknown = ~self._span.is_estimable(X)
            out[unknown] = np.nan
            if "rowid" in newdata.columns:
                unknown &= newdata["rowid"].to_numpy() != _PADDING
            if count := int(unknown.sum()):
                warn(
                    f"the data don't determine predictions of {count} row{'s' * (count > 1)}, "
                    "because columns of X were dropped: they are NaN"
                )
        if design.offsets:
            offset = design.matrix(frame, design.offsets).sum(axis=1)
            out = np.column_stack([out, offset])
        return out

    def get_predict(self, params: npt.ArrayLike, newdata: Any) -> pl.DataFrame:
        """Return predictions of the population.

        Parameters
        ----------
        params : array of shape (p,)
        newdata : array, as from :meth:`get_exog`, or polars.DataFrame

        Returns
        -------
        polars.DataFrame
            Columns rowid and estimate.
        """
        beta = np.asarray(params, dtype=np.float64)
        X = newdata if isinstance(newdata, np.ndarray) else self.get_exog(newdata)
        mean = X[:, : len(beta)] @ beta + X[:, len(beta) :].sum(axis=1)
        rows = pl.Series(range(len(mean)), dtype=pl.Int32)
        return pl.DataFrame({"rowid": rows, "estimate": mean})

    def get_vcov(self, vcov: bool | str | None = True) -> FloatArray | None:
        """Return the covariance matrix of the fixed effects.

        Parameters
        ----------
        vcov : bool or {"kenward-roger", "CR0", "CR1", "CR1S", "CR2", "CR3"}

        Raises
        ------
        OptionError, InferenceError
        """
        if vcov is None or vcov is False:
            return None
        if vcov is True:
            return np.asarray(self.model.cov_params())
        if isinstance(vcov, str) and vcov.upper() in ROBUST:
            return np.asarray(self.model.cov_params(robust=vcov))
        if isinstance(vcov, str) and vcov.lower() == "kenward-roger":
            return np.asarray(self.model.cov_params(ddf=vcov))
        known = ", ".join(map(repr, ("kenward-roger", *ROBUST)))
        raise OptionError(f"vcov is True, False, a matrix, or one of {known}, not {vcov!r}")

    def get_df(self) -> float:
        """Return the denominator's degrees of freedom of a joint test.

        Raises
        ------
        InferenceError
            If marginaleffects would give coefficients the names of variables that they are not of:
            it takes one for each variable, in their order.
        """
        names = [name.strip("`") for name in self.model.params.index if name != "Intercept"]
        if names != self.find_predictors():
            raise InferenceError(
                "marginaleffects tests jointly where each variable has one coefficient, and here "
                f"they are {', '.join(names)}: use fit.contrast([...]).f_test"
            )
        return self.df_resid if np.isfinite(self.df_resid) else _MANY

    def get_autodiff_args(self) -> dict[str, Any] | str:
        """Return what JAX needs to differentiate predictions; with offsets, why it can't."""
        if self._problem.design.offsets:
            return "models with offset or exposure"
        return {"model_type": "linear", "family": None, "link": None}

    @cached_property
    def _span(self) -> Span:
        return span_of(self._problem)

    def _frame(self, newdata: pl.DataFrame) -> Frame:
        names = [name for name in self._read if name in newdata.columns]
        names = names or newdata.columns[:1]  # of which it takes the number of rows
        others = {
            name: levels for name, levels in self._levels.items() if _are_shown_as_texts(levels)
        }
        if not others:
            return Frame(newdata.select(names))
        table = newdata.select(names).to_pandas()
        for name, levels in others.items():
            codes = pd.Index(levels.map(str)).get_indexer(table[name].astype(str))
            table[name] = pd.Categorical.from_codes(codes, levels)
        return Frame(table)


def _rows_of(fit: LinearMixedFit, data: Any) -> tuple[Frame, npt.NDArray[np.bool_]]:
    """Return rows to average over, and which of them miss nothing that predictions need."""
    design = fit._problem.design
    if design.has_array("offset"):
        raise DataError(
            "the offset was given as an array, of which other rows have no values: fit with a "
            "column's name, offset='name'"
        )
    if data is not None:
        frame = Frame(data)
        found = design.matrix(frame, [*design.x_recipes, *design.offsets])
        return frame, np.logical_not(np.isnan(found).any(axis=1))
    if fit._problem.frame is None:
        raise DataError(
            "marginaleffects averages over rows, and this fit has no rows in memory: give some, "
            "adapt(fit, data=...)"
        )
    return fit._frame(), fit._used


def _factors(design: Design, recipes: Iterable[int]) -> list[Factor]:
    """Return the factors that some recipes read, in the formula's order."""
    sources = (design.sources[k] for k in sorted(design.needed_sources(recipes)))
    names = dict.fromkeys(source.factor for source in sources)
    return [design._factors[name] for name in names]


def _variables(design: Design, recipes: Iterable[int]) -> list[str]:
    found = (name for factor in _factors(design, recipes) for name in variables_of(factor))
    return list(dict.fromkeys(found))


def _levels_by_column(design: Design) -> dict[str, pd.Index[Any]]:
    """Return the levels of the columns that are categories of the fixed effects."""
    return {
        factor.column: factor.levels
        for factor in _factors(design, design.x_recipes)
        if isinstance(factor, CategoryFactor) and isinstance(factor.column, str)
    }


def _require_names(names: Sequence[str]) -> None:
    for name in names:
        if name in _RESERVED:
            raise DataError(
                f"marginaleffects keeps the name {name!r} for its tables: rename the column and "
                "fit again"
            )


def _model_data(
    fit: LinearMixedFit,
    frame: Frame,
    used: npt.NDArray[np.bool_],
    response: str,
    levels: Mapping[str, pd.Index[Any]],
    needed: Sequence[str],
) -> pl.DataFrame:
    """Return the columns of some rows, as far as they are numbers, texts or categories."""
    columns: dict[str, pl.Series] = {}
    for name in frame.names:
        if name in _RESERVED:
            continue
        try:
            column = frame.column(name)
        except DataError:  # dates, for instance
            if name in needed:
                raise
            continue
        columns[name] = _series(column, frame.n_rows, used, levels.get(name))
    if frame is fit._problem.frame:  # of another response, perhaps, than their column
        columns[response] = pl.Series(fit._response())
    elif response not in columns:
        columns[response] = pl.Series(np.full(int(used.sum()), np.nan))
    return pl.DataFrame(columns)


def _series(
    column: Column, n: int, used: npt.NDArray[np.bool_], levels: pd.Index[Any] | None
) -> pl.Series:
    """Return some rows of a column; floats are doubles, as slopes need their digits."""
    values = column.rows(0, n)[used]
    if isinstance(column, Categories):
        return _levels_series(column, values, levels)
    if column.is_boolean:
        missing = np.isnan(values.astype(np.float64))
        return pl.Series(values == 1).set(pl.Series(missing), None)
    if values.dtype.kind in "iu" and values.dtype != np.uint64:
        return pl.Series(values.astype(np.int64))
    return pl.Series(values.astype(np.float64)).fill_nan(None)


def _levels_series(
    column: Categories, codes: npt.NDArray[Any], levels: pd.Index[Any] | None
) -> pl.Series:
    """Return categories as texts with an order, or as what they are of numbers and booleans."""
    if levels is None:
        known = column.levels
        levels = known if column.ordered_levels else known[np.asarray(known.argsort())]
    places = np.append(levels.get_indexer(column.levels), -1)[codes]
    chosen = pl.Series(places).set(pl.Series(places < 0), None)
    if levels.dtype.kind in "biuf":
        return pl.Series(levels.to_numpy()).gather(chosen)
    texts = [str(level) for level in levels]
    is_plain = len(texts) > _MOST_LEVELS  # marginaleffects looks for each level by itself
    return pl.Series(texts, dtype=pl.String if is_plain else pl.Enum(texts)).gather(chosen)


def _type(values: pl.Series, is_category: bool) -> str:
    """Return what marginaleffects calls a variable of such values."""
    if values.dtype == pl.Boolean:
        return "boolean"
    if is_category or not values.dtype.is_numeric():
        return "character"
    if ((values == 0) | (values == 1)).all():
        return "binary"
    return "integer" if values.dtype.is_integer() else "numeric"


def _are_shown_as_texts(levels: pd.Index[Any]) -> bool:
    """Tell whether levels are neither texts nor numbers, such as intervals."""
    return levels.dtype.kind not in "biuf" and not all(isinstance(v, str) for v in levels)
