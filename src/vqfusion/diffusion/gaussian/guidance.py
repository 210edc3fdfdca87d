"""Guidance of Gaussian diffusion: takes denoisers and gives a denoiser; a scale of 1 is off."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.types import Denoiser, Prediction

ALWAYS = (0.0, 1.0)


def classifier_free_guidance(
    denoiser: Denoiser, guidance_scale: float, interval: tuple[float, float] = ALWAYS
) -> Denoiser:
    """Ho, Salimans (2022): away from the same denoiser with nothing given.

    u + s (c - u); s = 1 is the conditional denoiser and costs one call. Other conventions write w = s - 1. Outside
    the `interval` of times there is no guidance: Kynkäänniemi et al. (2024).
    """

    def unconditional(x_t: Float[Tensor, "B ..."], t: Float[Tensor, " B"], given: Any = None) -> Prediction:
        return denoiser(x_t, t, None)

    return autoguidance(denoiser, unconditional, guidance_scale, interval)


def autoguidance(
    denoiser: Denoiser, weak: Denoiser, guidance_scale: float, interval: tuple[float, float] = ALWAYS
) -> Denoiser:
    """Karras et al. (2024b): away from a weaker denoiser of the same task, such as an early average of the weights.

    Both must predict the same kind: then the mixture is the same in every kind, because it keeps x_t.
    """
    if guidance_scale == 1.0:
        return denoiser
    low, high = interval
    if not low < high:
        raise ValueError(f"a guidance interval is (low, high) with low < high in [0, 1], not {interval}")

    def guided(x_t: Float[Tensor, "B ..."], t: Float[Tensor, " B"], given: Any = None) -> Prediction:
        strong = denoiser(x_t, t, given)
        inside = (t >= low) & (t <= high)
        if not bool(inside.any()):
            return strong
        other = weak(x_t, t, given)
        if other.kind != strong.kind:
            raise ValueError(f"the denoisers predict {strong.kind} and {other.kind}; guidance needs one kind")
        mixed = other.value + guidance_scale * (strong.value - other.value)
        inside = inside.reshape(-1, *[1] * (x_t.ndim - 1))
        return Prediction(torch.where(inside, mixed, strong.value), strong.kind, strong.calls + other.calls)

    return guided
