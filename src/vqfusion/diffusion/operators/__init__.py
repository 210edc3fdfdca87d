"""Measurement operators of restoration, with adjoint, pseudo-inverse and noise (see `operator.py`)."""

from vqfusion.diffusion.operators.diagonal import Denoise, Gaps, LowDose, Mask
from vqfusion.diffusion.operators.downsample import Downsample
from vqfusion.diffusion.operators.fourier import BandLimit, Blur, disk_kernel, gaussian_kernel, motion_kernel
from vqfusion.diffusion.operators.jpeg import JPEG
from vqfusion.diffusion.operators.noise_models import GaussianNoise, Noise, PoissonGaussian, Rician, SaltPepper
from vqfusion.diffusion.operators.operator import Operator, Spectrum
from vqfusion.diffusion.operators.random import random_box, random_elements, random_operator
from vqfusion.diffusion.operators.stft_mask import STFTMask
from vqfusion.diffusion.operators.valid_blur import ValidBlur

OPERATORS: dict[str, type[Operator]] = {
    kind.kind: kind for kind in (Denoise, LowDose, Downsample, Mask, Gaps, Blur, ValidBlur, BandLimit, JPEG, STFTMask)
}

__all__ = [
    "OPERATORS",
    "GaussianNoise",
    "Noise",
    "Operator",
    "PoissonGaussian",
    "Rician",
    "SaltPepper",
    "Spectrum",
    "disk_kernel",
    "gaussian_kernel",
    "motion_kernel",
    "random_box",
    "random_elements",
    "random_operator",
    *(kind.__name__ for kind in OPERATORS.values()),
]
