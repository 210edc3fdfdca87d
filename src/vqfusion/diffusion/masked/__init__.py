"""Masked diffusion: the path, samplers, guidance and likelihood of discrete data."""
