"""Training of restoration priors on noisy data alone."""
