"""Given samples that are longer than their slot: cut into pieces that are answered one by one, and joined."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.models.fusion.given import Given, count_items, samples_of
from vqfusion.models.fusion.slot_tokenizers import SlotTokenizers
from vqfusion.models.sampling import Sampling
from vqfusion.types import Sample

SEED_STEP = 100_003  # between the seeds of consecutive pieces of an item, which are unlike those of other items

T = TypeVar("T")


@dataclass(frozen=True)
class Pieces:
    """Items cut into pieces that fit their slots.

    Attributes:
        given: Samples of each slot, one for each piece of each item.
        counts: Number of pieces of each item.
        weights: Share of each piece in its item, by its length.
    """

    given: Mapping[str, list[Sample]]
    counts: tuple[int, ...]
    weights: tuple[float, ...]

    def of_items(self, answers: Sequence[T]) -> list[list[T]]:
        """Answers to the pieces, by item."""
        ends = list(accumulate(self.counts))
        return [list(answers[end - count : end]) for end, count in zip(ends, self.counts, strict=True)]

    def first(self) -> "Pieces":
        """The first piece of each item alone."""
        firsts = {slot: [one[0] for one in self.of_items(samples)] for slot, samples in self.given.items()}
        return Pieces(firsts, (1,) * len(self.counts), (1.0,) * len(self.counts))

    def joined_rows(self, rows: Float[Tensor, "P D"]) -> Float[Tensor, "B D"]:
        """Mean of the rows of the pieces of each item, weighted by their length."""
        items = torch.repeat_interleave(torch.tensor(self.counts))
        weights = torch.tensor(self.weights, dtype=rows.dtype)
        return rows.new_zeros(len(self.counts), rows.shape[1]).index_add(0, items, rows * weights[:, None])

    def sampling(self, sampling: Sampling) -> Sampling:
        """Settings for the pieces: the first of each item has the seed of the item."""
        numbers = [sampling.items[i] if sampling.items else i for i in range(len(self.counts))]
        each = [n + SEED_STEP * j for n, count in zip(numbers, self.counts, strict=True) for j in range(count)]
        return replace(sampling, items=tuple(each))


def cut_given(tokenizers: SlotTokenizers, given: Given) -> Pieces | None:
    """Cut the given samples that are longer than their slot; None where all fit.

    Where several slots of an item are cut, the piece of each slot is the one at the same share of its length.
    """
    samples = {slot: samples_of(slot, value) for slot, value in given.items()}
    cut = {
        slot: [tokenizers.pieces(slot, one) for one in ([value] if isinstance(value, Sample) else value)]
        for slot, value in samples.items()
    }
    if all(len(pieces) == 1 for items in cut.values() for pieces in items):
        return None
    items = count_items(samples)
    rows = [{slot: each[i if len(each) > 1 else 0] for slot, each in cut.items()} for i in range(items)]
    counts = tuple(max(map(len, row.values())) for row in rows)
    out: dict[str, list[Sample]] = {slot: [] for slot in cut}
    weights: list[float] = []
    for row, count in zip(rows, counts, strict=True):
        longest = max(row, key=lambda slot: len(row[slot]))
        sizes = [tokenizers[longest].extent(one)[-1] for one in row[longest]]
        weights += [size / sum(sizes) for size in sizes]
        for slot, pieces in row.items():
            out[slot] += [pieces[j * len(pieces) // count] for j in range(count)]
    return Pieces(out, counts, tuple(weights))
