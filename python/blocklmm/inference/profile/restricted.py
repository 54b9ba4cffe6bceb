"""Minima of the criterion over covariances in which something is held fixed.

Where a standard deviation or a correlation is held, sigma is not profiled out: it scales what is
held. With the factors X(t, x) of ``held.py``, relative to sigma0, and u = log(sigma / sigma0),

    f(x, u) = phi(F, u),   F = e^-u X,   phi = log|V| + [log|S_XX|] + nu log(2 pi sigma^2) + rho,

rho = r^2 / sigma^2. The core gives phi, g = dphi/dF, H = d^2phi/dF^2 and R = drho/dF. As
phi_u = 2 nu - 2 rho, g_u = -2 R and dF/du = -F,

    f_x  = e^-u J'g                           f_xx = e^-2u J'H J + diag(e^-u g'd^2X/dx_k^2)
    f_u  = 2 nu - 2 rho - F'g                 f_xu = -e^-u J'(2 R + H F + g)
    f_uu = 4 rho + 4 F'R + F'g + F'H F        df/dt = e^-u g'dX/dt   at the minimum over (x, u)

Along t, the minimum moves by dy/dt = -f_yy^-1 f_yt, y = (x, u), which is where the next one starts:

    f_xt = e^-2u J'H dX/dt + e^-u (dJ/dt)'g          f_ut = -e^-u (2 R + H F + g)'dX/dt

and f_tt + f_ty dy/dt is the second derivative of the minimum in t.

The steps are those of ``cpp/core/trust_region.hpp`` in coordinates w = C (x - x_0) with
C'C = J'J at the start, so that |dw| = |dX|; logarithms get a little more, as they may go far. Of
large crossed models H is the average information, not exact: steps and tangents are a little off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from blocklmm import _core
from blocklmm.objective import Objective

from .held import FactorAt, HeldCorrelation, HeldSd

FloatArray = npt.NDArray[np.float64]

_OF_LOGARITHMS = 0.1  # what a logarithm's unit costs at least, in units of X
_TOLERANCE = 1e-10  # stop when a Newton step would lower the criterion by less
_MOST_STEPS = 100
_LITTLE = 4.0  # what the criterion may grow by along a tangent, without a look at its foot


@dataclass(frozen=True, slots=True)
class Point:
    """Covariances of the random effects, and sigma, in the core's units.

    Attributes
    ----------
    F : array of shape (q, q)
        A factor of T.
    sigma : float
    tangent : Tangent, optional
        How it moves along what was held.
    """

    F: FloatArray
    sigma: float
    tangent: Tangent | None = None


@dataclass(frozen=True, slots=True)
class Tangent:
    """Value and free coordinates y at held t of a criterion, and dy/dt but for flat directions."""

    criterion: HeldCriterion
    value: float
    t: float
    y: FloatArray
    dy: FloatArray


@dataclass(frozen=True, slots=True)
class Restricted:
    """A minimum with something held fixed at t: the criterion, its derivatives in t, and where.

    The second derivative is NaN where it is not known.
    """

    value: float
    slope: float
    point: Point
    curvature: float = np.nan


@dataclass(frozen=True, slots=True)
class _Model:
    value: float
    gradient: FloatArray
    hessian: FloatArray
    slope: float
    mixed: FloatArray
    bend: float


class HeldCriterion:
    """The criterion where a standard deviation or a correlation is held.

    Parameters
    ----------
    objective : Objective
    held : HeldSd or HeldCorrelation
    sigma0 : float
        In the core's units.
    """

    def __init__(self, objective: Objective, held: HeldSd | HeldCorrelation, sigma0: float) -> None:
        self._objective, self._held, self._sigma0 = objective, held, sigma0
        structure = objective.structure
        self._rows, self._columns = np.array(structure.block_entries, dtype=np.intp).T
        self._q = structure.q

    def _matrix(self, entries: FloatArray) -> FloatArray:
        out = np.zeros((self._q, self._q))
        out[self._rows, self._columns] = entries
        return out

    def derivatives(self, t: float, x: FloatArray, u: float, exact_hessian: bool = False) -> _Model:
        """Return the criterion at held t, with derivatives in (x, u); infinite where it has none.

        The slope is df/dt with x and u held, mixed and bend its derivatives in these and in t. With
        several factors second derivatives are by the average information, which leads to the same
        minima in a tenth of the time, unless exact ones are asked for.
        """
        at: FactorAt = self._held.at(t, x)
        scale, sigma = np.exp(-u), self._sigma0 * np.exp(u)
        F = scale * at.X
        found = self._objective.at_sigma(self._matrix(F), sigma, exact_hessian)
        if found is None:
            nothing = np.zeros(0)
            return _Model(np.inf, nothing, nothing, np.nan, nothing, np.nan)
        value, rho, evaluation = found
        nu = self._objective.nu
        g, H, R = evaluation.gradient, evaluation.hessian, evaluation.rss_gradient
        J, HF = scale * at.J, H @ F
        f_xx = J.T @ H @ J
        f_x = J.T @ g
        f_xx.flat[:: len(x) + 1] += at.is_log * f_x
        of_u = 2 * R + HF + g
        f_xu = -J.T @ of_u
        f_u = 2 * nu - 2 * rho - F @ g
        f_uu = 4 * rho + 4 * F @ R + F @ g + F @ HF
        hessian = np.empty((len(x) + 1, len(x) + 1))
        hessian[:-1, :-1], hessian[:-1, -1], hessian[-1, :-1] = f_xx, f_xu, f_xu
        hessian[-1, -1] = f_uu
        along_t = scale * at.along_t
        Ht = H @ along_t
        f_xt = J.T @ Ht + scale * (at.turning.T @ g)
        mixed = np.append(f_xt, -of_u @ along_t)
        bend = float(along_t @ Ht + scale * (g @ at.bending))
        return _Model(value, np.append(f_x, f_u), hessian, float(g @ along_t), mixed, bend)

    def minimum(self, t: float, start: Point) -> Restricted:
        """Minimise over (x, u) from a point near by."""
        y, here = self._nearest(t, start)
        if not np.isfinite(here.value):
            return Restricted(np.inf, np.nan, start)
        back = self._scaling(self._held.at(t, y[:-1]))
        n = self._objective.n
        rounding = 1e-13 * (abs(here.value) + n)
        radius = 0.5
        for _ in range(_MOST_STEPS):
            values, vectors = np.linalg.eigh(back.T @ here.hessian @ back)
            slopes = vectors.T @ (back.T @ here.gradient)
            size = np.abs(values)
            flat = max(1e-13 * size.max(), 1e-10 * n)
            newton = 0.5 * float((slopes**2 / np.maximum(size, flat)).sum())
            if values[0] > -flat and newton <= _TOLERANCE:
                break
            step, predicted = _core.trust_region_step(values=values, slopes=slopes, radius=radius)
            length = float(np.linalg.norm(step))
            moved = y + back @ (vectors @ step)
            there = self.derivatives(t, moved[:-1], moved[-1])
            actual = here.value - there.value
            ratio = actual / predicted if predicted > 0 else 0.0
            if ratio < 0.25:
                radius = 0.25 * length
            elif ratio > 0.75 and length > 0.9 * radius:
                radius *= 2
            if ratio > 1e-4:
                y, here = moved, there
            elif predicted < rounding or radius < 1e-12:
                break
        # values, vectors and flat are those of the last Hessian, or of one a short step before
        curved = values > 1e-8 * n
        mixed = vectors.T @ (back.T @ here.mixed)
        dy = back @ (vectors @ np.where(curved, -mixed / np.where(curved, values, 1.0), 0.0))
        factor = self._matrix(np.exp(-y[-1]) * self._held.at(t, y[:-1]).X)
        sigma = float(self._sigma0 * np.exp(y[-1]))
        point = Point(factor, sigma, Tangent(self, here.value, t, y, dy))
        return Restricted(here.value, here.slope, point, here.bend + float(here.mixed @ dy))

    def _nearest(self, t: float, start: Point) -> tuple[FloatArray, _Model]:
        """Return coordinates at t near a point: along its tangent, if that leads lower."""
        x = self._held.coordinates(start.F * (start.sigma / self._sigma0))
        y = np.append(x, np.log(start.sigma / self._sigma0))
        tangent = start.tangent
        if tangent is None or tangent.criterion is not self:
            return y, self.derivatives(t, x, y[-1])
        along = tangent.y + (t - tangent.t) * tangent.dy
        far = self.derivatives(t, along[:-1], along[-1])
        if far.value < tangent.value + _LITTLE:
            return along, far
        near = self.derivatives(t, tangent.y[:-1], tangent.y[-1])
        return (along, far) if far.value < near.value else (tangent.y, near)

    @staticmethod
    def _scaling(at: FactorAt) -> FloatArray:
        """Return dy/dw: C^-1, and one for u."""
        m = at.J.shape[1]
        C = np.linalg.qr(np.vstack([at.J, np.diag(_OF_LOGARITHMS * at.is_log)]), mode="r")
        out = np.eye(m + 1)
        out[:m, :m] = np.linalg.inv(C)
        return out
