"""Fusion: one masked-diffusion transformer over slots."""

from vqfusion.lazy import public

__getattr__, __dir__, __all__ = public(
    __name__,
    fusion="Fusion",
    likelihood="Likelihood",
    slot_tokenizers="SlotTokenizers",
    system="System",
    taught="Taught",
)
