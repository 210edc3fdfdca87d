"""Training of a prior: crops of raw data, noise of every level, the one training loop."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vqfusion.config import PriorTrainingConfig
from vqfusion.errors import UserError
from vqfusion.models.prior import NoisyBatch, Prior
from vqfusion.nn.weights import load_weights
from vqfusion.train.crops import random_box
from vqfusion.train.loop import fit
from vqfusion.train.sources import share, step_generator

Signals = Sequence[Tensor]


def noisy_batches(signals: Signals, training: PriorTrainingConfig) -> Callable[[int, int, int], NoisyBatch]:
    """Batches of crops `[C, *crop]`, turned and mirrored at random, with their noise: a function of the step alone.

    `signals` `[C, *size]` are uint8 of 0 to 255 or floats as they are; they are drawn by how large they are. Levels
    are stratified over the batch.
    """
    weights = torch.tensor([float(signal[0].numel()) ** 0.5 for signal in signals])
    stage, config = training.stage, training.prior

    def batches(step: int, rank: int, processes: int) -> NoisyBatch:
        common = step_generator(training.seed, step, stage.batch)
        places = (
            torch.randperm(stage.batch, generator=common) + torch.rand(stage.batch, generator=common)
        ) / stage.batch
        told = torch.rand(stage.batch, generator=common) >= training.blind
        sigma = noise_levels(places, training.focus, config.sigma_range)
        items = share(range(stage.batch), rank, processes)
        clean, noise = [], []
        for item in items:
            generator = step_generator(training.seed, step, item)
            signal = signals[int(torch.multinomial(weights, 1, generator=generator))]
            crop = random_box(signal, (training.crop,) * config.rank, generator)
            crop = crop.float() / 255 if crop.dtype == torch.uint8 else crop
            clean.append(turned(crop, generator))
            noise.append(torch.randn(crop.shape, generator=generator))
        chosen = list(items)
        return NoisyBatch(torch.stack(clean), torch.stack(noise), sigma[chosen], told[chosen])

    return batches


def noise_levels(
    places: Float[Tensor, " B"], focus: tuple[float, float], whole: tuple[float, float], share: float = 0.75
) -> Float[Tensor, " B"]:
    """Uniform numbers as noise levels: `share` of them uniform in `focus`, the rest log-uniform in `whole`."""
    inner = focus[0] + (focus[1] - focus[0]) * (places / share)
    outer = whole[0] * (whole[1] / whole[0]) ** ((places - share) / (1 - share))
    return torch.where(places < share, inner, outer)


def turned(crop: Float[Tensor, "C ..."], generator: torch.Generator) -> Float[Tensor, "C ..."]:
    """A crop mirrored along random axes, with two axes swapped half of the time; sound changes its sign instead."""
    rank = crop.ndim - 1
    draws = torch.rand(2 + rank, generator=generator)
    if rank == 1:
        return crop * (1 if draws[0] < 0.5 else -1) * (0.3 + 0.7 * draws[1])
    crop = crop.flip([axis + 1 for axis in range(rank) if draws[axis] < 0.5])
    return crop.transpose(-1, -2) if draws[rank] < 0.5 else crop


def train_prior(
    training: PriorTrainingConfig,
    signals: Signals,
    folder: Path,
    accelerator: Accelerator,
    stop_after: int | None = None,
    show: bool = True,
) -> Prior:
    """Train a prior on signals `[C, *size]` and save it to `folder`; resumes where it was stopped."""
    channels = {signal.shape[0] for signal in signals}
    if channels != {training.prior.channels}:
        raise UserError(f"the prior takes {training.prior.channels} channels and the data have {sorted(channels)}")
    torch.manual_seed(training.seed)
    prior = Prior(training.prior, training.error_slope)
    source = noisy_batches(signals, training)

    def batches(step: int, rank: int, processes: int) -> NoisyBatch:
        return source(step, rank, processes).to(accelerator.device)

    contract = json.dumps(training.model_dump(mode="json"))
    fit(prior, batches, training.stage, folder / "training", contract, accelerator, stop_after=stop_after, show=show)
    if accelerator.is_main_process:
        prior.save_pretrained(folder)
    return prior


def averaged_so_far(training: PriorTrainingConfig, folder: Path) -> Prior:
    """The prior of the last checkpoint of a training that may still run, with its averaged weights."""
    prior = Prior(training.prior)
    tensors = load_weights(folder / "training" / "state.safetensors")
    with torch.no_grad():
        for name, parameter in prior.named_parameters():
            parameter.copy_(tensors[f"average/{name}"])
    return prior.eval()


def reduced(picture: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """A picture `[C, H, W]` of 0 to 255 at each of these longer sides that it exceeds; as it is where there are
    none."""
    longest = max(picture.shape[1:])
    chosen = [size for size in sizes if size < longest]
    if not chosen:
        return [picture]
    found = []
    for size in chosen:
        shape = [max(1, round(n * size / longest)) for n in picture.shape[1:]]
        small = F.interpolate(picture[None].float(), shape, mode="bicubic", antialias=True)[0]
        found.append(small.round().clamp(0, 255).to(torch.uint8))
    return found
