"""Linear mixed models as an estimator of scikit-learn."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from keyword import iskeyword
from numbers import Integral
from typing import TYPE_CHECKING, Any

import narwhals.stable.v1 as nw
import numpy as np
import numpy.typing as npt
import pandas as pd

try:
    from sklearn.base import BaseEstimator, RegressorMixin
    from sklearn.metrics import r2_score
    from sklearn.utils import Tags
    from sklearn.utils.validation import (
        assert_all_finite,
        check_array,
        check_consistent_length,
        check_is_fitted,
        column_or_1d,
        validate_data,
    )
except ImportError:
    raise ImportError("an estimator needs scikit-learn: pip install 'blocklmm[sklearn]'") from None

from .arguments import as_floats, require_choice
from .errors import DataError, FormulaError, OptionError, warn
from .fit import LinearMixedFit
from .model import lmer
from .native_tables import chosen_rows, with_columns
from .optimize import FitOptions

if TYPE_CHECKING:
    from typing_extensions import Self

FloatArray = npt.NDArray[np.float64]

_GROUPS = "groups"
_KEPT_NAMES = "which steps of a pipeline hand on by set_output(transform='pandas')"
_NO_RESPONSE = "no_validation"  # scikit-learn's word
_FORMULA = re.compile(r"\s*(?:`([^`~]+)`|([^\W\d][\w.]*))?\s*~(.*)", re.DOTALL)


class MixedLMRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Linear mixed model with scikit-learn's interface.

    Either a formula on the columns of a data frame, or all columns of X as they are, with effects
    of groups that are given beside X or are a column of it.

    Parameters
    ----------
    formula : str, optional
        Such as ``"~ Days + (Days | Subject)"``, as for :func:`blocklmm.lmer`: on the columns of X,
        ``x0``, ``x1``, … where X is an array, and ``groups`` where they are given. A name left of
        "~" is that of y, whatever X has of that name. Without a formula: an intercept and the
        columns of X.
    random : str or None
        Without a formula, what varies between the groups: "intercept", or what stands left of the
        bar of a random term, such as ``"1 + x0"``. None: nothing.
    group_column : str or int, optional
        Without a formula, the column of X that holds the groups, by name or place. It has no fixed
        effect.
    reml : bool
        REML if true, maximum likelihood if false.
    prediction : {"conditional", "population"}
        Whether predictions take the effects of known groups, or random effects of zero.
    new_levels : {"population", "error"}
        What to do with groups that were not in the fit: predict by the fixed effects, or raise.
    missing : {"error", "drop"}
        What to do with rows of X that miss a value: raise, or leave them out and predict NaN.
    contrasts : mapping, optional
        Contrasts by column.
    levels : mapping from column to sequence, optional
        Levels of categories, in order, of which the training rows of a split need not have all.
    rank_deficient : {"drop", "error"}
        What to do with columns that depend on earlier ones.
    options : FitOptions, optional

    Attributes
    ----------
    fit_ : LinearMixedFit
        With all that a fit offers; its formula names y, or what is left of "~".
    coef_ : array of shape (columns,)
        Fixed effects less the intercept, zero for columns that depend on earlier ones.
    coef_names_ : array of str, shape (columns,)
    intercept_ : float
        Zero where the model has none.
    n_features_in_ : int
    feature_names_in_ : array of str, shape (``n_features_in_``,)
        Where all columns of X have names.

    Raises
    ------
    OptionError, FormulaError, DataError
        In ``fit``: for parameters, formulas and data that can't be used.

    Notes
    -----
    Steps of a pipeline hand on arrays, of numbers alone and without names. A formula with names or
    categories needs data frames: ``pipeline[:-1].set_output(transform="pandas")`` (a
    ColumnTransformer with ``verbose_feature_names_out=False`` leaves the names as they are).

    Splitters such as GroupKFold take the groups beside X. Where those are a column of X, in a
    formula or by ``group_column``, nothing else is to be done::

        cross_val_score(model, X, y, groups=X["Subject"], cv=GroupKFold())

    Where they are not, they go to ``fit`` and ``score`` as well, by metadata routing (without it,
    ``GridSearchCV`` takes them for the splitter alone)::

        sklearn.set_config(enable_metadata_routing=True)
        model.set_fit_request(groups=True).set_score_request(groups=True)
        cross_val_score(model, X, y, params={"groups": groups}, cv=GroupKFold())

    ``predict`` and ``score`` without groups that were given to ``fit`` are of the population.

    Examples
    --------
    >>> import blocklmm as bl
    >>> from blocklmm.sklearn import MixedLMRegressor
    >>> data = bl.datasets.load("sleepstudy")
    >>> model = MixedLMRegressor("~ Days + (Days | Subject)")
    >>> model.fit(data[["Days", "Subject"]], data["Reaction"]).coef_.round(3)
    array([10.467])
    """

    fit_: LinearMixedFit
    coef_: FloatArray
    intercept_: float

    def __init__(
        self,
        formula: str | None = None,
        *,
        random: str | None = "intercept",
        group_column: str | int | None = None,
        reml: bool = True,
        prediction: str = "conditional",
        new_levels: str = "population",
        missing: str = "error",
        contrasts: Mapping[str, Any] | None = None,
        levels: Mapping[str, Sequence[Any]] | None = None,
        rank_deficient: str = "drop",
        options: FitOptions | None = None,
    ) -> None:
        self.formula = formula
        self.random = random
        self.group_column = group_column
        self.reml = reml
        self.prediction = prediction
        self.new_levels = new_levels
        self.missing = missing
        self.contrasts = contrasts
        self.levels = levels
        self.rank_deficient = rank_deficient
        self.options = options

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.missing == "drop"
        tags.input_tags.string = tags.input_tags.categorical = self.formula is not None
        return tags

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: npt.ArrayLike | None = None,
        groups: npt.ArrayLike | None = None,
    ) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : data frame, or array of shape (n, p)
        y : array of shape (n,)
        sample_weight : array of shape (n,), optional
            Precisions: the residual variance of a row is sigma^2 / weight, and one of weight zero
            is left out.
        groups : array of shape (n,), optional
            Each row's group, where that is no column of X.

        Returns
        -------
        MixedLMRegressor
        """
        self._require_parameters(groups)
        self._groups_are_given = groups is not None
        table = self._table(X, groups, y)
        values = column_or_1d(y, dtype=np.float64, warn=True)
        assert_all_finite(values, input_name="y")
        check_consistent_length(X, values)
        if len(values) < 2:
            raise DataError("a model can't be fitted to one row (n_samples = 1)")
        response = _response_name(self.formula, y, table)
        formula = f"{_quoted(response)} ~ {self._terms(table)}"
        table = with_columns(table, {response: values})
        weights = _weights(sample_weight, len(values))
        if weights is not None and not weights.all():
            table, weights = chosen_rows(table, weights > 0), weights[weights > 0]
        try:
            self.fit_ = lmer(
                formula,
                table,
                self.reml,
                weights=weights,
                missing=self.missing,
                contrasts=self.contrasts,
                levels=self.levels,
                rank_deficient=self.rank_deficient,
                options=self.options,
            )
        except DataError as error:
            if nw.dependencies.is_into_dataframe(X) or "there is no column" not in str(error):
                raise
            raise DataError(
                f"{error} X is an array, of columns x0, x1, …: for names give a data frame, "
                f"{_KEPT_NAMES}"
            ) from None
        self._set_coefficients()
        return self

    def predict(self, X: Any, groups: npt.ArrayLike | None = None) -> FloatArray:
        """Predict the response.

        Parameters
        ----------
        X : data frame, or array of shape (m, p)
        groups : array of shape (m,), optional
            Each row's group, where the fit was given them. Without them predictions are of the
            population.

        Returns
        -------
        array of shape (m,)
            NaN for rows that miss a value, with ``missing="drop"``.

        Raises
        ------
        DataError
            For groups that were not in the fit, with ``new_levels="error"``.
        """
        check_is_fitted(self)
        if groups is not None and not self._groups_are_given:
            raise OptionError("groups are given, and the fit was without")
        table = self._table(X, groups)
        without = self._groups_are_given and groups is None
        random = "population" if without else self.prediction
        return np.asarray(self.fit_.predict(table, random=random, new_levels=self.new_levels))

    def score(
        self,
        X: Any,
        y: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
        groups: npt.ArrayLike | None = None,
    ) -> float:
        """Return R squared of predictions; of the rows that have one, with ``missing="drop"``.

        Parameters
        ----------
        X : data frame, or array of shape (m, p)
        y : array of shape (m,)
        sample_weight : array of shape (m,), optional
        groups : array of shape (m,), optional
            As for :meth:`predict`.

        Raises
        ------
        DataError
            If all rows miss a value.
        """
        predicted = self.predict(X, groups)
        known = np.isfinite(predicted)
        if known.all():
            return float(r2_score(y, predicted, sample_weight=sample_weight))
        check_consistent_length(X, y, sample_weight)
        if not known.any():
            raise DataError("all rows miss a value: there is nothing to score")
        weights = None if sample_weight is None else np.asarray(sample_weight)[known]
        return float(r2_score(np.asarray(y)[known], predicted[known], sample_weight=weights))

    def _require_parameters(self, groups: Any) -> None:
        require_choice("prediction", self.prediction, ("conditional", "population"))
        require_choice("new_levels", self.new_levels, ("population", "error"))
        require_choice("missing", self.missing, ("error", "drop"))
        if self.random is not None and not isinstance(self.random, str):
            raise OptionError(f"random is a text or None, not {self.random!r}")
        if self.group_column is not None and self.formula is not None:
            raise OptionError("a formula names the groups itself: leave group_column out")
        if self.group_column is not None and groups is not None:
            raise OptionError("groups are given twice, by group_column and beside X")

    # -- from X to a table --------------------------------------------------------------------

    def _table(self, X: Any, groups: Any, y: Any = _NO_RESPONSE) -> Any:
        """Return X and the groups as one data frame; with y, of the fit, note X's columns."""
        if groups is not None:
            check_consistent_length(X, groups)
        if not nw.dependencies.is_into_dataframe(X):
            X = self._numbers(X)
        validate_data(self, X, y, reset=y is not _NO_RESPONSE, skip_check_array=True)
        names = self._feature_names(X)
        if self.formula is None:
            return self._numeric_table(X, names, groups)
        if isinstance(X, np.ndarray):
            X = pd.DataFrame(X, columns=names, copy=False)
        elif isinstance(X, pd.DataFrame) and _names(X) != names:
            X = X.set_axis(names, axis=1)  # they were no texts
        if groups is None:
            return X
        if _GROUPS in _names(X):
            raise OptionError(f"groups are given, and X has a column {_GROUPS!r} as well")
        return with_columns(X, {_GROUPS: _labels(groups)})

    def _numeric_table(self, X: Any, names: list[str], groups: Any) -> pd.DataFrame:
        place = self._group_place(names)
        if place is not None:
            groups, X = _split(X, place)
            names = names[:place] + names[place + 1 :]
        table = pd.DataFrame(self._numbers(X), columns=names, copy=False)
        if groups is not None:
            table = table.assign(**{_free_name(_GROUPS, names): _labels(groups)})
        return table

    def _numbers(self, X: Any) -> FloatArray:
        finite = "allow-nan" if self.missing == "drop" else True
        try:
            numbers = check_array(X, dtype=np.float64, ensure_all_finite=finite, estimator=self)
        except ValueError as error:
            if not str(error).startswith("could not convert string"):
                raise
            instead = "without a formula X holds numbers alone: give one, '~ x + (1 | g)'"
            if self.formula is not None:
                instead = f"an array holds numbers alone: give a data frame, {_KEPT_NAMES}"
            raise DataError(f"{error}; {instead}") from None
        return np.asarray(numbers)

    def _feature_names(self, X: Any) -> list[str]:
        own = [] if isinstance(X, np.ndarray) else nw.from_native(X, eager_only=True).columns
        if own and all(isinstance(name, str) for name in own):
            return own
        names = getattr(self, "feature_names_in_", None)
        return [f"x{k}" for k in range(self.n_features_in_)] if names is None else names.tolist()

    def _group_place(self, names: list[str]) -> int | None:
        column = self.group_column
        if column is None:
            return None
        if isinstance(column, str) and column in names:
            return names.index(column)
        if isinstance(column, Integral) and -len(names) <= column < len(names):
            return int(column) % len(names)
        raise DataError(f"X has no column {column!r}, which group_column names")

    # -- from a table to a formula, and back --------------------------------------------------

    def _terms(self, table: Any) -> str:
        """Return what stands right of "~"."""
        if self.formula is not None:
            return _split_formula(self.formula)[1]
        names = _names(table)
        has_groups = self._groups_are_given or self.group_column is not None
        columns = names[:-1] if has_groups else names
        terms = ["1", *map(_quoted, columns)]
        if self.random is not None and has_groups:
            left = "1" if self.random == "intercept" else self.random
            terms.append(f"({left} | {_quoted(names[-1])})")
        elif self.random is not None:
            warn("no groups are given, and the model has no random effects (random=None says so)")
        return " + ".join(terms)

    def _set_coefficients(self) -> None:
        problem = self.fit_._problem
        beta = np.zeros(len(problem.design.x_names))
        beta[problem.kept] = self.fit_._beta
        is_intercept = np.array([term == () for term in problem.design.x_terms], dtype=bool)
        self.coef_ = beta[~is_intercept]
        self.coef_names_ = np.array(problem.design.x_names, dtype=object)[~is_intercept]
        self.intercept_ = float(beta[is_intercept].sum())


