"""Calibration of the probabilities of a label: a temperature, and thresholds of conformal sets, also by group."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

TINY = 1e-30  # probabilities are raised to this before their logarithm


def fitted_temperature(log_p: Float[Tensor, "N K"], truth: Int[Tensor, " N"]) -> float:
    """Temperature T in [1/20, 20] with the least cross-entropy of softmax(log_p / T).

    Guo et al. (2017), section 4.2. The cross-entropy is convex in 1 / T, so that the minimum is unique.
    """
    inverse = torch.ones((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([inverse], max_iter=100, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def cross_entropy() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(log_p.double() * inverse, truth)
        loss.backward()
        return loss

    optimizer.step(cross_entropy)
    return 1 / min(max(inverse.item(), 1 / 20), 20.0)


@dataclass(frozen=True)
class Calibration:
    """What is known of the probabilities that a model gives for one choice of given slots.

    Attributes:
        temperature: Divides the log-probabilities.
        scores: 1 - p(truth) of the calibration cases, at that temperature, ascending, by group; "" without groups.
        highest: Largest probability of each calibration case, ascending.
    """

    temperature: float
    scores: dict[str, tuple[float, ...]]
    highest: tuple[float, ...]

    @classmethod
    def fit(
        cls, p: Float[Tensor, "N K"], truth: Int[Tensor, " N"], groups: tuple[str, ...] | None = None
    ) -> "Calibration":
        """Fit on calibration cases.

        Args:
            p: Probabilities at temperature 1.
            truth: Index of the true name.
            groups: Group of each case, such as its speaker or site; None without groups.

        Returns:
            The calibration.
        """
        log_p = p.double().clamp(min=TINY).log()
        temperature = fitted_temperature(log_p, truth)
        p = (log_p / temperature).softmax(dim=-1)
        score = 1 - p.gather(1, truth[:, None])[:, 0]
        names = groups or ("",) * len(p)
        scores = {
            name: tuple(sorted(float(score[i]) for i, other in enumerate(names) if other == name))
            for name in dict.fromkeys(names)
        }
        return cls(temperature, scores, tuple(sorted(p.amax(dim=-1).tolist())))

    def probabilities(self, p: Float[Tensor, "... K"]) -> Float[Tensor, "... K"]:
        """Calibrated probabilities of those at temperature 1."""
        return (p.double().clamp(min=TINY).log() / self.temperature).softmax(dim=-1)

    def threshold(self, coverage: float, group: str | None = None) -> float:
        """Largest score 1 - p of a name in a set that holds the truth with probability `coverage` or more.

        Within a group that was calibrated: the order statistic of split conformal prediction (Vovk et al., 2005), with
        the scores of Sadinle, Lei, Wasserman (2019), which give the smallest sets. For a case of another group, where
        groups are known: every group weighs the same and the new one is infinite (Lee, Barber, Willett, 2023, eq. 7).

        Args:
            coverage: Wanted probability in (0, 1).
            group: Group of the case; None for an unknown one.

        Returns:
            The threshold, or infinity where there are too few cases or groups to promise anything.
        """
        if group in self.scores or len(self.scores) == 1:
            scores = self.scores[group] if group in self.scores else next(iter(self.scores.values()))
            rank = math.ceil(coverage * (len(scores) + 1) - 1e-9)
            return scores[rank - 1] if rank <= len(scores) else math.inf
        share = 1 / (len(self.scores) + 1)
        weighted = sorted((one, share / len(scores)) for scores in self.scores.values() for one in scores)
        total = 0.0
        for score, weight in weighted:
            total += weight
            if total >= coverage - 1e-9:
                return score
        return math.inf

    def rank_of_highest(self, p: float) -> float:
        """Fraction of calibration cases, the new one among them, whose largest probability is at most p."""
        below = sum(one <= p for one in self.highest)
        return (below + 1) / (len(self.highest) + 1)
