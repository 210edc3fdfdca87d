"""Training of latent diffusions."""
