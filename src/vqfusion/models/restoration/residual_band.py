"""Expected error of an estimate, element by element, predicted from local features."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vqfusion.nn.windows import local_mean

WINDOWS = (3, 7, 15)  # elements a side
HIDDEN = 24
FEATURES = 2 * len(WINDOWS) + 4


@dataclass(frozen=True)
class ResidualBand:
    """Expected magnitude of truth - estimate: a small network over local features, with its weights as lists.

    It costs almost nothing beside the estimate, and needs calibration (`Calibration.fit`).
    """

    middle: tuple[float, ...]
    scale: tuple[float, ...]
    hidden: tuple[tuple[float, ...], ...]
    hidden_bias: tuple[float, ...]
    out: tuple[float, ...]
    out_bias: float

    @torch.no_grad()
    def __call__(
        self, mean: Float[Tensor, "B C ..."], guess: Float[Tensor, "B C ..."], sigma: Float[Tensor, "..."]
    ) -> Float[Tensor, "B C ..."]:
        """Half-widths in sample units.

        Args:
            mean: The estimate.
            guess: First guess of the operator.
            sigma: Noise level `[B]`.

        Returns:
            One half-width for each element.
        """
        return self.width(local_features(mean, guess, sigma)).to(mean)

    @torch.no_grad()
    def width(self, features: Float[Tensor, "... F"]) -> Float[Tensor, "..."]:
        """Half-widths from `local_features`."""
        return self._network(features, [torch.as_tensor(part).to(features) for part in self._parts()])

    @classmethod
    def fit(
        cls,
        features: Float[Tensor, "N F"],
        residuals: Float[Tensor, " N"],
        steps: int = 400,
        batch: int = 8192,
        seed: int = 0,
        surplus: float | None = None,
    ) -> "ResidualBand":
        """Fit the network to `local_features` of elements and the errors of their estimates.

        Maximum likelihood of a Laplace distribution: log s + |r| / s, so that s is the expected magnitude. With
        `surplus`, `residuals` are unbiased estimates u of the squared errors, which may be negative, and s^2 their
        expectation: log(s^2 + surplus) + (u + surplus) / (s^2 + surplus), whose minimum is unbiased too.

        Args:
            features: Features of each element.
            residuals: Errors of the estimates.
            steps: Optimizer steps.
            batch: Elements per step.
            seed: Random seed.
            surplus: Positive number that limits the weight of small expectations, such as the variance of the noise.

        Returns:
            The band.
        """
        generator = torch.Generator().manual_seed(seed)
        middle, scale = features.mean(0), features.std(0).clamp(min=1e-6)
        inputs = features.shape[1]
        hidden = torch.randn(HIDDEN, inputs, generator=generator) / inputs**0.5
        start = residuals.abs().mean().log() if surplus is None else residuals.mean().clamp(min=1e-8).log() / 2
        parts = [hidden, torch.zeros(HIDDEN), torch.zeros(HIDDEN), start.reshape(()).float()]
        parts = [part.requires_grad_() for part in parts]
        optimizer = torch.optim.Adam(parts, 1e-2)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            chosen = torch.randint(len(features), (batch,), generator=generator)
            width = cls._network(features[chosen].float(), [middle.float(), scale.float(), *parts])
            own = residuals[chosen].float()
            if surplus is None:
                loss = (width.log() + own.abs() / width).mean()
            else:
                total = width.square() / surplus + 1
                loss = (total.log() + (own / surplus + 1) / total).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        made = [middle, scale, *(part.detach() for part in parts)]
        return cls.from_lists(dict(zip(cls.__dataclass_fields__, (part.tolist() for part in made), strict=True)))

    @classmethod
    def from_lists(cls, stored: dict[str, Any]) -> "ResidualBand":
        """Build a band from its fields as JSON stores them; ValueError where it knows other features."""
        if len(stored["middle"]) != FEATURES:
            raise ValueError(f"a band of {len(stored['middle'])} features, not {FEATURES}: fit and calibrate it anew")
        return cls(**{name: _frozen(value) for name, value in stored.items()})

    def _parts(self) -> tuple[Any, ...]:
        return self.middle, self.scale, self.hidden, self.hidden_bias, self.out, self.out_bias

    @staticmethod
    def _network(features: Tensor, parts: Sequence[Tensor]) -> Tensor:
        middle, scale, hidden, hidden_bias, out, out_bias = parts
        inner = torch.relu((features - middle) / scale @ hidden.T + hidden_bias)
        return (inner @ out + out_bias).clamp(-14, 4).exp()


def local_features(
    mean: Float[Tensor, "B C ..."], guess: Float[Tensor, "B C ..."], sigma: Float[Tensor, "..."]
) -> Float[Tensor, "B C ... F"]:
    """Features of each element, in logarithms except for the first two.

    They are the estimate, its distance from the nearer of 0 and 1 in noise levels (up to 3: nearer, noise was clipped),
    the noise level, the gradient magnitude of the estimate, and over windows of 3, 7 and 15 elements the
    standard deviation of the estimate and the root mean square of guess - mean.

    Args:
        mean: The estimate.
        guess: First guess of the operator.
        sigma: Noise level.

    Returns:
        The features, with a last axis.
    """
    level = sigma.reshape(-1, *[1] * (mean.ndim - 1)).to(mean).expand(mean.shape) if sigma.ndim <= 1 else sigma
    change = torch.stack([step.square() for step in local_gradients(mean)]).sum(0).sqrt()
    level = level.expand(mean.shape)
    inside = (torch.minimum(mean, 1 - mean) / level.clamp(min=1e-4)).clamp(-1, 3)
    features = [mean, inside, _log(level), _log(change)]
    for window in WINDOWS:
        features.append(_log(local_mean((mean - local_mean(mean, window)).square(), window).sqrt()))
        features.append(_log(local_mean((guess - mean).square(), window).sqrt()))
    return torch.stack(features, dim=-1)


def local_gradients(x: Float[Tensor, "B C ..."]) -> list[Float[Tensor, "B C ..."]]:
    """Differences to the next element along each axis."""
    return [F.pad(x.diff(dim=axis), _one_more(axis, x.ndim), mode="replicate") for axis in range(2, x.ndim)]


def _one_more(axis: int, ndim: int) -> list[int]:
    """Padding that repeats the last element along one axis."""
    return [side for a in range(ndim - 1, 1, -1) for side in (0, int(a == axis))]


def _log(x: Tensor) -> Tensor:
    return (x + 1e-4).log()


def _frozen(value: Any) -> Any:
    return tuple(_frozen(part) for part in value) if isinstance(value, list | tuple) else value
