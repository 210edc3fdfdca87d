"""Latent diffusion over a tokenizer, and VQ-VAEs with a diffusion decoder."""

from vqfusion.lazy import public

__getattr__, __dir__, __all__ = public(
    __name__,
    diffusion_model="DiffusionModel",
    latent_diffusion="LatentDiffusion",
)
