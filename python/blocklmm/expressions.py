"""Expressions of a formula such as ``log(x)`` or ``poly(x, 2)``, evaluated by formulaic.

An expression that works row by row is evaluated chunk by chunk. One with a state (``poly``,
``scale``, splines) learns it once from its own variables, and then goes chunk by chunk as well.
Any other is evaluated once on the whole data, and can't be redone on new data.
"""

from __future__ import annotations

import builtins
import copy
import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from formulaic import Formula as FormulaicFormula
from formulaic import ModelSpec
from formulaic.errors import FormulaicError
from formulaic.parser.types import Factor as FormulaicFactor
from formulaic.parser.types import Term as FormulaicTerm
from formulaic.transforms import TRANSFORMS

from .errors import DataError, FormulaError, rows_phrase
from .expression_code import CONTEXT, STATEFUL, Code, read_code
from .frames import Frame
from .transforms import NOTING, TransformNotes, is_learnt_from_moments, merged, noted

FloatArray = npt.NDArray[np.float64]

_ROWS_A_NOTE = 1 << 16  # what may exist of a chunk at one time
_MOST_NOTES = 64  # of a call before they are merged: each merger rounds


class Expression:
    """One expression with what it learnt from the training data.

    Parameters
    ----------
    text : str
        Python source, as it stands in the formula.
    frame : Frame
        The training data, or their first rows.
    training : DataFrame, optional
        All rows of the expression's variables, where the frame has the first ones only.
    transforms : mapping, optional
        What its transforms have learnt of all rows, as formulaic has it, in place of these.

    Raises
    ------
    FormulaError, DataError
        If the expression can't be evaluated, names no column, or gives no numbers.
    """

    def __init__(
        self,
        text: str,
        frame: Frame,
        training: pd.DataFrame | None = None,
        transforms: Mapping[str, Any] | None = None,
    ) -> None:
        self.text = text
        self._code = code = _read(text, frame)
        self.is_rowwise = code.is_rowwise
        self.variables = _variables(text, code, frame)
        self._whole: FloatArray | None = None
        self._learnt_from: Frame | None = frame
        if training is not None:
            probe = training
        elif self.is_rowwise or transforms is not None:
            probe = frame.slice(self.variables, 0, min(frame.n_rows, 64))
        else:
            probe = frame.slice(self.variables, 0, frame.n_rows)
        if code.has_state:
            _require_finite(self.text, probe, frame.first_row)
            probe = probe.dropna()
        self._spec, first = self._learn(probe, transforms or {})
        if code.is_of_whole_column:
            self._whole = first
        self.n_columns = first.shape[1]
        if self.n_columns == 1:
            self.suffixes = [""]
        else:
            names = [str(name) for name in self._spec.column_names]
            self.suffixes = [name[name.rfind("[") :] for name in names]
        self.not_a_number: dict[int, int] = {}
        """By first row of a chunk, values that are missing though all they need is there."""
        self._last: tuple[Frame, int, int, FloatArray] | None = None

    def rows(self, frame: Frame, start: int, stop: int) -> FloatArray:
        """Evaluate rows ``start … stop - 1`` of a frame; the result has one column per value.

        Raises
        ------
        DataError
            If the frame is not the training data and the expression can't be redone on new data.
        """
        if self._last is None or self._last[:3] != (frame, start, stop):
            if self._whole is None:
                data = frame.slice(self.variables, start, stop)
                values = self._evaluate(self._spec, data)[1]
                if values.shape != (stop - start, self.n_columns):
                    raise DataError(f"{self.text!r} does not give {self.n_columns} numbers a row")
                made = np.isnan(values).any(axis=1)
                if made.any():
                    made &= data.notna().all(axis=1).to_numpy()
                    self.not_a_number[frame.first_row + start] = int(made.sum())
            elif frame is self._learnt_from:
                values = self._whole[start:stop]
            else:
                raise DataError(
                    f"{self.text!r} depends on the whole column it was fitted on and can't be "
                    "evaluated on new data; use center(), scale() or poly(), which remember it, "
                    "or make it a column of the data"
                )
            self._last = (frame, start, stop, values)
        return self._last[3]

    def again(self, frame: Frame) -> Expression:
        """Return the expression with the values of whole columns that a pickle has left behind."""
        return self if self._whole is None else Expression(self.text, frame)

    @property
    def is_of_whole_column(self) -> bool:
        """Whether the values depend on all rows in a way that can't be redone on others."""
        return self._whole is not None

    def state(self) -> dict[str, Any]:
        """Return what the expression is and has learnt, in values that can be written down."""
        return {
            "text": self.text,
            "variables": self.variables,
            "suffixes": self.suffixes,
            "transforms": {k: dict(v) for k, v in self._spec.transform_state.items()},
        }

    @classmethod
    def restored(
        cls, text: str, variables: list[str], suffixes: list[str], transforms: dict[str, Any]
    ) -> Expression:
        """Return an expression from its :meth:`state`, whoever has written that.

        What is evaluated later is read from the text, again, and calls functions of a known few.

        Raises
        ------
        FormulaError
        ValueError
            If the variables are not those that the text names.
        """
        for texts in ([text], variables, suffixes):
            if not isinstance(texts, list) or not all(isinstance(t, str) for t in texts):
                raise ValueError(f"texts of an expression, {texts!r}")
        if not suffixes or not isinstance(transforms, dict):
            raise ValueError(f"{text!r} has no values, or no state")
        for state in transforms.values():
            _require_state(state)
        out = cls.__new__(cls)
        out.text, out._code, out.suffixes = text, read_code(text, variables), list(suffixes)
        out.variables = out._code.names
        if sorted(out.variables) != sorted(variables):
            raise ValueError(f"{text!r} does not read {', '.join(map(repr, variables))}")
        out.is_rowwise = out._code.is_rowwise
        out.n_columns = len(suffixes)
        out._spec = _spec(out._code, transforms)
        out._whole = np.empty((0, 0)) if out._code.is_of_whole_column else None
        out._learnt_from = None
        out.not_a_number, out._last = {}, None
        return out

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state.update(_last=None, _whole=None if self._whole is None else np.empty((0, 0)))
        state["_learnt_from"] = None
        return state

    def _learn(self, data: Any, transforms: Mapping[str, Any]) -> tuple[ModelSpec, FloatArray]:
        learnt, values = self._evaluate(_spec(self._code, transforms), data)
        numeric = all(state[0].value == "numerical" for state in learnt.encoder_state.values())
        if not numeric or len(values) != len(data) or values.shape[1] == 0:
            raise FormulaError(
                f"{self.text!r} gives no number for each row: make it a column of the data"
            )
        return learnt, values

    def _evaluate(self, spec: ModelSpec, data: Any) -> tuple[ModelSpec, FloatArray]:
        return _evaluated(self.text, self._code, spec, data)


