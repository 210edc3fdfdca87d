"""Tokens and frames of slots for a batch, and one draw from the training mix."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class SlotTokens:
    """Tokens of one slot for a batch: `ids` `[B, *grid]`, `mask` of the same shape (True = real, None = all)."""

    ids: Int[Tensor, "B ..."]
    mask: Bool[Tensor, "B ..."] | None = None

    def to(self, device: torch.device) -> "SlotTokens":
        """The tokens on another device."""
        return SlotTokens(self.ids.to(device), None if self.mask is None else self.mask.to(device))


@dataclass(frozen=True)
class SlotFrames:
    """Continuous frames `[B, N, F]` of a given slot, and their mask `[B, N]` (True = real, None = all)."""

    frames: Float[Tensor, "B N F"]
    mask: Bool[Tensor, "B N"] | None = None

    def to(self, device: torch.device) -> "SlotFrames":
        """The frames on another device."""
        return SlotFrames(self.frames.to(device), None if self.mask is None else self.mask.to(device))


GivenSlot = SlotTokens | SlotFrames


@dataclass(frozen=True)
class FusionBatch:
    """One draw from the training mix.

    Attributes:
        given: Given slots, with B / `repeats` items.
        target: Target slots, with B items.
        hidden: Tokens to predict in each target, True = hidden.
        t: Time of each example, shared by its targets.
        repeats: Number of targets for each given item.
        name: Name of the draw in reports.
        same_given: Whether the given slots are those of the previous batch, so that they need not be computed again.
        seed: Seed of the dropout.
    """

    given: Mapping[str, GivenSlot]
    target: Mapping[str, SlotTokens]
    hidden: Mapping[str, Bool[Tensor, "B ..."]]
    t: Float[Tensor, " B"]
    repeats: int = 1
    name: str = ""
    same_given: bool = False
    seed: int = 0

    @property
    def items(self) -> int:
        """Number of examples."""
        return len(self.t)

    def to(self, device: torch.device) -> "FusionBatch":
        """The batch on another device."""
        return FusionBatch(
            {name: tokens.to(device) for name, tokens in self.given.items()},
            {name: tokens.to(device) for name, tokens in self.target.items()},
            {name: hidden.to(device) for name, hidden in self.hidden.items()},
            self.t.to(device),
            self.repeats,
            self.name,
            self.same_given,
            self.seed,
        )
