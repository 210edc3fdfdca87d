"""Inspection of trained models: codebook health, and atlases of what codes decode to."""

from vqfusion.lazy import public

__getattr__, __dir__, __all__ = public(
    __name__,
    atlases="atlas words",
    codebook="CodebookHealth measure_codebook",
)