def _split_formula(text: str) -> tuple[str, str]:
    """Return the response's name in a formula, if any, and what stands right of "~".

    Raises
    ------
    FormulaError
        If a response is no name.
    """
    found = _FORMULA.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise FormulaError(
            f"a formula is a text such as '~ x + (x | g)', not {text!r}: y is fitted as it is "
            "given, so that nothing or a name stands left of '~' (transform it by "
            "TransformedTargetRegressor)"
        )
    return found[1] or found[2] or "", found[3]


def _response_name(formula: str | None, y: Any, table: Any) -> str:
    """Return a name for y that no column has: the formula's, y's own, or another."""
    names = _names(table)
    given = [_split_formula(formula)[0] if formula is not None else "", getattr(y, "name", None)]
    usable = (n for n in given if isinstance(n, str) and n and n not in names and "`" not in n)
    return next(usable, _free_name("y", names))


def _free_name(name: str, taken: Sequence[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _quoted(name: str) -> str:
    return name if name.isidentifier() and not iskeyword(name) else f"`{name}`"


def _names(table: Any) -> list[str]:
    return [str(name) for name in nw.from_native(table, eager_only=True).columns]


def _split(X: Any, place: int) -> tuple[Any, Any]:
    """Return one column of X, and the others."""
    if isinstance(X, np.ndarray):
        return X[:, place], np.delete(X, place, axis=1)
    frame = nw.from_native(X, eager_only=True)
    name = frame.columns[place]
    return frame[name].to_numpy(), frame.drop(name).to_native()


def _labels(groups: Any) -> npt.NDArray[Any]:
    if np.ndim(groups) == 2 and np.shape(groups)[1] > 1:
        raise DataError(f"groups are one label a row, not an array of shape {np.shape(groups)}")
    return np.asarray(column_or_1d(groups))


def _weights(given: Any, n: int) -> FloatArray | None:
    """Return weights, or None where none are given.

    Raises
    ------
    DataError
        If they are not n numbers from 0, some above.
    """
    if given is None:
        return None
    try:
        weights = as_floats(np.asarray(given))
    except (TypeError, ValueError):
        raise DataError("sample_weight does not hold numbers") from None
    weights = np.full(n, float(weights)) if weights.ndim == 0 else weights
    if weights.shape != (n,):
        raise DataError(f"sample_weight has shape {weights.shape}, and y has {n} values")
    if not (np.isfinite(weights) & (weights >= 0)).all() or not weights.any():
        raise DataError("sample_weight holds numbers from 0, and not zeros alone")
    return weights
