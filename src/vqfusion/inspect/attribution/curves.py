"""Deletion and insertion curves: the score as units are left out, or given, in the order of an attribution."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.inspect.attribution.estimators import Score

POINTS = 33  # of a curve


@dataclass(frozen=True)
class Curves:
    """Both curves of one order of the units: Petsiuk, Das, Saenko (2018), "RISE".

    Attributes:
        shares: Shares of the units that are left out or given, from 0 to 1.
        deletion: Score after that share of the units, the most important first, is left out.
        insertion: Score when only that share of the units, the most important first, is given.
    """

    shares: Float[Tensor, " P"]
    deletion: Float[Tensor, " P"]
    insertion: Float[Tensor, " P"]

    @property
    def areas(self) -> tuple[float, float]:
        """Mean of the score along each curve by the trapezoidal rule: low for a good deletion, high for insertion."""
        return float(torch.trapezoid(self.deletion, self.shares)), float(torch.trapezoid(self.insertion, self.shares))


def curves(score: Score, importance: Float[Tensor, " U"]) -> Curves:
    """Curves of one attribution.

    Args:
        score: Scores of rows of kept units.
        importance: Importance of each unit; of equal ones the first goes first.

    Returns:
        The curves, at 33 shares at most.
    """
    units = len(importance)
    rank = importance.argsort(descending=True, stable=True).argsort()
    counts = torch.linspace(0, units, min(POINTS, units + 1)).round().long()
    first = rank < counts[:, None]
    deletion, insertion = score(torch.cat([~first, first])).split(len(counts))
    return Curves(counts.double() / units, deletion, insertion)
