"""Random operators for training and evaluation."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vqfusion.diffusion.operators.diagonal import Denoise, Gaps, LowDose, Mask
from vqfusion.diffusion.operators.downsample import Downsample
from vqfusion.diffusion.operators.fourier import BandLimit, Blur, gaussian_kernel, motion_kernel
from vqfusion.diffusion.operators.jpeg import JPEG
from vqfusion.diffusion.operators.noise_models import Noise, PoissonGaussian, Rician, SaltPepper
from vqfusion.diffusion.operators.operator import Operator
from vqfusion.diffusion.operators.stft_mask import STFTMask, frames
from vqfusion.diffusion.operators.valid_blur import ValidBlur
from vqfusion.errors import UserError

SIGMA = (0.02, 0.2)  # 5/255 to 50/255


def random_operator(kind: str, shape: Sequence[int], generator: torch.Generator) -> Operator:
    """Operator of a kind with random parameters in a practical range.

    Args:
        kind: Name in `OPERATORS`.
        shape: Shape `[C, *size]` of the signals.
        generator: Random generator.

    Returns:
        The operator.

    Raises:
        UserError: Unknown kind.
    """
    if kind not in RANDOM:
        raise UserError(f"operator {kind!r} is not one of {', '.join(RANDOM)}")
    return RANDOM[kind](tuple(shape), generator)


def random_box(size: Sequence[int], generator: torch.Generator, share: tuple[float, float] = (0.2, 0.5)) -> Tensor:
    """Mask `[*size]` that is True outside of one random box.

    Args:
        size: Size of the mask.
        generator: Random generator.
        share: Range of the sides of the box, relative to `size`.

    Returns:
        The mask.
    """
    seen = torch.ones(*size, dtype=torch.bool)
    sides = [max(1, int(n * _between(*share, generator))) for n in size]
    starts = [_whole(0, n - side, generator) for n, side in zip(size, sides, strict=True)]
    seen[tuple(slice(start, start + side) for start, side in zip(starts, sides, strict=True))] = False
    return seen


def random_elements(size: Sequence[int], lost: float, generator: torch.Generator) -> Tensor:
    """Mask `[*size]` in which each element is False with probability `lost`; at least one is True.

    Args:
        size: Size of the mask.
        lost: Probability of a missing element.
        generator: Random generator.

    Returns:
        The mask.
    """
    draws = torch.rand(*size, generator=generator, device=generator.device)
    return (draws >= lost) | (draws == draws.max())


def _denoise(shape: tuple[int, ...], generator: torch.Generator) -> Operator:
    noises: list[Callable[[], Noise | None]] = [
        lambda: None,
        lambda: PoissonGaussian(1 / _between(20.0, 500.0, generator), _between(0.0, 0.05, generator)),
        lambda: Rician(_between(*SIGMA, generator)),
        lambda: SaltPepper(_between(0.05, 0.5, generator)),
    ]
    noise = noises[_whole(0, 3, generator)]()
    return Denoise(noise=noise) if noise else Denoise(_between(*SIGMA, generator))


def _downsample(shape: tuple[int, ...], generator: torch.Generator) -> Operator:
    scales = [s for s in (2, 3, 4) if all(n % s == 0 for n in shape[1:])] or [1]
    kernel = ("bicubic", "area")[_whole(0, 1, generator)]
    return Downsample(scales[_whole(0, len(scales) - 1, generator)], kernel, _some_noise(generator))


def _mask(shape: tuple[int, ...], generator: torch.Generator) -> Operator:
    if _whole(0, 1, generator):
        return Mask(random_box(shape[1:], generator), _some_noise(generator))
    return Mask(random_elements(shape[1:], _between(0.3, 0.9, generator), generator), _some_noise(generator))


def _blur(shape: tuple[int, ...], generator: torch.Generator) -> Operator:
    return Blur(_kernel(shape, generator), _some_noise(generator))


def _kernel(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    least = min(shape[1:])
    if len(shape) == 3 and least >= 8 and _whole(0, 1, generator):
        return motion_kernel(_whole(3, min(15, least - 3), generator), _between(0.0, 3.14159, generator))
    return gaussian_kernel(_between(0.5, 3.0, generator), len(shape) - 1, max(1, min(9, (least - 1) // 2)))


def _gaps(shape: tuple[int, ...], generator: torch.Generator) -> Operator:
    length = shape[-1]
    packet = max(1, length // _whole(20, 60, generator))
    starts = [i for i in range(0, length, packet) if _between(0.0, 1.0, generator) < 0.15] or [0]
    return Gaps(length, [(start, min(length, start + packet)) for start in starts], _some_noise(generator))


def _stft_mask(shape: tuple[int, ...], generator: torch.Generator) -> Operator:
    window = min(512, max(4, shape[-1] // 4 * 2))
    size = window // 2 + 1, frames(shape[-1], window, window // 4)
    return STFTMask(random_box(size, generator), shape[-1], window, window // 4, _some_noise(generator))


RANDOM: dict[str, Callable[[tuple[int, ...], torch.Generator], Operator]] = {
    "denoise": _denoise,
    "low_dose": lambda shape, g: LowDose(_between(20.0, 500.0, g), _between(0.0, 0.05, g)),
    "downsample": _downsample,
    "mask": _mask,
    "gaps": _gaps,
    "blur": _blur,
    "valid_blur": lambda shape, g: ValidBlur(_kernel(shape, g), _some_noise(g)),
    "band_limit": lambda shape, g: BandLimit(_between(0.2, 0.8, g), _some_noise(g)),
    "jpeg": lambda shape, g: JPEG(_whole(5, 60, g)),
    "stft_mask": _stft_mask,
}


def _between(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float64, device=generator.device))


def _whole(low: int, high: int, generator: torch.Generator) -> int:
    return int(torch.randint(low, high + 1, (), generator=generator, device=generator.device))


def _some_noise(generator: torch.Generator) -> float:
    """Random noise level, 0 half of the time."""
    return _whole(0, 1, generator) * _between(0.0, 0.1, generator)
