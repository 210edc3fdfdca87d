"""From a network to a denoiser, its training loss, and its use on data of a known noise level."""

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
    """A network whose output is read as a prediction of this kind; its input is scaled to unit variance."""

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

    The error is taken in the kind that the denoiser predicts, so no end of the path divides by zero.
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
    """Estimate of E[x_0 | noisy] for noisy = x_0 + noise_std * eps, in one call.

    `noise_std` is in the units of the data that the path was built for, one for each item; a level that the path
    does not reach is treated as the nearest that it does.
    """
    t = path.time_of_noise(noise_std)
    x_t = scale(noisy, path.alpha(t))
    return path.convert(denoiser(x_t, t, given), x_t, t, "x0")
