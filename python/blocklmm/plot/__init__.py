"""Pictures of fits, profiles and influence, by matplotlib; they draw numbers of the fit's own.

Each takes the Axes to draw on (``ax``, or ``axes`` of several panels) or makes a figure, returns
what it drew on, and shows nothing: that is for the notebook, ``plt.show()`` or ``savefig``.
"""

from .caterpillars import caterpillar
from .correlations import implied_correlation
from .curves import growth_curves
from .deletions import influence
from .forests import fixed_effects
from .quantiles import qq_ranef, qq_residuals
from .residual_clouds import residuals
from .shares import icc
from .shrinking import shrinkage
from .zetas import profile_zeta

__all__ = [
    "caterpillar",
    "fixed_effects",
    "growth_curves",
    "icc",
    "implied_correlation",
    "influence",
    "profile_zeta",
    "qq_ranef",
    "qq_residuals",
    "residuals",
    "shrinkage",
]