class Notes:
    """What an expression's transforms need of rows that come in chunks, to learn their states.

    Moments where those are enough, in constant memory; else the expression's columns.

    Parameters
    ----------
    text : str
    frame : Frame
        The first rows.
    """

    def __init__(self, text: str, frame: Frame) -> None:
        self._text, self._code = text, _read(text, frame)
        self._variables = _variables(text, self._code, frame)
        self._by_moments = is_learnt_from_moments(self._code.tree, STATEFUL)
        self._moments: dict[str, list[TransformNotes]] = {}  # by call of a transform
        self._columns: list[pd.DataFrame] = []

    def add(self, frame: Frame) -> None:
        """Note a chunk."""
        if not self._by_moments:
            self._columns.append(self._complete(frame, 0, frame.n_rows))
            return
        for start in range(0, frame.n_rows, _ROWS_A_NOTE):
            data = self._complete(frame, start, min(start + _ROWS_A_NOTE, frame.n_rows))
            if len(data):
                learns = _spec(self._code, {})
                spec, _ = _evaluated(self._text, self._code, learns, data, CONTEXT | NOTING)
                for call, moments in noted(spec.transform_state).items():
                    self._add(call, moments)

    def empty(self) -> Notes:
        """Return the same without any rows."""
        out = copy.copy(self)
        out._moments, out._columns = {}, []
        return out

    @staticmethod
    def merged(parts: Sequence[Notes]) -> Notes:
        """Return what was noted of all parts of the rows."""
        out = parts[0].empty()
        for part in parts:
            out._columns += part._columns
            for call, moments in part._moments.items():
                out._add(call, *moments)
        return out

    def expression(self, frame: Frame) -> Expression:
        """Return the expression with what it learns of all rows that were noted."""
        if not self._by_moments:
            return Expression(self._text, frame, pd.concat(self._columns, ignore_index=True))
        with np.errstate(all="ignore"):
            states = {call: merged(found).state() for call, found in self._moments.items()}
        return Expression(self._text, frame, transforms=states)

    def _complete(self, frame: Frame, start: int, stop: int) -> pd.DataFrame:
        data = frame.slice(self._variables, start, stop)
        _require_finite(self._text, data, frame.first_row + start)
        return data.dropna()

    def _add(self, call: str, *moments: TransformNotes) -> None:
        found = self._moments.setdefault(call, [])
        found += moments
        if len(found) >= _MOST_NOTES:
            found[:] = [merged(found)]


def needs_training(text: str, frame: Frame) -> bool:
    """Tell whether an expression learns a state; where it works row by row it does not.

    Raises
    ------
    DataError
        If it depends on whole columns in another way than by a state, so that it can't be
        evaluated chunk by chunk.
    """
    code = _read(text, frame)
    if code.is_rowwise:
        return False
    if code.is_of_whole_column:
        raise DataError(
            f"{text!r} depends on the whole column and can't be evaluated on rows that come in "
            "chunks; use center(), scale() or poly(), or make it a column of the data"
        )
    return True


