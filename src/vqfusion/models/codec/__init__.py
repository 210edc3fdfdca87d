"""Codec: samples compressed to .vqf files by the tokenizers of a model."""

from vqfusion.lazy import public

__getattr__, __dir__, __all__ = public(
    __name__,
    codec="Codec",
    vqf="VqfFile VqfHeader",
)
