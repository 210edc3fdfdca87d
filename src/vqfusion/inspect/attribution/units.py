"""Units of what is given: the positions of given slots, joined into blocks where there are many."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vqfusion.config import SlotConfig
from vqfusion.models.fusion.batch import GivenSlot, SlotFrames, SlotTokens
from vqfusion.models.fusion.given import stacked
from vqfusion.models.fusion.slots import patchify, unpatchify

MOST = 64  # units of one slot


@dataclass(frozen=True)
class GivenUnits:
    """What is given of one item, divided into units that are kept or left out as a whole.

    Attributes:
        items: Ids `[*grid]` or frames `[N, values]` of each given slot.
        slots: Config of each given slot.
        owner: For each slot, the unit of each of its positions, as a grid of positions.
        count: Number of units.
    """

    items: Mapping[str, Tensor]
    slots: Mapping[str, SlotConfig]
    owner: Mapping[str, Int[Tensor, "..."]]
    count: int

    @classmethod
    def of(cls, items: Mapping[str, Tensor], slots: Mapping[str, SlotConfig], most: int = MOST) -> "GivenUnits":
        """Divide the positions of given slots into units.

        Args:
            items: Ids or frames of each given slot.
            slots: Config of each slot of the model.
            most: Units of a slot at most; above it, neighbouring positions are joined into blocks of equal sides.

        Returns:
            The units, numbered slot by slot in row-major order.
        """
        owner, count = {}, 0
        for name, values in items.items():
            patch = slots[name].patch
            sizes = [n // p for n, p in zip(values.shape[: len(patch)], patch, strict=True)]
            side = 1
            while math.prod(-(-n // side) for n in sizes) > most:
                side += 1
            blocks = [-(-n // side) for n in sizes]
            axes = torch.meshgrid(*[torch.arange(n) // side for n in sizes], indexing="ij")
            number = torch.zeros(sizes, dtype=torch.int64)
            for axis, many in zip(axes, blocks, strict=True):
                number = number * many + axis
            owner[name] = count + number
            count += math.prod(blocks)
        return cls(dict(items), {name: slots[name] for name in items}, owner, count)

    def batch(self, keep: Bool[Tensor, "M U"]) -> dict[str, GivenSlot]:
        """The given slots once for each row of `keep`, without the units that are False there.

        A position that is left out is masked as in training: no other attends to it.
        """
        out: dict[str, GivenSlot] = {}
        for name, values in self.items.items():
            whole = stacked([values] * len(keep))
            mask = self._tokens(name, keep[:, self.owner[name].flatten()])
            out[name] = SlotTokens(whole.ids, mask) if isinstance(whole, SlotTokens) else SlotFrames(whole.frames, mask)
        return out

    def by_unit(self, values: Mapping[str, Float[Tensor, "..."]]) -> Float[Tensor, " U"]:
        """Sums of values of the tokens or frames of each slot over units."""
        total = torch.zeros(self.count, dtype=torch.float64)
        for name, one in values.items():
            positions = patchify(one[None].double(), self.slots[name].patch)[0].sum(dim=-1)
            total.index_add_(0, self.owner[name].flatten(), positions)
        return total

    def of_slot(self, slot: str) -> Int[Tensor, " n"]:
        """Numbers of the units of a slot."""
        return self.owner[slot].unique()

    def on_grid(self, slot: str, values: Float[Tensor, " U"]) -> Float[Tensor, "..."]:
        """Values of units at each token or frame of a slot."""
        return self._tokens(slot, values[self.owner[slot].flatten()][None])[0]

    def _tokens(self, slot: str, positions: Tensor) -> Tensor:
        """Values of positions `[M, L]` at each token `[M, *grid]`."""
        patch = self.slots[slot].patch
        sizes = tuple(self.items[slot].shape[: len(patch)])
        each = positions[..., None].expand(-1, -1, math.prod(patch))
        return unpatchify(each, sizes, patch)
