"""Measures, baselines, the table of scores and the demo page."""
