"""JOIN: models made of tokenizers, networks and diffusion: codec, fusion, restoration and latent."""

from vqfusion.lazy import public

__getattr__, __dir__, __all__ = public(
    __name__,
    kinds="KINDS kind_of open_model",
    model="Model SlotModel",
    sampling="Distribution Generated Sampling",
)
