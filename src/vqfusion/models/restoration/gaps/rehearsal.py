"""Artificial gaps in what is known: how near each estimate is there, and how far the truth lies from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtr, ndtri

from vqfusion.models.restoration.gaps.runs import SIZES

EVEN = 0.2  # step of the weights of the estimates
ENOUGH = 30  # gaps of a group that has weights of its own
SHRINK = 10  # gaps at which the spread of a group counts half, and that of the larger group half
CLEARLY = 1.02  # factor by which the first estimate must be worse for others to count
LEVELS = ndtr(np.linspace(-2.65, 2.65, 54))
NORMAL = ndtri(LEVELS)


@dataclass(frozen=True)
class Rehearsal:
    """Hidden values and their estimates, on the scale of each channel.

    Attributes:
        group: Group of the gap of each value.
        channel: Its channel.
        truth: The value.
        estimates: Estimates `[E, N]`, the one to be preferred first.
        deviation: Standard deviation under the model.
    """

    group: Int[np.ndarray, " N"]
    channel: Int[np.ndarray, " N"]
    truth: Float[np.ndarray, " N"]
    estimates: Float[np.ndarray, "E N"]
    deviation: Float[np.ndarray, " N"]

    @classmethod
    def none(cls, estimates: int) -> "Rehearsal":
        """Nothing was hidden: the first estimate counts, and the model's own spread."""
        nothing = np.zeros(0)
        return cls(nothing.astype(int), nothing.astype(int), nothing, np.zeros((estimates, 0)), nothing)

    @classmethod
    def joined(cls, parts: "Sequence[Rehearsal]") -> "Rehearsal":
        """All of several."""
        return cls(
            np.concatenate([part.group for part in parts]),
            np.concatenate([part.channel for part in parts]),
            np.concatenate([part.truth for part in parts]),
            np.concatenate([part.estimates for part in parts], axis=1),
            np.concatenate([part.deviation for part in parts]),
        )

    def mean(self, group: int, channel: int) -> Float[np.ndarray, " E"]:
        """Weights of the estimates for a group and channel, drawn to those of the whole group where gaps are few."""
        if (group, channel) not in self._known_means:
            among = self._nested(group, channel)
            shared = next((one for one in among[2::-1] if self._gaps(one) >= ENOUGH), among[0])
            weights, gaps = self._weights(shared), self._gaps(among[3])
            if gaps >= ENOUGH:
                weights = weights + gaps / (gaps + ENOUGH) * (self._weights(among[3]) - weights)
            self._known_means[group, channel] = weights
        return self._known_means[group, channel]

    @cached_property
    def _known_means(self) -> dict[tuple[int, int], np.ndarray]:
        return {}

    def _weights(self, among: np.ndarray) -> Float[np.ndarray, " E"]:
        """Weights with the least sum of the mean absolute and the root mean squared error, relative to the first."""
        alone = np.eye(len(self.estimates))[0]
        if not among.any():
            return alone
        errors = self.estimates[:, among] - self.truth[among]
        units = _sizes(errors[0]) + 1e-300
        best, least = alone, float((_sizes(errors[0]) / units).sum())
        for part in product(np.arange(0, 1 + EVEN / 2, EVEN), repeat=len(errors) - 1):
            if sum(part) <= 1 + 1e-9:
                weights = np.array([max(0.0, 1 - sum(part)), *part])
                score = CLEARLY * float((_sizes(weights @ errors) / units).sum())
                best, least = (weights, score) if score < least else (best, least)
        return best

    def _nested(self, group: int, channel: int) -> list[np.ndarray]:
        """All values, those of gaps at the same side, of the same group, and of this channel among them."""
        same = self.group == group
        return [np.ones(len(same), bool), self.group % 3 == group % 3, same, same & (self.channel == channel)]

    def _gaps(self, among: np.ndarray) -> float:
        """Number of gaps, since errors within one are alike."""
        return float((1 / SIZES[np.minimum(self.group[among] // 3, len(SIZES) - 1)]).sum())

    @cached_property
    def distances(self) -> Float[np.ndarray, " N"]:
        """Errors of the weighted estimates, in deviations."""
        weights = np.stack(
            [self.mean(g, c) for g, c in zip(self.group.tolist(), self.channel.tolist(), strict=True)], 1
        )
        return (self.truth - (weights * self.estimates).sum(0)) / self.deviation

    def spread(self, group: int, channel: int) -> Float[np.ndarray, " L"]:
        """Quantiles of the distances at `LEVELS`, alike on both sides; drawn to those of all where gaps are few."""
        made, shares = NORMAL[NORMAL > 0], 2 * LEVELS[NORMAL > 0] - 1
        for among in self._nested(group, channel):
            if among.any():
                own = np.quantile(np.abs(self.distances[among]), shares, method="weibull")
                gaps = self._gaps(among)
                made = made + gaps / (gaps + SHRINK) * (own - made)
        return np.concatenate([-made[::-1], made])


def _sizes(errors: np.ndarray) -> np.ndarray:
    """Mean absolute and root mean squared error."""
    return np.array([float(np.abs(errors).mean()), float(np.square(errors).mean()) ** 0.5])


def quantile_of(spread: Float[np.ndarray, " L"], normal: np.ndarray) -> np.ndarray:
    """Distance at the level of a normal number; in proportion to it beyond the outer levels."""
    inside = np.interp(normal, NORMAL, spread)
    outer = np.where(normal > 0, spread[-1] / NORMAL[-1], spread[0] / NORMAL[0]) * normal
    return np.where(np.abs(normal) > NORMAL[-1], outer, inside)
