"""Which missing slot is worth acquiring: its expected information and saving."""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from vqfusion.models.decision.costs import Costs


@dataclass(frozen=True)
class Gain:
    """What acquiring a missing slot is expected to bring.

    Attributes:
        slot: The slot.
        bits: Expected information about the truth: the mutual information of slot and truth given the case.
        saving: Expected saving of cost of the best action, in the units of the costs.
        samples: Samples of the slot that the expectation was taken over.
    """

    slot: str
    bits: float
    saving: float
    samples: int


def entropy_bits(p: Float[Tensor, "... K"]) -> Float[Tensor, "..."]:
    """Shannon entropy in bits."""
    return -(p * p.clamp(min=1e-300).log2()).sum(dim=-1)


def expected_gain(slot: str, after: Float[Tensor, "S K"], costs: Costs) -> Gain:
    """Gain of a slot from the probabilities of the truth after each of its sampled values.

    The truth before acquiring is the mean of those after (the law of total probability), so that neither expectation
    is ever negative: Raiffa, Schlaifer (1961), the value of sample information.

    Args:
        slot: The missing slot.
        after: Probabilities of the truth, one row for each sample of the slot given the case.
        costs: Costs of actions.

    Returns:
        The gain.
    """
    after = after.double()
    before = after.mean(dim=0)
    bits = float(entropy_bits(before) - entropy_bits(after).mean())
    saving = float(costs.expected(before).min() - costs.expected(after).amin(dim=-1).mean())
    return Gain(slot, max(bits, 0.0), max(saving, 0.0), len(after))


def ranked(slots: list[str], probabilities_after: Callable[[str], Tensor], costs: Costs) -> tuple[Gain, ...]:
    """Gains of missing slots, the most worthwhile first: by saving, then by information.

    Args:
        slots: Missing slots.
        probabilities_after: Probabilities `[S, K]` of the truth after each sampled value of a slot.
        costs: Costs of actions.

    Returns:
        One gain for each slot.
    """
    gains = [expected_gain(slot, probabilities_after(slot), costs) for slot in slots]
    return tuple(sorted(gains, key=lambda gain: (-gain.saving, -gain.bits, gain.slot)))
