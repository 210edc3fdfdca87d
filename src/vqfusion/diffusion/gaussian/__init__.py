"""Gaussian diffusion: paths, schedules, samplers, guidance and likelihood of continuous data."""
