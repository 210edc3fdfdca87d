"""Evaluation: metrics, baselines and the table of results."""
