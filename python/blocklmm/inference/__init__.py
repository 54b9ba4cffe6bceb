"""Questions about the fixed effects and the variances of a fit, one a file."""
