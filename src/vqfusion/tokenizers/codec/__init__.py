"""Codes to bytes: entropy model and range coder."""
