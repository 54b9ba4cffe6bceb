"""Covariances of the fixed effects and the degrees of freedom that go with them."""
