"""DATA <-> NOISE: Gaussian and masked diffusion, measurement operators and posterior sampling."""
