"""Lossless coding of token grids to bytes: entropy model and range coder."""

from vqfusion.lazy import public

__getattr__, __dir__, __all__ = public(
    __name__,
    entropy_model="EntropyModel",
    range_coder="AdaptiveCounts RangeDecoder RangeEncoder",
)
