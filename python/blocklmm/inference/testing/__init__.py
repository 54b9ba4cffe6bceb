"""Tails of distributions, Wald statistics, and adjustments for many tests."""
