"""Noise of measurements, each able to draw itself and to be turned into Gaussian noise of a known level."""

from abc import ABC, abstractmethod
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from vqfusion.diffusion.noise import Generators, draw_noise
from vqfusion.errors import UserError


class Noise(ABC):
    """Noise of a measurement; `sigma` is the standard deviation of its Gaussian part in sample units."""

    kind: ClassVar[str]
    sigma: float | Tensor | None

    @abstractmethod
    def add(self, clean: Float[Tensor, "B ..."], generators: Generators) -> Float[Tensor, "B ..."]:
        """A noisy measurement, not clipped; one generator for each item."""


class GaussianNoise(Noise):
    """y = x + sigma n. `sigma` None: unknown, to be estimated."""

    kind: ClassVar[str] = "gaussian"

    def __init__(self, sigma: float | Tensor | None = None):
        self.sigma = checked_level(sigma, "sigma")

    def add(self, clean: Float[Tensor, "B ..."], generators: Generators) -> Float[Tensor, "B ..."]:
        if self.sigma is None:
            raise UserError("noise of unknown sigma cannot be drawn: give sigma, such as 25/255")
        return clean + broadcast_level(self.sigma, clean) * draw_noise(
            clean.shape[1:], generators, clean.dtype, clean.device
        )


def checked_level(level: float | Tensor | None, name: str) -> float | Tensor | None:
    """The level, or a UserError where it is negative or not finite."""
    if level is None:
        return None
    low = float(level.min()) if isinstance(level, Tensor) else float(level)
    high = float(level.max()) if isinstance(level, Tensor) else float(level)
    if not (low >= 0 and high < float("inf")):
        raise UserError(
            f"{name} must be a finite number >= 0 in the units of the sample, not {low if low < 0 else high}"
        )
    return level


def broadcast_level(level: float | Tensor, like: Tensor) -> Tensor:
    """A level as a tensor that broadcasts against `like` `[B, ...]`: one number, one for each item, or as it is."""
    level = like.new_tensor(level) if not isinstance(level, Tensor) else level.to(like)
    return level.reshape(-1, *[1] * (like.ndim - 1)) if level.ndim == 1 else level
