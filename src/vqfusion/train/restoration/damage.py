"""One item that a prior learns from: a crop, the damage done to it, and what the prior is told."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from vqfusion.config import PriorTrainingConfig
from vqfusion.train.codec.crops import random_box
from vqfusion.train.restoration.camera import photographed, source_side
from vqfusion.train.restoration.holes import error_of_lost, lost_values
from vqfusion.train.restoration.uneven import uneven_noise

COLOURED = 2.0  # times as much error as of white noise remains of what a camera and a file did


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
    """One item of a `NoisyBatch`; kind in [0, 1) chooses the damage by the shares of the training."""
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
    """The squared error that about remains at a noise of sigma."""
    return 1 / (1 / sigma.square() + 1 / (slope * sigma))


def in_grey(picture: Float[Tensor, "3 H W"]) -> Float[Tensor, "3 H W"]:
    """A picture with its luma in all three channels."""
    return (picture * picture.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0, keepdim=True).expand(3, -1, -1)


def busiest_box(
    signals: Sequence[Float[Tensor, "C ..."] | UInt8[Tensor, "C ..."]],
    weights: Float[Tensor, " N"],
    size: tuple[int, ...],
    candidates: int,
    generator: torch.Generator,
) -> Float[Tensor, "C ..."]:
    """Of crops from so many random signals the one whose neighbours differ most."""
    chosen = torch.multinomial(weights, candidates, replacement=True, generator=generator).tolist()
    boxes = [random_box(signals[number], size, generator) for number in chosen]
    return max(boxes, key=lambda box: float(box.diff(dim=-1).abs().mean())) if candidates > 1 else boxes[0]


def turned(crop: Float[Tensor, "C ..."], generator: torch.Generator) -> Float[Tensor, "C ..."]:
    """A crop mirrored along random axes, with two axes swapped half of the time; sound changes its sign instead."""
    rank = crop.ndim - 1
    draws = torch.rand(2 + rank, generator=generator)
    if rank == 1:
        return crop * (1 if draws[0] < 0.5 else -1) * (0.3 + 0.7 * draws[1])
    crop = crop.flip([axis + 1 for axis in range(rank) if draws[axis] < 0.5])
    return crop.transpose(-1, -2) if draws[rank] < 0.5 else crop
