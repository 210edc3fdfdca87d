"""Lossless coding of token grids to bytes: entropy model and range coder."""
