"""Denoisers from networks, their training loss, and denoising at a known noise level."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.diffusion.gaussian.path import GaussianPath, scale
from vqfusion.diffusion.gaussian.weightings import loss_weight
from vqfusion.types import Denoiser, Prediction, PredictionKind

# x_t at unit variance [B, C, *size], t [B], given -> [B, C, *size]
Network = Callable[[Tensor, Tensor, Any], Tensor]


class NetworkDenoiser:
    """Denoiser from a network: scales the input to unit variance and declares the kind of the output.

    Args:
        network: Function of x_t at unit variance `[B, C, *size]`, t `[B]` and the condition.
        path: The path.
        kind: What the network predicts.
    """

    def __init__(self, network: Network, path: GaussianPath, kind: PredictionKind = "v"):
        self.network, self.path, self.kind = network, path, kind

    def __call__(self, x_t: Float[Tensor, "B ..."], t: Float[Tensor, " B"], given: Any = None) -> Prediction:
        return Prediction(self.network(scale(x_t, self.path.input_scale(t)), t, given).to(x_t.dtype), self.kind)


def denoising_loss(
    denoiser: Denoiser,
    path: GaussianPath,
    x0: Float[Tensor, "B ..."],
    noise: Float[Tensor, "B ..."],
    t: Float[Tensor, " B"],
    given: Any = None,
    weighting: str = "simple",
) -> Float[Tensor, " B"]:
    """Weighted squared error of the prediction of each item, averaged over its elements.

    The error is taken in the kind that the denoiser predicts, so that neither end of the path divides by zero.

    Args:
        denoiser: The denoiser.
        path: The path.
        x0: Data.
        noise: Standard normal noise.
        t: Times.
        given: Condition of the denoiser.
        weighting: Name of the weight over times, see `loss_weight`.

    Returns:
        One loss for each item.
    """
    prediction = denoiser(path.add_noise(x0, noise, t), t, given)
    error = prediction.value - path.target(prediction.kind, x0, noise, t)
    weight = loss_weight(weighting, path, prediction.kind, t).to(error.dtype)
    return weight * error.square().flatten(1).mean(dim=1)


@torch.no_grad()
def posterior_mean(
    denoiser: Denoiser,
    path: GaussianPath,
    noisy: Float[Tensor, "B ..."],
    noise_std: Float[Tensor, " B"],
    given: Any = None,
) -> Float[Tensor, "B ..."]:
    """Estimate of E[x_0 | noisy] for noisy = x_0 + noise_std * eps, with one evaluation.

    Args:
        denoiser: The denoiser.
        path: The path.
        noisy: Noisy data.
        noise_std: Standard deviation of the noise of each item, in the units of the data of the path; levels beyond the
            path are replaced by the nearest within it.
        given: Condition of the denoiser.

    Returns:
        The denoised data.
    """
    t = path.time_of_noise(noise_std)
    x_t = scale(noisy, path.alpha(t))
    return path.convert(denoiser(x_t, t, given), x_t, t, "x0")
