"""Inspection of trained models: codebook health, and atlases of what codes decode to."""