def _evaluated(
    text: str, code: Code, spec: ModelSpec, data: Any, functions: Mapping[str, Any] = CONTEXT
) -> tuple[ModelSpec, FloatArray]:
    named = data.rename(columns={name: plain for plain, name in code.columns.items()})
    try:
        with np.errstate(all="ignore"):
            matrix = spec.get_model_matrix(named, context={**functions, **code.texts})
    except FormulaicError as error:
        inner = re.search(r"\[(\w+: .*)\]\s*$", str(error), re.DOTALL)
        why = inner[1] if inner else error
        raise FormulaError(f"{text!r} can't be evaluated: {why}") from None
    except Exception as error:
        raise DataError(f"{text!r} can't be evaluated on these data: {error}") from error
    values = np.asarray(matrix, dtype=np.float64)
    if code.tested and len(values) == len(data):
        unknown = data[code.tested].isna().any(axis=1).to_numpy()
        if unknown.any():
            values = np.where(unknown[:, None], np.nan, values)
    return matrix.model_spec, values


def _spec(code: Code, transforms: Mapping[str, Any]) -> ModelSpec:
    """Return formulaic's plan of one column: of one factor, whatever operators stand in it."""
    factor = FormulaicFactor(code.text, eval_method="python")
    formula = FormulaicFormula([FormulaicTerm([factor])])
    state = dict(transforms)
    return ModelSpec(formula, na_action="ignore", output="numpy", transform_state=state)


def _require_finite(text: str, data: pd.DataFrame, first_row: int) -> None:
    for name in data:
        values = data[name]
        if pd.api.types.is_float_dtype(values.dtype):
            bad = np.flatnonzero(np.isinf(values.to_numpy()))
            if len(bad):
                rows = rows_phrase(len(bad), (bad[:5] + first_row).tolist())
                raise DataError(
                    f"column {name!r} has infinite values in {rows}, of which {text!r} can't be "
                    "computed"
                )


def _require_state(state: Any) -> None:
    """Raise a ValueError unless a state is a dict of such, of values and of arrays."""
    if not isinstance(state, dict):
        raise ValueError(f"{state!r} is no state")
    for value in state.values():
        if isinstance(value, dict):
            _require_state(value)
        else:
            np.asarray(value)  # which is of one shape


def _read(text: str, frame: Frame) -> Code:
    """Read an expression, unless it is the name of a column in backticks, misspelt.

    A term's text has no backticks round all of it: ``Age (year)`` would be a function called.

    Raises
    ------
    DataError
        If it is such a name.
    FormulaError
        If it is no expression.
    """
    try:
        code = read_code(text, frame.names)
    except FormulaError:
        if re.fullmatch(r"[\w.]+\(.*\)|.*[`~'\"\n].*", text, re.DOTALL):
            raise
        raise _no_column(text, frame) from None
    if any(name not in frame for name in code.names) and "`" not in text:
        is_near = difflib.get_close_matches(text, frame.known_names or frame.names, 1, 0.8)
        if is_near or (not code.calls <= _FUNCTIONS and re.match(r"[\w.]+\s+\(", text)):
            raise _no_column(text, frame)
    for name in sorted(code.calls - _FUNCTIONS - {"<other>"}):
        raise FormulaError(
            f"there is no function {name!r}, which {text!r} calls: "
            f"{_INSTEAD.get(name, 'make it a column of the data')}"
        )
    return code


_FUNCTIONS = {*CONTEXT, *TRANSFORMS, *dir(builtins)} - {"Q"}
"""Functions that can be called: formulaic's Q would find no column here."""

_INSTEAD = {
    **dict.fromkeys(("mean", "median"), "write np.mean(x), np.median(x)"),
    **dict.fromkeys(("sd", "var"), "write np.std(x, ddof=1), np.var(x, ddof=1)"),
    **dict.fromkeys(("ifelse", "if_else", "case_when"), "write np.where(x > 10, 1, 0)"),
    **dict.fromkeys(("pmin", "pmax"), "write np.minimum(x, 10), np.maximum(x, 10)"),
    **dict.fromkeys(("ns", "rcs"), "write cr(x, df=3) or bs(x, df=4) for a spline"),
    **dict.fromkeys(("Q", "q"), "write the name of a column in backticks, `my column`"),
    "relevel": 'give the order of levels to lmer, levels={"a": ["first", "second"]}',
    "dummy": "write I(a == 'level')",
}
"""What to write for functions of R, and for patsy's Q."""


def _no_column(name: str, frame: Frame) -> DataError:
    return DataError(f"there is no column {name!r} in the data.{frame.hint(name)}")


def _variables(text: str, code: Code, frame: Frame) -> list[str]:
    unknown = next((name for name in code.names if name not in frame), None)
    if unknown is not None:
        raise DataError(
            f"there is no column {unknown!r} in the data, which {text!r} needs."
            f"{frame.hint(unknown)}"
        )
    if not code.names:
        raise FormulaError(f"{text!r} names no column of the data")
    return code.names
