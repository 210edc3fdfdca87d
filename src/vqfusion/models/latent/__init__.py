"""Diffusion in the latents of a tokenizer, and VQ-VAEs with a diffusion decoder."""
