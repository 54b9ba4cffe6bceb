"""The conditional AIC and the products of random effects that it needs."""
