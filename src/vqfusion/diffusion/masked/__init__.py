"""Masked diffusion: the path, samplers, guidance and likelihood of discrete data."""

from vqfusion.lazy import public

__getattr__, __dir__, __all__ = public(
    __name__,
    guidance="classifier_free",
    likelihood="negative_elbo",
    path="MaskedPath draw_categorical",
    samplers="sample_masked",
)
