"""What a fit answers about its fixed effects."""

from __future__ import annotations

from blocklmm.effects import FittedEffects

from .fixed_errors import FixedErrors, fixed_errors


class FittedInference(FittedEffects):
    """Errors of the fixed effects."""

    def _fixed_errors(self, ddf: str | None = None, robust: str | None = None) -> FixedErrors:
        return fixed_errors(self, ddf, robust)
