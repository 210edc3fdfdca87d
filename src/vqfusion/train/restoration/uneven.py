"""Noise whose level varies with the position."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vqfusion.nn.windows import local_mean
from vqfusion.train.restoration.holes import boxes, uniform


def uneven_noise(
    clean: Float[Tensor, "C ..."],
    noise: Float[Tensor, "C ..."],
    sigma: float,
    value_range: tuple[float, float],
    generator: torch.Generator,
) -> tuple[Float[Tensor, "C ..."], Float[Tensor, "C ..."], Float[Tensor, "C ..."]]:
    """Add noise with a level that varies around sigma.

    Half of the time the variance is that of photon and read-out noise and grows with the brightness; the known level is
    then estimated from the noisy signal. Else the level is a smooth field, as from lens vignetting, sometimes with a
    step. Every second signal has a factor for each channel.

    Args:
        clean: Clean signal.
        noise: Standard normal noise.
        sigma: Mean noise level.
        value_range: Range of the signal.
        generator: Random generator.

    Returns:
        The noisy signal, the true levels, and the levels that would be known.
    """
    channels, *size = clean.shape
    rank = len(size)
    factors = torch.ones(channels)
    if channels > 1 and uniform(generator) < 0.5 and not torch.equal(noise[0], noise[1]):  # grey keeps one level
        factors = torch.exp(0.4 * torch.randn(channels, generator=generator))
    levels = (sigma * factors).reshape(-1, *[1] * rank)
    low, high = value_range
    if low >= 0 and uniform(generator) < 0.5:
        read = 0.05 + 0.95 * uniform(generator) ** 2

        def deviation(x: Tensor) -> Tensor:
            bright = ((x - low) / (high - low)).clamp(0, 1)
            return levels * (read + 2 * (1 - read) * bright).sqrt()

        true = deviation(clean)
        noisy = clean + true * noise
        return noisy, true, deviation(local_mean(noisy[None], 5)[0])
    grid = torch.randn(1, 1, *(2 + int(3 * uniform(generator)) for _ in size), generator=generator)
    mode = ("linear", "bilinear", "trilinear")[rank - 1]
    field = torch.exp(0.6 * F.interpolate(grid, tuple(size), mode=mode, align_corners=True)[0])
    if uniform(generator) < 0.3:
        field = torch.where(boxes(tuple(size), generator), field * math.exp(1 - 2 * uniform(generator)), field)
    levels = levels * field
    levels = levels.expand_as(clean)
    return clean + levels * noise, levels, levels
