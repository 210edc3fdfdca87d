"""Quantizers: vectors to code indices and back, behind one contract (see `base.py`)."""

from vqfusion.tokenizers.quantizers.base import Quantizer
from vqfusion.tokenizers.quantizers.finite_scalar import FiniteScalarQuantizer
from vqfusion.tokenizers.quantizers.vector import VectorQuantizer

QUANTIZERS: dict[str, type[Quantizer]] = {"vq": VectorQuantizer, "fsq": FiniteScalarQuantizer}

__all__ = ["QUANTIZERS", "FiniteScalarQuantizer", "Quantizer", "VectorQuantizer"]
