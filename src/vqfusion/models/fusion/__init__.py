"""Fusion: one masked-diffusion transformer over slots."""
