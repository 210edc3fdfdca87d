"""Inspection of trained models: codebooks, atlases of codes, why they answer as they do, and nearest training items."""

from vqfusion.lazy import public

__getattr__, __dir__, __all__ = public(
    __name__,
    atlases="atlas words",
    codebook="CodebookHealth measure_codebook",
    concepts="Concept measure_concept",
    training_items="Nearest nearest",
)
