"""Responses drawn from a fit, and models fitted to them, on the statistics."""
