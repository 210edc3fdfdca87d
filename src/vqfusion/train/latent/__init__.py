"""Training of latent diffusion models."""
