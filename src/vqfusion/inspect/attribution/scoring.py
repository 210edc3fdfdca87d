"""Log probability of an answer given any part of what is given."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vqfusion.inspect.attribution.units import GivenUnits
from vqfusion.models.fusion.fusion import Fusion
from vqfusion.models.fusion.generate import given_prefix, slot_denoiser
from vqfusion.nn.transformer import PrefixCache

ROWS = 64  # batch size
GROUPS = 8  # network evaluations for an answer of several tokens


@dataclass(frozen=True)
class AskedAnswer:
    """An answer to score.

    Attributes:
        slot: Its slot.
        ids: Its tokens.
        steps: The step at which a sampler fixed each token, from 1.
        temperature: Temperature of the probabilities.
    """

    slot: str
    ids: Int[Tensor, "..."]
    steps: Int[Tensor, "..."]
    temperature: float = 1.0

    @property
    def groups(self) -> list[Bool[Tensor, " N"]]:
        """Tokens that are scored together, in the order in which they were fixed: at most `GROUPS`, about equal."""
        steps = self.steps.flatten()
        counts = torch.bincount(steps).cumsum(0)
        part = ((counts - 1) * GROUPS // len(steps)).clamp(min=0)[steps] if int(steps.max()) > GROUPS else steps
        return [part == one for one in part.unique().tolist()]


class Scorer:
    """Log probability in nats of an answer given any of the units of what is given.

    For an answer of several tokens it is the sum over the groups of tokens that a sampler fixed one after another, each
    given those before it: the probability with which that sampler draws it, at temperature 1 and without guidance; its
    length is given.

    Args:
        fusion: The transformer.
        units: What is given.
        answer: The answer.
    """

    def __init__(self, fusion: Fusion, units: GivenUnits, answer: AskedAnswer):
        self.fusion, self.units, self.answer = fusion, units, answer

    @torch.no_grad()
    def __call__(self, keep: Bool[Tensor, "M U"]) -> Float[Tensor, " M"]:
        """Log probabilities with the units that are True in each row.

        Args:
            keep: Units that are given.

        Returns:
            Nats, in float64.
        """
        return torch.cat([self.of_prefix(self.prefix(part)) for part in keep.split(ROWS)])

    def prefix(self, keep: Bool[Tensor, "M U"]) -> PrefixCache:
        """Keys and values of the units that are kept."""
        given = {name: one.to(self.fusion.sink.device) for name, one in self.units.batch(keep).items()}
        return given_prefix(self.fusion, given, len(keep))

    def of_prefix(self, prefix: PrefixCache) -> Float[Tensor, " M"]:
        """Log probability of the answer for each row of a prefix, in nats."""
        many, device = len(prefix.keys[0]), prefix.keys[0].device
        ids = self.answer.ids.flatten().to(device).expand(many, -1)
        denoise = slot_denoiser(self.fusion, self.answer.slot, None, prefix)
        total = torch.zeros(many, dtype=torch.float64)
        hidden = torch.ones(ids.shape[1], dtype=torch.bool)
        for group in self.answer.groups:
            logits = denoise(ids, hidden.to(device).expand(many, -1))[:, group.to(device)].double()
            log_p = (logits / self.answer.temperature).log_softmax(dim=-1)
            total = total + log_p.gather(-1, ids[:, group.to(device), None])[..., 0].sum(dim=1).cpu()
            hidden = hidden & ~group
        return total
