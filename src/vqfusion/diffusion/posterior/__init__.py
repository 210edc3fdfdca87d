"""Posterior sampling: a prior, an operator and a measurement."""
