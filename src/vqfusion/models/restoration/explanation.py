"""What is seen in a signal before it is denoised: level by place and brightness, correlations, clipping, JPEG."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.diffusion.gaussian.noise_level import estimate_noise
from vqfusion.diffusion.gaussian.noise_likeness import flat_areas
from vqfusion.diffusion.gaussian.odd_areas import clipped_ends
from vqfusion.models.restoration.channel_noise import channel_noise

PARTS = 3  # of each axis
LEAST_SIDE = {1: 4096, 2: 48, 3: 20}  # of a part in which the level is estimated, by rank
BLOCK = 8  # side of the blocks of JPEG
BLOCKY = 1.15  # step across borders of blocks, relative to other places, from which on blocks are seen


@dataclass(frozen=True)
class Explanation:
    """What was seen in one signal, in its units as the prior takes it.

    Attributes:
        level: Noise level of the whole as white noise.
        level_map: Levels in a grid of equal parts, the last axis running fastest; empty where the signal is too small.
        flat_level: Standard deviation in the flattest areas.
        neighbours: Correlation of neighbouring elements there, about 0 for white noise.
        two_apart: Correlation of elements two apart.
        channels: Strongest noise in a direction of colour, relative to the mean: 1 where channels are independent, at
            most the root of their number; None for one channel.
        clipped: Fractions of the values at the lowest and the highest one, where the signal was clipped there.
        jpeg_blocks: Mean step across borders of 8 x 8 blocks relative to other places; None but for pictures.
        jpeg_step: Mean quantization step of the lowest frequencies of brightness, of 255; None but for JPEG files.
    """

    level: float
    level_map: tuple[float, ...]
    flat_level: float
    neighbours: float
    two_apart: float
    channels: float | None
    clipped: tuple[float, float]
    jpeg_blocks: float | None
    jpeg_step: float | None

    @classmethod
    def of(cls, item: Float[Tensor, "C ..."], tables: Any = None) -> "Explanation":
        """Look at one signal; `tables` are the quantization tables of its JPEG file, as Pillow gives them.

        Raises:
            UserError: The signal is too small for an estimate.
        """
        flat, pictured = flat_areas(item), item.ndim == 3
        low, high = clipped_ends(item)
        channels = None
        if pictured and len(item) > 1 and min(item.shape[1:]) >= LEAST_SIDE[2]:
            levels = channel_noise(item)[1]
            channels = float(levels.max() / levels.square().mean().sqrt().clamp(min=1e-6))
        return cls(
            level=float(estimate_noise(item[None])),
            level_map=tuple(_level_map(item)),
            flat_level=flat.level,
            neighbours=flat.likeness,
            two_apart=flat.likeness_2,
            channels=channels,
            clipped=(float((item <= low).float().mean()), float((item >= high).float().mean())),
            jpeg_blocks=_blocks(item) if pictured else None,
            jpeg_step=None if not tables else sum(tables[min(tables)][k] for k in (0, 1, 8)) / 3,
        )

    def lines(self, unit: float = 255.0) -> list[str]:
        """The explanation in words; levels are given as fractions of `unit`."""

        def shown(level: float) -> str:
            return f"{unit * level:.1f}/{unit:g}" if unit != 1 else f"{level:.3g}"

        lines = [f"noise as white noise: {shown(self.level)}; in flat areas: {shown(self.flat_level)}"]
        if self.level_map:
            low, high = min(self.level_map), max(self.level_map)
            lines.append(f"by place ({len(self.level_map)} parts): {shown(low)} to {shown(high)}")
        lines.append(
            f"correlation of neighbours {self.neighbours:.2f}, two apart {self.two_apart:.2f} (white noise: 0)"
        )
        if self.channels is not None:
            lines.append(
                f"noise in the strongest direction of colour: {self.channels:.2f} of the mean (independent: 1)"
            )
        if any(self.clipped):
            lines.append(f"clipped: {self.clipped[0]:.1%} at the lowest value, {self.clipped[1]:.1%} at the highest")
        if self.jpeg_blocks is not None:
            seen = "seen" if self.jpeg_blocks > BLOCKY else "not seen"
            lines.append(f"blocks of JPEG: {seen} (steps across their borders {self.jpeg_blocks:.2f} of others)")
        if self.jpeg_step is not None:
            lines.append(
                f"the file is a JPEG whose lowest frequencies are rounded to steps of {self.jpeg_step:.0f}/255"
            )
        return lines


def _level_map(item: Float[Tensor, "C ..."]) -> Iterator[float]:
    """Noise levels of a grid of parts; none where the parts are too small."""
    rank = item.ndim - 1
    if min(item.shape[1:]) < PARTS * LEAST_SIDE[rank]:
        return
    ends = [[(k * n // PARTS, (k + 1) * n // PARTS) for k in range(PARTS)] for n in item.shape[1:]]
    for part in itertools.product(*ends):
        yield float(estimate_noise(item[(slice(None), *(slice(*pair) for pair in part))][None]))


def _blocks(item: Float[Tensor, "C H W"]) -> float:
    """Mean absolute second difference across borders of 8 x 8 blocks, relative to that inside them."""
    grey = item.mean(0).double()
    ratios = []
    for values in (grey, grey.T):
        bend = (values[1:-2] - values[2:-1]) - (values[:-3] - values[1:-2] + values[2:-1] - values[3:]) / 2
        size = bend.abs().mean(1)  # of the step between rows k + 1 and k + 2
        border = (torch.arange(len(size)) + 2) % BLOCK == 0
        if bool(border.any()) and bool((~border).any()):
            ratios.append(float(size[border].mean() / size[~border].mean().clamp(min=1e-6)))
    return sum(ratios) / len(ratios) if ratios else 1.0
