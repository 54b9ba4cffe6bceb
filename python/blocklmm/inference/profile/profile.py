"""Profiles of the criterion, and the likelihood intervals that they give."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq

from blocklmm import tables
from blocklmm.arguments import require_level
from blocklmm.errors import OptionError, did_you_mean
from blocklmm.inference.testing.tails import t_quantiles

FloatArray = npt.NDArray[np.float64]

_REACHED = 1e-6  # of zeta
_JUMP = 1e-9  # of the values' range: points so near to each other stand beside a jump


def threshold_of(level: float) -> float:
    """Return the square root of chi-square's quantile, the normal one of a two-sided interval."""
    return float(t_quantiles(1 - level, np.array(np.inf)))


@dataclass(frozen=True, slots=True)
class ParameterProfile:
    """The criterion along one parameter, all others at their best.

    Attributes
    ----------
    name : str
    estimate : float
        Where the criterion has its minimum; NaN for a correlation that is not defined.
    value : array of shape (k,)
        Ascending, the estimate among them.
    zeta : array of shape (k,)
        sign(value - estimate) sqrt(f(value) - f_min).
    criterion : array of shape (k,)
        The values of f.
    low, high : float
        The parameter's range.
    """

    name: str
    estimate: float
    value: FloatArray
    zeta: FloatArray
    criterion: FloatArray
    low: float
    high: float

    def __post_init__(self) -> None:
        for array in (self.value, self.zeta, self.criterion):
            array.setflags(write=False)

    def limit(self, side: int, threshold: float) -> float:
        """Return the first value outward where zeta reaches the threshold, or the range's end."""
        if np.isnan(self.estimate):
            return np.nan
        at = int(np.abs(self.value - self.estimate).argmin())
        zeta = np.abs(self.zeta[at:] if side > 0 else self.zeta[at::-1])
        value = self.value[at:] if side > 0 else self.value[at::-1]
        beyond = np.flatnonzero(zeta >= threshold - _REACHED)
        if len(beyond) == 0:
            return self.high if side > 0 else self.low
        k = int(beyond[0])
        steps = np.diff(self.value)
        smallest = _JUMP * float(np.ptp(self.value))
        if zeta[k] <= threshold + _REACHED or abs(value[k] - value[k - 1]) <= smallest:
            return float(value[k])
        if (np.diff(self.zeta) > 0).all() and steps.min() > smallest:
            curve = CubicSpline(self.value, self.zeta)
            return float(
                brentq(lambda v: float(curve(v)) - side * threshold, value[k - 1], value[k])
            )
        share = (threshold - zeta[k - 1]) / (zeta[k] - zeta[k - 1])
        return float(value[k - 1] + share * (value[k] - value[k - 1]))


@dataclass(frozen=True, slots=True, repr=False)
class Profile:
    """Profiles of some parameters, out to the limits of an interval.

    Iterates over its :class:`ParameterProfile`.

    Attributes
    ----------
    parameters : tuple of ParameterProfile
    level : float
        Of the widest intervals that it gives.
    """

    parameters: tuple[ParameterProfile, ...]
    level: float

    def __iter__(self) -> Iterator[ParameterProfile]:
        return iter(self.parameters)

    def __getitem__(self, name: str) -> ParameterProfile:
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        names = [parameter.name for parameter in self.parameters]
        raise KeyError(f"no profile of {name!r}.{did_you_mean(name, names)}")

    def to_frame(self) -> pd.DataFrame:
        """Return one row a point: parameter, value, zeta, criterion.

        Lines of zeta against value are straight where Wald's intervals are right; those of
        ``|zeta|`` are the profile zeta plots of Bates et al. (2015).
        """
        frames = [
            pd.DataFrame(
                {"parameter": p.name, "value": p.value, "zeta": p.zeta, "criterion": p.criterion}
            )
            for p in self.parameters
        ]
        return pd.concat(frames, ignore_index=True)

    def conf_int(self, level: float = 0.95) -> pd.DataFrame:
        """Return likelihood intervals of a level up to the profile's.

        At the profile's own level they are exact; at others they come from a cubic spline through
        the points.

        Parameters
        ----------
        level : float

        Returns
        -------
        DataFrame
            Indexed by parameter: lower, upper.

        Raises
        ------
        OptionError
            For a level that is none, or above the profile's.
        """
        if require_level(level) > self.level:
            raise OptionError(
                f"the profile goes out to level {self.level:g}, and {level:g} was asked for: "
                f"use fit.profile(level={level:g})"
            )
        threshold = threshold_of(level)
        return pd.DataFrame(
            {
                "lower": [p.limit(-1, threshold) for p in self.parameters],
                "upper": [p.limit(1, threshold) for p in self.parameters],
            },
            index=pd.Index([p.name for p in self.parameters], dtype=object),
        )

    def __repr__(self) -> str:
        return tables.text(self.conf_int(self.level), self._notes())

    def _repr_html_(self) -> str:
        return tables.html(self.conf_int(self.level), self._notes())

    def _notes(self) -> list[str]:
        return [f"profile of {len(self.parameters)} parameters: limits of level {self.level:g}"]
