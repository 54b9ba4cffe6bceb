"""Rows and groups on other machines, by Dask."""
