"""Rows of the table of scores, by task."""
