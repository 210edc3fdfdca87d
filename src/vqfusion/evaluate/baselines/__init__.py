"""Baselines of the table of results."""
