"""Operators of restoration: what was done to a signal, with adjoint, pseudo-inverse and noise (see `operator.py`)."""

from vqfusion.diffusion.operators.diagonal import Denoise, Mask
from vqfusion.diffusion.operators.noise_models import GaussianNoise, Noise
from vqfusion.diffusion.operators.operator import Operator, Spectrum

OPERATORS: dict[str, type[Operator]] = {kind.kind: kind for kind in (Denoise, Mask)}

__all__ = [
    "OPERATORS",
    "GaussianNoise",
    "Noise",
    "Operator",
    "Spectrum",
    *(kind.__name__ for kind in OPERATORS.values()),
]
