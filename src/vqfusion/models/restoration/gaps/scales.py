"""Scales on which a channel is nearly normal: standardised values, or normal scores of its ranks."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri

Values = Float[np.ndarray, " N"]


@dataclass(frozen=True)
class Scale:
    """Monotone map between the values of a channel and a scale with mean about 0 and deviation about 1.

    Attributes:
        places: Increasing values of the channel.
        scores: Increasing numbers that they are mapped to; between them the map is linear.
        ends: First and last number that is mapped back to each value, for values that occur often; numbers beyond the
            outer ones are mapped to the outer values. None maps back along a line without an end.
    """

    places: Values
    scores: Values
    ends: Float[np.ndarray, "N 2"] | None = None

    @classmethod
    def standard(cls, known: Values) -> "Scale":
        """Values less their mean, divided by their deviation."""
        unit = float(np.abs(known).max()) or 1.0  # squares of large values stay finite
        mean, deviation = unit * float((known / unit).mean()), unit * float((known / unit).std())
        return cls(np.array([mean, mean + (deviation or 1.0)]), np.array([0.0, 1.0]))

    @classmethod
    def ranks(cls, known: Values) -> "Scale":
        """Normal scores: the value of rank r of n is mapped to the normal quantile of (r - 1/2) / n, ties to one.

        Unequal steps of skewed channels become even, and what is mapped back stays within what was seen.
        """
        places, counts = np.unique(known, return_counts=True)
        last = counts.cumsum() - 0.5
        ends = np.stack([last - counts + 1, last], axis=1)
        return cls(places, ndtri(ends.mean(axis=1) / len(known)), ndtri(ends / len(known)))

    def forward(self, values: np.ndarray) -> np.ndarray:
        """Numbers on the scale; NaN stays."""
        if self.ends is not None:
            return np.where(np.isnan(values), np.nan, np.interp(values, self.places, self.scores))
        mean, above = self.places
        return (values - mean) / (above - mean)

    def back(self, scores: np.ndarray) -> np.ndarray:
        """Values of the channel."""
        if self.ends is not None:
            return np.interp(scores, self.ends.ravel(), self.places.repeat(2))
        mean, above = self.places
        return mean + scores * (above - mean)
