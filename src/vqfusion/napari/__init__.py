"""Plugin for napari: denoise the open layer, intervals, and training on its noise alone."""

from vqfusion.lazy import public

__getattr__, __dir__, __all__ = public(
    __name__,
    layers="denoised interval trained",
)
