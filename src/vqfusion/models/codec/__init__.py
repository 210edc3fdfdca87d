"""Codes as a file."""
