"""Training of restoration priors."""
