"""The criterion along one parameter, from its minimum outward to a threshold.

With zeta = sign(t - t^) sqrt(f(t) - f_min), steps are chosen by dzeta/dt = f'(t) / (2 zeta), f'
being the derivative with all else held (that at the minimum over all else is the same). The first
value beyond the threshold brackets the limit; it is found by Newton's method on zeta, or bisection.
There the minimum over all else is looked for from other starts too: if one leads lower, below the
threshold, the way out goes on from there. A lower minimum that is met is followed back, at the end
too, as the way out keeps to its valley as long as there is one. Where zeta still falls, a peak may
lie between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .profiled_parameters import Parameter
from .restricted import Point, Restricted

_SPACING = 0.5  # of zeta
_LONGEST = 3.0  # a step, in parts of the one before
_MOST_POINTS = 80
_ROUNDING = 1e-7  # of a criterion, beside 1e-11 of it
_CLOSE = 1e-9  # to the threshold, in zeta
_NEWTON_STEPS = 10  # then the bracket is halved
_SAME = 1e-6  # of zeta
_WELL_ABOVE, _HALVINGS = 0.1, 4  # of zeta, where a peak may have been stepped over
_RESOLUTION = 1e-12  # of t


class LowerMinimum(Exception):  # noqa: N818
    """The criterion falls below what was taken for its minimum."""

    def __init__(self, point: Point) -> None:
        super().__init__("a lower minimum")
        self.point = point


@dataclass(frozen=True, slots=True)
class PathPoint:
    """A value of t, with zeta (not negative here), dzeta/dt outward, and the restricted minimum."""

    t: float
    zeta: float
    slope: float
    found: Restricted


class Path:
    """One side of a profile.

    Parameters
    ----------
    parameter : Parameter
    start : Point
        The minimum.
    minimum : float
        The criterion there.
    side : {-1, 1}
    others : sequence of Point
        Other starts.

    Raises
    ------
    LowerMinimum
    """

    def __init__(
        self,
        parameter: Parameter,
        start: Point,
        minimum: float,
        side: int,
        others: Sequence[Point],
    ) -> None:
        self._parameter, self._minimum, self._side = parameter, minimum, side
        self._others = [start, *others]
        self._end = parameter.high if side > 0 else parameter.low
        self._start = self._at(parameter.estimate, start)

    def _at(self, t: float, start: Point) -> PathPoint:
        return self._point(t, self._parameter.minimum(t, start))

    def _point(self, t: float, found: Restricted) -> PathPoint:
        rounding = _ROUNDING + 1e-11 * abs(self._minimum)
        if found.value < self._minimum - rounding:
            raise LowerMinimum(found.point)
        zeta = float(np.sqrt(max(found.value - self._minimum, 0.0)))
        slope = self._side * found.slope / (2 * zeta) if zeta > 0 else np.nan
        return PathPoint(t, zeta, slope, found)

    def points(self, threshold: float) -> list[PathPoint]:
        """Return points outward; the last is at the threshold, or at the end of the range.

        Or it is where the criterion has stopped to grow.
        """
        here, step, out = self._start, self._first_step(), list[PathPoint]()
        while here.t != self._end and len(out) < _MOST_POINTS:
            there = self._at(self._moved(here.t, step), here.found.point)
            is_far = there.zeta > max(here.zeta + 3 * _SPACING, threshold + _SPACING)
            if is_far and step > 1e-3 * self._first_step():
                step *= 0.4
                continue
            if there.zeta < here.zeta:
                self._follow_back(out, there)
                here = out[-1] if out else self._start
                there = self._peak(here, there)
            if there.zeta >= threshold:
                inside, there = self._crossing(here, there, threshold)
                lower = self._lowest(there)
                if lower.zeta >= threshold - _SAME:
                    out += [there] if inside is None else [inside, there]
                    break
                self._follow_back(out, lower)
                there = lower
            out.append(there)
            wanted = _SPACING / there.slope if there.slope > 0 else np.inf
            step = min(wanted, _LONGEST * step)
            here = there
        if out:
            self._follow_back(out, out[-1])
        return out

    def _first_step(self) -> float:
        """Return the t at which zeta has grown by its spacing, if f is a parabola."""
        curvature = self._start.found.curvature
        if not curvature > 0:
            return self._parameter.step
        return min(_SPACING / float(np.sqrt(curvature / 2)), _LONGEST * self._parameter.step)

    def _moved(self, t: float, step: float) -> float:
        moved = t + self._side * step
        return min(moved, self._end) if self._side > 0 else max(moved, self._end)

    def _crossing(
        self, inside: PathPoint, outside: PathPoint, threshold: float
    ) -> tuple[PathPoint | None, PathPoint]:
        """Return the point at the threshold; the two beside a jump, if there is one."""
        nearest, n_steps = outside, 0
        while abs(nearest.zeta - threshold) > _CLOSE:
            low, high = sorted((inside.t, outside.t))
            if high - low <= _RESOLUTION * max(abs(low), abs(high)):
                return inside, outside
            t, n_steps = np.nan, n_steps + 1
            if nearest.slope > 0 and n_steps < _NEWTON_STEPS:
                t = nearest.t - self._side * (nearest.zeta - threshold) / nearest.slope
            if not low < t < high:
                t = 0.5 * (low + high)
            nearest = self._at(t, inside.found.point)
            if nearest.zeta >= threshold:
                outside = nearest
            else:
                inside = nearest
        return None, nearest

    def _follow_back(self, points: list[PathPoint], lower: PathPoint) -> None:
        """Replace the last points by those of a lower minimum that was found further out."""
        for k in reversed(range(len(points))):
            if points[k].t == lower.t:
                continue
            found = self._at(points[k].t, lower.found.point)
            if found.zeta >= points[k].zeta - _SAME:
                break
            points[k] = lower = found

    def _peak(self, here: PathPoint, there: PathPoint) -> PathPoint:
        """Return a point between that is well above the first, or else the second."""
        outer = there
        for _ in range(_HALVINGS):
            t = 0.5 * (here.t + outer.t)
            outer = min(
                (self._at(t, point.found.point) for point in (here, outer)), key=lambda p: p.zeta
            )
            if outer.zeta > here.zeta + _WELL_ABOVE:
                return outer
        return there

    def _lowest(self, at: PathPoint) -> PathPoint:
        found = [self._at(at.t, other) for other in self._others]
        return min([at, *found], key=lambda point: point.zeta)
