"""Statistics as an object: they are added, updated, saved and fitted, without the rows."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from .arguments import require_choice, require_count, require_flag
from .columns import build
from .design import Design
from .disclosure import small_cells
from .distributed.dask_rows import require_dask_frame
from .errors import OptionError, PrivacyWarning, warn
from .fit import LinearMixedFit, estimate
from .formula import names_of, parse
from .gathering import gather, read
from .merging import merge, merged
from .optimize import FitOptions
from .problem import Problem
from .removable_groups import for_fits, require_removable, without_group
from .saved_statistics import restored, saved
from .statistics import RowStatistics
from .statistics_file import read as read_file
from .statistics_file import write
from .streams import as_rows
from .submodels import submodel

FloatArray = npt.NDArray[np.float64]


class SufficientStatistics:
    """All that a model's fit needs of the rows: small, additive, and no row of them.

    Over the rows of each group i, A_i = Z_i'Z_i and D_i = Z_i'[X_i y_i]; over all rows
    C = [X y]'[X y]; for groups of two factors that meet, Z_i'Z_j. They are made by
    :meth:`from_data`, :meth:`from_dask` or :meth:`load`. Those of several sets of rows are added
    with ``+``, matched on the labels of groups, whose rows may be in several sets.

    Attributes
    ----------
    formula : str
    nobs : int
        Rows used.
    ngroups : dict of str to int
    dropped : Dropped
        Rows left out for missing values.

    Notes
    -----
    Bates, Mächler, Bolker & Walker (2015, Journal of Statistical Software 67, sec. 3) for what is
    needed; cross products are held about a shift near the columns' means (Chan, Golub & LeVeque
    1983), and a set about another shift is brought about the larger set's. Of the 1e16 that doubles
    tell apart, sets with different means lose the square of their distance in residual standard
    deviations: at 1e6 the criterion agrees with that of all rows to some 2e-8 of its value.

    Examples
    --------
    >>> import blocklmm as bl
    >>> data = bl.datasets.load("sleepstudy")
    >>> formula = "Reaction ~ Days + (Days | Subject)"
    >>> parts = [bl.SufficientStatistics.from_data(formula, data[k::3]) for k in range(3)]
    >>> round(sum(parts).fit().objective, 3)
    1743.628
    """

    def __init__(self) -> None:
        raise TypeError("make statistics by from_data(), from_dask() or load()")

    @classmethod
    def _of(
        cls, design: Design, statistics: RowStatistics, missing: str, keeps_groups: bool
    ) -> SufficientStatistics:
        out = cls.__new__(cls)
        out._design, out._statistics = design, statistics
        out._missing, out._keeps_groups = missing, keeps_groups
        out._is_shared = False  # whether a fit holds the core, which may not be changed then
        return out

    _design: Design
    _statistics: RowStatistics
    _missing: str
    _keeps_groups: bool
    _is_shared: bool

    @classmethod
    def from_data(
        cls,
        formula: str,
        data: Any,
        *,
        weights: str | None = None,
        offset: str | None = None,
        missing: str = "drop",
        contrasts: Mapping[str, Any] | None = None,
        levels: Mapping[str, Sequence[Any]] | None = None,
        keep_groups: bool = False,
        n_threads: int = 1,
        progress: bool | None = None,
    ) -> SufficientStatistics:
        """Read rows once.

        Parameters
        ----------
        formula : str
        data : data frame, path, data set, query, or iterable of data frames
            As for :func:`blocklmm.lmer`.
        weights, offset : str, optional
            Names of columns.
        missing : {"drop", "error"}
        contrasts : mapping, optional
        levels : mapping from column to sequence, optional
            Levels of categories, in order, where these data need not have all: statistics of
            several sets of rows can be added if their levels are the same.
        keep_groups : bool
            Whether to keep what :meth:`subtract_group` needs: all cross products of each group. Of
            one grouping factor, without weights.
        n_threads : int
        progress : bool, optional

        Raises
        ------
        FormulaError, DataError, OptionError
        """
        columns = {"weights": weights, "offset": offset, "contrasts": contrasts, "levels": levels}
        return cls._read(formula, data, columns, missing, keep_groups, n_threads, progress)

    @classmethod
    def from_dask(
        cls,
        formula: str,
        ddf: Any,
        *,
        weights: str | None = None,
        offset: str | None = None,
        missing: str = "drop",
        contrasts: Mapping[str, Any] | None = None,
        levels: Mapping[str, Sequence[Any]] | None = None,
        keep_groups: bool = False,
        groups: str = "auto",
    ) -> SufficientStatistics:
        """Reduce the partitions of a Dask data frame where they lie, and merge what is found.

        Parameters
        ----------
        formula : str
        ddf : dask.dataframe.DataFrame
            Groups may be split over its partitions. What the formula does not mention is not
            computed; a pass more is made where levels of categories or states of expressions are
            to be learnt. Of splines, and of a transform of another's values such as
            ``poly(scale(x), 2)``, the columns are brought here for it.
        weights, offset, missing, contrasts, levels, keep_groups
            As for :meth:`from_data`.
        groups : {"auto", "driver", "workers"}
            Where each group's statistics are to be: brought here, or left on the workers of a
            ``distributed`` client, where they are asked for small sums once an evaluation. That
            is for one grouping factor with more groups than fit here; such statistics can be
            fitted, but not added, updated or saved. "auto" brings up to a million groups here, and
            all where it has no client or there are several factors.

        Raises
        ------
        FormulaError, OptionError
        DataError
            Also where a partition can't be computed, with its number where Dask tells it.
        ImportError
            If Dask is not installed.

        Notes
        -----
        It runs on the scheduler that Dask would take. Partitions are merged in their order, by a
        tree, so that a worker that is lost and whose partitions are read again changes no digit.

        Examples
        --------
        >>> import blocklmm as bl
        >>> import dask.dataframe as dd
        >>> ddf = dd.from_pandas(bl.datasets.load("sleepstudy"), npartitions=4)
        >>> formula = "Reaction ~ Days + (Days | Subject)"
        >>> round(bl.SufficientStatistics.from_dask(formula, ddf).fit().objective, 3)
        1743.628
        """
        require_choice("groups", groups, ("auto", "driver", "workers"))
        require_dask_frame(ddf)
        columns = {"weights": weights, "offset": offset, "contrasts": contrasts, "levels": levels}
        return cls._read(formula, ddf, columns, missing, keep_groups, groups=groups)

    @classmethod
    def _read(
        cls,
        formula: str,
        data: Any,
        columns: dict[str, Any],
        missing: str,
        keep_groups: bool,
        n_threads: int = 1,
        progress: bool | None = None,
        groups: str = "driver",
    ) -> SufficientStatistics:
        require_choice("missing", missing, ("drop", "error"))
        require_flag("keep_groups", keep_groups)
        require_count("n_threads", n_threads)
        for name in ("weights", "offset"):
            given = columns[name]
            if given is not None and not isinstance(given, str):
                raise OptionError(f"{name} of statistics is the name of a column, not {given!r}")
        parsed = parse(formula)
        rows = as_rows(data, names_of(parsed, columns), groups=groups)
        for term in parsed.random:
            for name in term.group:
                rows.head.column(name)
        design = build(parsed, rows, **columns, progress=progress)
        if keep_groups:
            require_removable(design)
        design, statistics = gather(
            design, rows, columns, missing, n_threads, progress, 0 if keep_groups else None
        )
        design.forget_unmet_levels()  # of update()
        return cls._of(design, statistics.without_rows(), missing, keep_groups)

    @property
    def formula(self) -> str:
        """The formula as given."""
        return self._design.formula.text

    @property
    def nobs(self) -> int:
        """Rows used."""
        return int(self._statistics.totals.n_rows_used)

    @property
    def ngroups(self) -> dict[str, int]:
        """Number of levels by grouping factor."""
        return {f.name: f.n_levels for f in self._statistics.factors}

    @property
    def dropped(self) -> Any:
        """Rows left out for missing values."""
        return self._statistics.dropped

    def group_sizes(self) -> dict[str, pd.Series[int]]:
        """Return the number of rows of each group, by grouping factor."""
        out = {}
        for f, factor in enumerate(self._statistics.factors):
            sizes = self._statistics.core.level_rows(f)[factor.order]
            index = pd.Index(factor.levels[factor.order], name=factor.name)
            out[factor.name] = pd.Series(sizes, index=index, name="nobs")
        return out

    def __repr__(self) -> str:
        groups = ", ".join(f"{name} {n:,}" for name, n in self.ngroups.items())
        text = f"Sufficient statistics of {self.formula}: {self.nobs:,} rows"
        return f"<{text}; groups: {groups}>" if groups else f"<{text}>"

    def __add__(self, other: SufficientStatistics) -> SufficientStatistics:
        """Return the statistics of the rows of both.

        Raises
        ------
        IncompatibleError
            If formulas, contrasts, levels or what expressions have learnt differ; with where.
        """
        if not isinstance(other, SufficientStatistics):
            return NotImplemented
        if self._keeps_groups != other._keeps_groups:
            raise OptionError("keep_groups is True for one of the statistics and False for another")
        design, statistics = merged(
            self._design, self._statistics, other._design, other._statistics
        )
        return self._of(design, statistics, self._missing, self._keeps_groups)

    def __radd__(self, other: object) -> SufficientStatistics:
        if isinstance(other, int) and other == 0:  # of sum()
            return copy.copy(self)  # one that may be updated by itself
        return NotImplemented

    def update(
        self, data: Any, n_threads: int = 1, progress: bool | None = None
    ) -> SufficientStatistics:
        """Add rows, in place; fits that were made before stay as they are.

        Parameters
        ----------
        data : as for :meth:`from_data`
            Its levels of categories are among those that are known.
        n_threads : int
        progress : bool, optional

        Returns
        -------
        SufficientStatistics
            The object itself.

        Raises
        ------
        DataError
            If the rows can't be used.
        IncompatibleError
            If labels of groups are of another kind, text and integers say. Nothing was changed
            after either.
        """
        require_count("n_threads", n_threads)
        design = self._design
        rows = as_rows(data, design.names, groups="driver")
        whole = 0 if self._keeps_groups else None
        shift = np.asarray(self._statistics.core.shift)
        added = read(design, rows, self._missing, n_threads, progress, shift, whole)
        self._statistics = merge(design, self._own(), design, added)
        self._is_shared = False  # only now: a merge that fails leaves the core with its fits
        return self

    def subtract_group(self, label: Any) -> SufficientStatistics:
        """Take the rows of a group away, in place; fits that were made before stay as they are.

        Parameters
        ----------
        label : label of a group
            A tuple of labels, where groups are joint levels of several columns.

        Returns
        -------
        SufficientStatistics
            The object itself.

        Raises
        ------
        OptionError
            If the statistics were made without ``keep_groups=True``.
        DataError
            If there is no such group, or it is the only one.
        """
        if not self._keeps_groups:
            raise OptionError(
                "to subtract a group its own cross products are needed: make the statistics with "
                "keep_groups=True"
            )
        self._statistics = without_group(self._design, self._statistics, label)
        self._is_shared = False
        return self

    def submodel(self, formula: str) -> SufficientStatistics:
        """Return the statistics of a model with some of the terms.

        Parameters
        ----------
        formula : str
            Its response, offset and all its terms are the model's; for ``anova`` of nested fits.

        Raises
        ------
        FormulaError
        IncompatibleError
            If a term is not in the model, or would be coded in another way without the others.
        """
        design, statistics = submodel(self._design, self._plain(), parse(formula))
        return self._of(design, statistics, self._missing, keeps_groups=False)

    def fit(
        self,
        reml: bool = True,
        start: npt.ArrayLike | None = None,
        options: FitOptions | None = None,
        rank_deficient: str = "drop",
    ) -> LinearMixedFit:
        """Fit by REML or maximum likelihood.

        Parameters
        ----------
        reml : bool
        start : array, optional
            First theta.
        options : FitOptions, optional
        rank_deficient : {"drop", "error"}

        Returns
        -------
        LinearMixedFit
            All that needs no row can be asked of it; predict(data) takes new rows.

        Raises
        ------
        DataError
            If the statistics can't identify the model.
        ConvergenceError
            If the model fits the data exactly.
        """
        require_choice("rank_deficient", rank_deficient, ("drop", "error"))
        n_threads = options.n_threads if isinstance(options, FitOptions) else 1
        design, plain = self._design, self._plain()
        problem = Problem(design.formula, design, plain, rank_deficient, n_threads)
        self._is_shared = self._is_shared or plain is self._statistics
        return estimate(problem, reml, start, options)

    def save(self, path: str | os.PathLike[str], min_cell: int = 5) -> None:
        """Write a file, with a version and a checksum; see ``statistics_file.py`` for its layout.

        Parameters
        ----------
        path : str or path
            Replaced at once when all is written.
        min_cell : int
            Warn of groups, pairs of groups and categories' levels with fewer rows than this, or
            where that can't be told: who has the file could recover them. 0 for none.

        Warns
        -----
        PrivacyWarning

        Notes
        -----
        A group's statistics are Z_i'[Z_i X_i y_i] and its number of rows n_i, with its label. Where
        n_i is not larger than the number of random effects they determine its rows, or all but a
        rotation of them; with more rows they are sums over rows. Disclosure rules of statistical
        offices and hospitals ask for cells of 5, 10 or more.
        """
        require_count("min_cell", min_cell, least=0)
        for text in small_cells(self._design, self._statistics, min_cell, self._keeps_groups):
            warn(text, PrivacyWarning)
        header, arrays = saved(self._design, self._statistics)
        header |= {"missing": self._missing, "keeps_groups": self._keeps_groups}
        write(path, header, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SufficientStatistics:
        """Read a file that :meth:`save` has written.

        Parameters
        ----------
        path : str or path

        Raises
        ------
        StatisticsFileError
            If it is no such file, of another version, truncated or altered.
        FileNotFoundError
        """
        header, arrays = read_file(path)
        design, statistics = restored(header, arrays, path)
        return cls._of(design, statistics, header["missing"], header["keeps_groups"])

    def __copy__(self) -> SufficientStatistics:
        self._is_shared = True
        out = self._of(self._design, self._statistics, self._missing, self._keeps_groups)
        out._is_shared = True
        return out

    def __deepcopy__(self, memo: dict[int, Any]) -> SufficientStatistics:
        return copy.copy(self)  # changes are made to copies

    def _own(self) -> RowStatistics:
        """Return the statistics with a core that may be changed."""
        mine = self._statistics
        if not self._is_shared:
            return mine
        return RowStatistics.of(copy.copy(mine.core), mine.factors, mine.dropped)

    def _plain(self) -> RowStatistics:
        """Return the statistics as a fit needs them."""
        if not self._keeps_groups:
            return self._statistics
        return for_fits(self._design, self._statistics)
