"""Hypotheses about the fixed effects: contrasts, and the terms of the formula."""
