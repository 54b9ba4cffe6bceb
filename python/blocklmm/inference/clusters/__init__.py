"""Sums over the rows of each cluster, and robust covariances made of them."""
