"""Fits beside others: likelihood ratios, tests of random terms, information criteria, power."""
