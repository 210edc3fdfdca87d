"""Latent diffusion over a tokenizer, and VQ-VAEs with a diffusion decoder."""
