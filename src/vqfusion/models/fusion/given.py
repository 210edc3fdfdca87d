"""Inputs of a System: from samples to tokens."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from vqfusion.config import SlotConfig
from vqfusion.data.convert import as_samples
from vqfusion.errors import UserError
from vqfusion.modalities import MODALITIES
from vqfusion.models.fusion.batch import GivenSlot, SlotFrames, SlotTokens
from vqfusion.models.fusion.slot_tokenizers import SlotTokenizers
from vqfusion.models.fusion.slots import SlotName, check_slot, stack_frames, stack_tokens
from vqfusion.types import Sample

# one item or several for each slot: samples, or what `as_sample` takes; a string is a text, a name, or a path
Given = Mapping[str, Any]
# known part of the target: pictures with a mask [H, W] (True = keep), or the beginnings of texts with None
Known = tuple[Sample | Sequence[Sample], Tensor | None]


def samples_of(slot: str, value: Any) -> Any:
    """Convert what is given for a slot to samples; for `speaker` a string is the name of a voice."""
    modality = SlotName.parse(slot).modality
    return as_samples(value, modality if modality in MODALITIES else "label")


def encode_given(tokenizers: SlotTokenizers, given: Given, known: Known | None) -> tuple[dict[str, list[Tensor]], int]:
    """Ids or features of each given slot for every item, and the number of items; a single sample serves all items."""
    samples = {name: samples_of(name, value) for name, value in given.items()}
    count = count_items(samples, known)
    items = {}
    for name, value in samples.items():
        check_slot(name, tokenizers.config.fusion.slots)
        if isinstance(value, Sample):
            items[name] = tokenizers.given(name, [value]) * count
        else:
            items[name] = tokenizers.given(name, list(value))
    return items, count


def count_items(samples: Mapping[str, Any], known: Known | None = None) -> int:
    """Number of items of given samples; UserError where the slots have different numbers."""
    sizes = {len(value) for value in samples.values() if not isinstance(value, Sample)}
    if known is not None and not isinstance(known[0], Sample):
        sizes.add(len(known[0]))
    if len(sizes) > 1 or 0 in sizes:
        raise UserError(f"the given slots have {sorted(sizes)} items; give one each, or lists of one length")
    return sizes.pop() if sizes else 1


def stacked(values: list[Tensor]) -> GivenSlot:
    """Ids or frames of several items as a batch."""
    return SlotFrames(*stack_frames(values)) if values[0].is_floating_point() else SlotTokens(*stack_tokens(values))


def encode_known(
    tokenizers: SlotTokenizers, target: str, known: Known | None, count: int
) -> list[tuple[Tensor, Tensor] | None]:
    """Ids of each item and the mask of its known tokens; None without known parts."""
    if known is None:
        return [None] * count
    samples = [known[0]] * count if isinstance(known[0], Sample) else list(known[0])
    return [tokenizers.known(target, sample, known[1]) for sample in samples]


def given_shapes(
    target: str, slot: SlotConfig, items: dict[str, list[Tensor]], count: int
) -> list[tuple[int, ...] | None]:
    """Token grid of each item where it is known, from the slot or from a given view of the same signal; else None."""
    if not slot.variable:
        return [slot.shape] * count
    name = SlotName.parse(target)
    for other, ids in items.items():
        view = SlotName.parse(other)
        if (view.modality, view.language) == (name.modality, name.language) and not ids[0].is_floating_point():
            return [tuple(one.shape) for one in ids]
    return [None] * count
