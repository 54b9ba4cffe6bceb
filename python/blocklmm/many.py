"""Many responses, one design: genes, voxels, metabolites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .arguments import require_choice, require_count, require_flag
from .errors import ConvergenceWarning, labels_phrase, warn
from .many_fits import ManyFits
from .many_model import ManyModel
from .optimize import FitOptions
from .progress import progress_bar
from .response_fits import ResponseFits
from .response_table import ResponseTable


def lmer_many(
    formula: str,
    design: Any,
    Y: Any,
    reml: bool = True,
    *,
    names: Sequence[Any] | None = None,
    weights: Any = None,
    offset: Any = None,
    missing: str = "error",
    contrasts: Mapping[str, Any] | None = None,
    options: FitOptions | None = None,
    block_size: int | None = None,
    progress: bool | None = None,
) -> ManyFits:
    """Fit one linear mixed-effects model to each of many responses.

    Parameters
    ----------
    formula : str
        Without a response, such as ``"~ Days + (Days | Subject)"``.
    design : data frame
        In memory, of any kind that :func:`blocklmm.lmer` takes; the columns of the formula.
    Y : array of shape (n, r), or data frame
        One column for each response. A memory-mapped array (``numpy.load(..., mmap_mode="r")``)
        stays on disk.
    reml : bool
        REML if true, maximum likelihood if false.
    names : sequence of length r, optional
        Names of the responses; a frame's columns by default, or numbers from 0.
    weights : str or array of shape (n,), optional
        Column or values: the residual variance of a row is sigma^2 / weight, in all responses.
    offset : str or array of shape (n,), optional
        Column or values taken from each response.
    missing : {"error", "drop"}
        What to do with missing values. "drop" leaves rows in which the design misses a value out of
        all fits (Y has these rows all the same), and fits a response that misses values to the
        rows that it has, on its own. What these don't determine is NaN in all tables.
    contrasts : mapping, optional
        Contrasts by column, as for :class:`LinearMixedModel`.
    options : FitOptions, optional
        ``n_threads`` threads share the responses.
    block_size : int, optional
        Responses that are read at one time; by default as many as take some 64 MB.
    progress : bool, optional
        Show a progress bar (tqdm). By default where it is worth it, on a terminal.

    Returns
    -------
    ManyFits

    Raises
    ------
    FormulaError
        If the formula can't be understood, or has a response.
    DataError
        If the design or Y can't be used as they are; responses that miss values are named.
    ModelSizeError
        If the sums of one response do not fit into memory.

    Warns
    -----
    ConvergenceWarning
        With the number of responses whose fit is not certified to be optimal.
    BlocklmmWarning
        With the number of those that have no fit, or variances that are not identified.

    Notes
    -----
    Every number is that of :func:`blocklmm.lmer` with the response alone: Z'Z, Z'X and X'X are
    made once, Z'Y, X'Y and y'y in one product a block of responses, and each criterion is minimised
    and certified by the same steps. Responses of which the model leaves next to nothing, and those
    that miss values, are fitted from their rows one by one.

    A coefficient means the same in all responses. Where the rows of one lack a level, as in
    ``~ a`` with treatment contrasts, ``a[T.level]`` is NaN; without the first level the intercept
    and all of ``a[T.…]`` are, since they are about that level, while contrasts of two others are
    estimated. (R would drop the level, and compare with the next under the same names; so does
    ``bl.lmer`` with the response alone, and :meth:`ManyFits.fit`.) The REML criterion is that of
    the columns left. A response whose rows lack a level that has random effects is "failed".

    Examples
    --------
    >>> import blocklmm as bl
    >>> import numpy as np
    >>> data = bl.datasets.load("sleepstudy")
    >>> Y = np.column_stack([data["Reaction"], np.log(data["Reaction"])])
    >>> fits = bl.lmer_many("~ Days + (Days | Subject)", data, Y, names=["ms", "log ms"])
    >>> fits.params.round(4).loc["ms"].tolist()
    [251.4051, 10.4673]
    """
    require_choice("missing", missing, ("error", "drop"))
    require_flag("reml", bool(reml) if isinstance(reml, np.bool_) else reml)
    options = FitOptions() if options is None else options
    if not isinstance(options, FitOptions):
        raise TypeError(f"options are FitOptions, not {type(options).__name__!r}")
    if block_size is not None:
        require_count("block_size", block_size)
    if progress is not None:
        require_flag("progress", progress)
    model = ManyModel(formula, design, weights, offset, missing, contrasts, options.n_threads)
    table = ResponseTable(Y, model.frame, names)
    size = model.default_block_size(table.in_place) if block_size is None else block_size
    if missing == "error":
        model.require_complete(table, size)
    fits = ResponseFits(model, table, bool(reml), options, size)
    with progress_bar(table.n_responses, "response", progress) as advance:
        found = ManyFits(fits, fits.estimates(advance))
    _warn(found)
    return found


def _warn(found: ManyFits) -> None:
    estimates, names = found._estimates, found.names
    has_fit = ~np.isnan(estimates.objective)
    unidentified = names[has_fit & estimates.is_unidentified]
    for which, what, category in (
        (names[~has_fit], "have no fit (constant, explained exactly, or failed)", None),
        (names[has_fit & ~estimates.converged], "are not certified to be optimal", True),
        (unidentified, "have variances that are not identified", None),
    ):
        if len(which):
            text = f"{len(which)} of {len(found)} responses {what}: {labels_phrase(which[:6])}"
            warn(text, ConvergenceWarning) if category else warn(text)
