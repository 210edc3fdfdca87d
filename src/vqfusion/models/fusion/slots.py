"""Slot names, and the mapping from token grids to positions of the transformer."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vqfusion.config import ChainConfig, SlotConfig
from vqfusion.errors import UserError


@dataclass(frozen=True)
class SlotName:
    """A slot name `modality[:language][@view]`: `text:de`, `image@16`, `audio@noisy`, `length:de`, `speaker`."""

    modality: str
    language: str | None = None
    view: str | None = None

    @classmethod
    def parse(cls, name: str) -> "SlotName":
        """Parse the name of a slot."""
        rest, _, view = name.partition("@")
        modality, _, language = rest.partition(":")
        return cls(modality, language or None, view or None)


def check_slot(name: str, slots: dict[str, SlotConfig]) -> SlotConfig:
    """Config of a slot; UserError that lists the known slots where it is missing."""
    if name not in slots:
        known = (
            ", ".join(n for n, config in slots.items() if not config.is_length)
            or "tokenizers only: use it with encode, decode and inspect"
        )
        raise UserError(f"this model has no slot {name!r}; it has {known}")
    return slots[name]


def asked_slot(name: str, config: ChainConfig) -> SlotConfig:
    """Config of a slot that is to be generated; UserError where the model was only ever given it in training."""
    slot = check_slot(name, config.fusion.slots)
    asked = {one for draw in config.draws for group in (draw.target, *draw.also) for one in group}
    if asked and not asked & {name, *(f"{name.partition(':')[0]}:{any_language}" for any_language in "*^")}:
        known = ", ".join(sorted(one for one in asked if not one.startswith("length")))
        raise UserError(f"this model was given {name} in training and never asked for it; it learned to give {known}")
    return slot


def calibrated(config: SlotConfig, given: Iterable[str]) -> float:
    """Temperature of a slot that was calibrated for the given ones: of several, the largest."""
    return max((config.calibration.get(SlotName.parse(slot).modality, 1.0) for slot in given), default=1.0)


def length_slot(name: str) -> str:
    """Slot with the length of a variable slot: `length:de` for `text:de`, `length:audio` for `audio`."""
    slot = SlotName.parse(name)
    return f"length:{slot.language or slot.modality}"


def patch_size(config: SlotConfig) -> int:
    """Number of tokens that share one position."""
    return math.prod(config.patch)


def patchify(grid: Tensor, patch: tuple[int, ...]) -> Tensor:
    """Reshape `[B, *grid, ...]` to `[B, positions, patch tokens, ...]` in row-major order.

    Every axis of the grid must be a multiple of its patch.
    """
    rank = len(patch)
    batch, sizes, rest = grid.shape[0], grid.shape[1 : 1 + rank], grid.shape[1 + rank :]
    if any(n % p for n, p in zip(sizes, patch, strict=True)):
        raise ValueError(f"a grid of {tuple(sizes)} is not a multiple of the patch {patch}")
    split = [part for n, p in zip(sizes, patch, strict=True) for part in (n // p, p)]
    order = [0, *range(1, 2 * rank, 2), *range(2, 2 * rank + 1, 2)]
    trailing = range(2 * rank + 1, 2 * rank + 1 + len(rest))
    return grid.reshape(batch, *split, *rest).permute(*order, *trailing).reshape(batch, -1, math.prod(patch), *rest)


def unpatchify(positions: Tensor, sizes: tuple[int, ...], patch: tuple[int, ...]) -> Tensor:
    """Inverse of `patchify`: `[B, positions, patch tokens, ...]` to `[B, *sizes, ...]`."""
    rank = len(patch)
    batch, rest = len(positions), positions.shape[3:]
    counts = [n // p for n, p in zip(sizes, patch, strict=True)]
    order = [0, *[axis for i in range(rank) for axis in (1 + i, 1 + rank + i)]]
    trailing = range(2 * rank + 1, 2 * rank + 1 + len(rest))
    return positions.reshape(batch, *counts, *patch, *rest).permute(*order, *trailing).reshape(batch, *sizes, *rest)


def coordinates(sizes: tuple[int, ...], patch: tuple[int, ...]) -> Float[Tensor, "L 3"]:
    """Coordinates (depth, row, column) of each position, from 0; a sequence uses the last axis."""
    counts = [n // p for n, p in zip(sizes, patch, strict=True)]
    axes = torch.meshgrid(*[torch.arange(n, dtype=torch.float32) for n in counts], indexing="ij")
    places = torch.stack([axis.reshape(-1) for axis in axes], dim=-1)
    return torch.nn.functional.pad(places, (3 - places.shape[1], 0))


def stack_frames(frames: list[Tensor]) -> tuple[Float[Tensor, "B N F"], Bool[Tensor, "B N"] | None]:
    """Batch of frames `[N, F]` padded to the longest, with a mask where lengths differ."""
    counts = torch.tensor([len(one) for one in frames])
    longest = int(counts.max())
    if bool((counts == longest).all()):
        return torch.stack(frames), None
    padded = [torch.nn.functional.pad(one, (0, 0, 0, longest - len(one))) for one in frames]
    return torch.stack(padded), torch.arange(longest) < counts[:, None]


def stack_tokens(ids: list[Int[Tensor, "..."]]) -> tuple[Int[Tensor, "B ..."], Bool[Tensor, "B ..."] | None]:
    """Batch of grids of equal shape, or of sequences padded to the longest, with a mask where lengths differ."""
    longest = max(len(item) for item in ids)
    if all(item.shape == ids[0].shape for item in ids):
        return torch.stack(ids), None
    padded = [torch.nn.functional.pad(item, (0, longest - len(item))) for item in ids]
    lengths = torch.tensor([len(item) for item in ids])
    return torch.stack(padded), torch.arange(longest) < lengths[:, None]
