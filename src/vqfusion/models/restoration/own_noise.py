"""Noise of a sample as in the training of a prior that learned from noisy data alone."""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vqfusion.diffusion.gaussian.noise_curve import noise_curve
from vqfusion.diffusion.gaussian.noise_level import estimate_noise
from vqfusion.models.restoration.fitted import FittedSample
from vqfusion.models.restoration.prior import Prior
from vqfusion.nn.blind_spot import separated, trimmed

HELD_OUT = 64  # one element in this many is never compared with in training


def with_own_noise(fitted: FittedSample, prior: Prior) -> FittedSample:
    """A fitted sample with its estimated noise level, for a prior that learned from noisy data alone.

    The level follows the brightness where it did in training. Noise that neighbours share is no reason to tell another
    level, because the prior was trained on it; it is judged in elements that are a stride apart.
    """
    level = own_level(prior, fitted.y)
    if level.ndim > 1:
        return replace(fitted, levels=level)
    scale = fitted.scale.float().expand(max(len(fitted.scale), len(level)))
    return replace(fitted, sigma=level * scale[: len(level)])


def own_level(prior: Prior, y: Float[Tensor, "B C ..."]) -> Tensor:
    """Noise level of signals in the units of such a prior: one for each `[B]`, or a map of the shape of `y`."""
    noise = prior.config.noise
    assert noise is not None
    parts = separated(trimmed(y, noise.stride), noise.stride)
    curve = noise_curve(list(parts.flatten(0, 1)[:, None])) if noise.dependent else None
    if curve is not None:
        return curve.sigma(y)
    return estimate_noise(parts).unflatten(0, (-1, len(y))).median(0).values


def held_out(shape: tuple[int, ...], number: int) -> Bool[Tensor, "C ..."]:
    """Elements of signal `number` that training never compares with, one in `HELD_OUT`, the same in all channels."""
    generator = torch.Generator().manual_seed(7_919 * number + 1)
    return (torch.rand(tuple(shape[1:]), generator=generator) < 1 / HELD_OUT).expand(tuple(shape))
