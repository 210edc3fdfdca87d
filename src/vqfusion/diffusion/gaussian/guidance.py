"""Guidance of Gaussian diffusion: functions from denoisers to a denoiser; a scale of 1 is off."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.types import Denoiser, Prediction

ALWAYS = (0.0, 1.0)


def classifier_free_guidance(
    denoiser: Denoiser, guidance_scale: float, interval: tuple[float, float] = ALWAYS
) -> Denoiser:
    """Classifier-free guidance, away from the unconditional prediction: Ho, Salimans (2022).

    The prediction is u + s (c - u) with c conditional, u unconditional and s = `guidance_scale`; other conventions
    write w = s - 1.

    Args:
        denoiser: Denoiser that was also trained without a condition.
        guidance_scale: 1 is the conditional denoiser, with one evaluation instead of two.
        interval: Times with guidance: Kynkäänniemi et al. (2024).

    Returns:
        The guided denoiser.
    """

    def unconditional(x_t: Float[Tensor, "B ..."], t: Float[Tensor, " B"], given: Any = None) -> Prediction:
        return denoiser(x_t, t, None)

    return autoguidance(denoiser, unconditional, guidance_scale, interval)


def autoguidance(
    denoiser: Denoiser, weak: Denoiser, guidance_scale: float, interval: tuple[float, float] = ALWAYS
) -> Denoiser:
    """Autoguidance, away from a weaker denoiser of the same task: Karras et al. (2024b).

    Both denoisers must predict the same kind. The combination is then the same for every kind, because its coefficients
    sum to one.

    Args:
        denoiser: The denoiser.
        weak: Weaker denoiser, such as one with weights from early in training.
        guidance_scale: 1 is `denoiser` itself.
        interval: Times with guidance.

    Returns:
        The guided denoiser.

    Raises:
        ValueError: The interval is empty.
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
