"""Estimated marginal means and their differences."""
