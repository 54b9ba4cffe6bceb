"""Moments of many numbers as a few weighted points, which those of parts merge to.

Numbers x_i with weights w_i have a Gauss rule of m + 1 points t_k with weights v_k,

    sum_k v_k t_k^j = sum_i w_i x_i^j        for j = 0, ..., 2m + 1,

so that whatever is made of moments of these orders can be made of the points. They come from the
polynomials that are orthonormal over the x_i,

    b_{k+1} p_{k+1}(x) = (x - a_k) p_k(x) - b_k p_{k-1}(x),

as eigenvalues of the tridiagonal matrix of a and b (Golub & Welsch 1969): no power of x is summed.
Points of several parts together are numbers with weights, whose rule is that of all parts' numbers.
They are about one of the x_i, so that a mean far from zero costs no digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Moments:
    """The moments of some numbers, up to the order 2m + 1.

    Attributes
    ----------
    centre : float
        One of the numbers, from which points are counted.
    points, weights : arrays of shape (m + 1,)
        Fewer, if there are no more different numbers. If one is not finite, their mean alone.
    """

    centre: float
    points: FloatArray
    weights: FloatArray

    @classmethod
    def of(cls, values: FloatArray, m: int) -> Moments:
        """Return the moments of at least one number."""
        finite = values[np.isfinite(values)][:1]
        centre = float(finite[0]) if len(finite) else 0.0
        return cls(centre, *_gauss_rule(values - centre, np.ones(len(values)), m))

    @classmethod
    def merged(cls, parts: Sequence[Moments], m: int) -> Moments:
        """Return the moments of all parts' numbers."""
        centre = parts[0].centre
        points = np.concatenate([part.points + (part.centre - centre) for part in parts])
        weights = np.concatenate([part.weights for part in parts])
        return cls(centre, *_gauss_rule(points, weights, m))

    def recurrence(self, m: int) -> tuple[FloatArray, FloatArray]:
        """Return a_0, ..., a_m of the numbers as they are, and b_0, ..., b_m with b_0^2 = sum w_i.

        So a_0 is their mean and b_1^2 their mean square about it. Of fewer different numbers the
        last a are NaN and the last b zero; of some that are not finite all but the mean are NaN.
        """
        is_finite = bool(np.isfinite(self.points).all())
        if is_finite:
            a, b = _recurrence(self.points, self.weights, m)
        else:
            a, b = self.points, np.sqrt(self.weights)
        lacking = (0, m + 1 - len(a))
        b = np.pad(b, lacking, constant_values=0.0 if is_finite else np.nan)
        return self.centre + np.pad(a, lacking, constant_values=np.nan), b


def _gauss_rule(x: FloatArray, w: FloatArray, m: int) -> tuple[FloatArray, FloatArray]:
    if not np.isfinite(x).all():
        return np.array([(w * x).sum() / w.sum()]), np.array([w.sum()])
    a, b = _recurrence(x, w, m)
    points, vectors = np.linalg.eigh(np.diag(a) + np.diag(b[1:], 1) + np.diag(b[1:], -1))
    return points, b[0] ** 2 * vectors[0] ** 2


def _recurrence(x: FloatArray, w: FloatArray, m: int) -> tuple[FloatArray, FloatArray]:
    """Return a and b of finite numbers: m + 1, or as many as there are different numbers."""
    unit = np.ldexp(1.0, int(np.frexp(np.abs(x).max())[1]))  # lest squares over- or underflow
    x = x / unit
    a: list[float] = []
    b: list[float] = []
    before, q = np.zeros(len(x)), np.ones(len(x))
    while len(a) <= m and (norm := float(np.sqrt((w * q**2).sum()))) > 0:
        p = q / norm
        b.append(norm)
        a.append(float((w * x * p**2).sum()))
        q = (x - a[-1]) * p - norm * before
        before = p
    return unit * np.array(a), np.array([b[0], *(unit * v for v in b[1:])])
