"""Rows of the table of results, by task."""
