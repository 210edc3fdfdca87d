"""Restoration: denoising priors of signals, and estimates, samples and intervals from measurements."""
