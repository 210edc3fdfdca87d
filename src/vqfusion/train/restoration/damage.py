"""One training item of a prior: a crop, its damage, and the noise level that the prior receives."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from vqfusion.config import PriorTrainingConfig
from vqfusion.train.codec.crops import random_box
from vqfusion.train.restoration.camera import photographed, source_side
from vqfusion.train.restoration.holes import error_of_lost, lost_values
from vqfusion.train.restoration.uneven import uneven_noise

COLOURED = 2.0  # error left of camera and file damage, relative to that of white noise


def damaged_crop(
    signals: Sequence[Float[Tensor, "C ..."] | UInt8[Tensor, "C ..."]],
    weights: Float[Tensor, " N"],
    training: PriorTrainingConfig,
    crop: int,
    sigma: float,
    told: bool,
    kind: float,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One item of a `NoisyBatch`.

    Args:
        signals: Training signals.
        weights: Probability of each signal.
        training: Config of the training.
        crop: Side of the crop.
        sigma: Noise level.
        told: Whether the network receives the level.
        kind: Number in [0, 1) that selects the kind of damage by the fractions in `training`.
        generator: Random generator.

    Returns:
        Clean data, noisy data, levels and expected squared errors.
    """
    config, slope = training.prior, training.error_slope
    from_camera = kind >= 1 - training.camera
    side = source_side(crop, generator) if from_camera else crop
    clean = turned(busiest_box(signals, weights, (side,) * config.rank, training.candidates, generator), generator)
    grey = training.grey > 0 and float(torch.rand(1, generator=generator)) < training.grey
    if from_camera:
        clean, noisy = photographed(clean, crop, generator)
        if grey:
            clean, noisy = in_grey(clean), in_grey(noisy)
        rest = (noisy - clean).square().mean().clamp(min=1e-6)
        remains = COLOURED * remaining(rest.sqrt(), slope)
        return clean, noisy, torch.zeros_like(clean), remains.expand_as(clean)
    clean = in_grey(clean) if grey else clean
    if training.contrast > 0 and float(torch.rand(1, generator=generator)) < training.contrast:
        clean = other_contrast(clean, config.value_range, generator)
    noise = torch.randn((1, *clean.shape[1:]) if grey else clean.shape, generator=generator).expand_as(clean)
    if kind < training.holes:
        sigma = config.sigma_range[0] * (sigma / config.sigma_range[0]) ** float(torch.rand(1, generator=generator))
    true = level = torch.full_like(clean, sigma)
    if training.holes <= kind < training.holes + training.uneven:
        noisy, true, level = uneven_noise(clean, noise, sigma, config.value_range, generator)
        level = level.clamp(min=config.sigma_range[0])
    else:
        noisy = clean + sigma * noise
    remains = remaining(true.clamp(min=config.sigma_range[0]), slope)
    level = level if told else torch.zeros_like(level)
    if kind < training.holes:
        lost = lost_values(tuple(clean.shape), generator)
        remains = remains + torch.where(lost, error_of_lost(lost, slope), 0.0)
        level = level.masked_fill(lost, torch.inf)
    return clean, noisy, level, remains


def remaining(sigma: Tensor, slope: float) -> Tensor:
    """Squared error `[...]` to be expected after denoising at noise levels `sigma` `[...]`."""
    return 1 / (1 / sigma.square() + 1 / (slope * sigma))


def in_grey(picture: Float[Tensor, "3 H W"]) -> Float[Tensor, "3 H W"]:
    """Luma of a picture in all three channels."""
    return (picture * picture.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0, keepdim=True).expand(3, -1, -1)


def other_contrast(
    clean: Float[Tensor, "C ..."], value_range: tuple[float, float], generator: torch.Generator
) -> Float[Tensor, "C ..."]:
    """Data through a random power of 0.5 to 2, half of the time inverted: other tissues bright, as in other scans.

    Args:
        clean: Data in `value_range`.
        value_range: Its limits.
        generator: Random generator.

    Returns:
        The data, in the same range.
    """
    low, high = value_range
    power, turn = torch.rand(2, generator=generator).tolist()
    unit = ((clean - low) / (high - low)).clamp(0, 1)
    unit = (1 - unit if turn < 0.5 else unit) ** (4**power / 2)
    return low + (high - low) * unit


def busiest_box(
    signals: Sequence[Float[Tensor, "C ..."] | UInt8[Tensor, "C ..."]],
    weights: Float[Tensor, " N"],
    size: tuple[int, ...],
    candidates: int,
    generator: torch.Generator,
) -> Float[Tensor, "C ..."]:
    """Of random crops of random signals, the one with the largest mean difference of neighbours.

    Args:
        signals: Training signals.
        weights: Probability of each signal.
        size: Size of the crop.
        candidates: Number of crops to choose from.
        generator: Random generator.

    Returns:
        The crop.
    """
    chosen = torch.multinomial(weights, candidates, replacement=True, generator=generator).tolist()
    boxes = [random_box(signals[number], size, generator) for number in chosen]
    return max(boxes, key=lambda box: float(box.diff(dim=-1).abs().mean())) if candidates > 1 else boxes[0]


def turned(crop: Float[Tensor, "C ..."], generator: torch.Generator) -> Float[Tensor, "C ..."]:
    """Mirror a crop along random axes and swap two axes half of the time; sound changes its sign instead."""
    rank = crop.ndim - 1
    draws = torch.rand(2 + rank, generator=generator)
    if rank == 1:
        return crop * (1 if draws[0] < 0.5 else -1) * (0.3 + 0.7 * draws[1])
    crop = crop.flip([axis + 1 for axis in range(rank) if draws[axis] < 0.5])
    return crop.transpose(-1, -2) if draws[rank] < 0.5 else crop
