"""Estimates without one group or one row, and residuals."""
