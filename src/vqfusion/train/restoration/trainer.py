"""Training of a prior on noisy crops of raw data, by the training loop."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from vqfusion.config import PriorTrainingConfig
from vqfusion.data import open_dataset
from vqfusion.data.transforms import resample
from vqfusion.diffusion.noise import torch_seed
from vqfusion.errors import UserError
from vqfusion.modalities import MODALITIES
from vqfusion.models.restoration.prior import NoisyBatch, Prior
from vqfusion.nn.weights import fingerprint, load_weights, round_to_half
from vqfusion.train.loop.fit import fit
from vqfusion.train.loop.metrics import OnMetrics
from vqfusion.train.loop.run import RunFolder
from vqfusion.train.loop.steps import share, step_generator
from vqfusion.train.restoration.damage import damaged_crop

Signals = Sequence[Tensor]


def noisy_batches(signals: Signals, training: PriorTrainingConfig) -> Callable[[int, int, int], NoisyBatch]:
    """Batches of damaged random crops `[C, *crop]`, determined by the step.

    Signals `[C, *size]` are uint8 of 0 to 255, or floats; larger ones are drawn more often. Noise levels and kinds of
    damage are stratified over the batch.
    """
    weights = torch.tensor([float(signal[0].numel()) ** 0.5 for signal in signals])

    def batches(step: int, rank: int, processes: int) -> NoisyBatch:
        crop, batch = crop_and_batch(training, step)
        common = step_generator(training.seed, step, batch)
        places, kinds = (
            (torch.randperm(batch, generator=common) + torch.rand(batch, generator=common)) / batch for _ in range(2)
        )
        told = torch.rand(batch, generator=common) >= training.blind
        sigma = noise_levels(places, training.focus, training.prior.sigma_range)
        items = []
        for item in share(range(batch), rank, processes):
            generator = step_generator(training.seed, step, item)
            drawn = float(sigma[item]), bool(told[item]), float(kinds[item])
            items.append(damaged_crop(signals, weights, training, crop, *drawn, generator))
        return NoisyBatch(*(torch.stack(parts) for parts in zip(*items, strict=True)))

    return batches


def crop_and_batch(training: PriorTrainingConfig, step: int) -> tuple[int, int]:
    """Side of the crops of a step, and their number."""
    late, batch = training.late_crop, training.stage.batch
    if late is None or step < 0.75 * training.stage.steps:
        return training.crop, batch
    return late, max(1, round(batch * (training.crop / late) ** training.prior.rank))


def noise_levels(
    places: Float[Tensor, " B"], focus: tuple[float, float], whole: tuple[float, float], share: float = 0.75
) -> Float[Tensor, " B"]:
    """Noise levels from uniform numbers: a fraction `share` uniform in `focus`, the rest log-uniform in `whole`.

    Args:
        places: Uniform numbers in [0, 1).
        focus: Range of the uniform part.
        whole: Range of the log-uniform part.
        share: Fraction of the uniform part.

    Returns:
        Noise levels.
    """
    inner = focus[0] + (focus[1] - focus[0]) * (places / share)
    outer = whole[0] * (whole[1] / whole[0]) ** ((places - share) / (1 - share))
    return torch.where(places < share, inner, outer)


def train_prior(
    training: PriorTrainingConfig,
    signals: Signals,
    folder: Path,
    accelerator: Accelerator,
    on_metrics: OnMetrics | None = None,
    start: Prior | None = None,
    stop_after: int | None = None,
    show: bool = True,
) -> Prior:
    """Train a prior and save it to `folder`; resumes where it was stopped.

    A stopped run leaves a prior with averaged weights that is marked as unfinished.

    Args:
        training: Config of the training.
        signals: Signals `[C, *size]`.
        folder: Folder of the training.
        accelerator: Processes and device.
        on_metrics: Called with metrics.
        start: Trained prior of the same config whose weights are the start.
        stop_after: Stop after this step, for tests.
        show: Show a progress bar.

    Returns:
        The prior.
    """
    channels = {signal.shape[0] for signal in signals}
    if channels != {training.prior.channels}:
        raise UserError(f"the prior takes {training.prior.channels} channels and the data have {sorted(channels)}")
    torch.manual_seed(torch_seed(training.seed))
    learned = tuple(name for name in ("grey", "holes", "uneven", "camera") if getattr(training, name))
    config = training.prior.model_copy(update={"learned": learned})
    prior = Prior(config)
    source = noisy_batches(signals, training)

    def batches(step: int, rank: int, processes: int) -> NoisyBatch:
        return source(step, rank, processes).to(accelerator.device)

    contract: Any = training.model_dump(mode="json")
    if start is not None:
        if start.config.model_copy(update={"learned": learned}) != config:
            raise UserError("the prior to start from has another config; give `prior` of the YAML the same values")
        prior.load_state_dict(start.state_dict())
        contract = [contract, fingerprint(start.state_dict(), "start")]
    run = prior_folder(training, folder)
    with run.held(accelerator):
        fit(
            prior,
            batches,
            training.stage,
            folder / "training",
            json.dumps(contract),
            accelerator,
            on_metrics=on_metrics,
            on_save=run.on_save("prior", lambda: prior.save_pretrained(folder)),
            stop_after=stop_after,
            show=show,
        )
        round_to_half(prior)
        run.finish(accelerator, lambda: prior.save_pretrained(folder))
    return prior


def prior_folder(training: PriorTrainingConfig, folder: Path) -> RunFolder:
    """Folder of the training of a prior."""
    return RunFolder(folder, "prior", training, parts=("training",))


def averaged_so_far(training: PriorTrainingConfig, folder: Path) -> Prior:
    """Prior with the averaged weights of the last checkpoint of a training, which may still be running."""
    prior = Prior(training.prior)
    tensors = load_weights(folder / "training" / "state.safetensors")
    with torch.no_grad():
        for name, parameter in prior.named_parameters():
            parameter.copy_(tensors[f"average/{name}"])
    return prior.eval()


def load_signals(training: PriorTrainingConfig, split: str = "train") -> list[Tensor]:
    """Signals of the modality of a prior in a split: pictures as uint8 at their sizes, others as floats.

    Pictures are converted to the channels of the prior and sound to its sample rate; other signals must have its
    channels, and volumes and series in other units are scaled to its range.
    """
    prior, dataset, kind = training.prior, open_dataset(training.data), MODALITIES[training.prior.modality]
    records = dataset.select(split=split, slots=(prior.modality,)) or dataset.select(slots=(prior.modality,))
    if not records:
        raise UserError(f"data set {dataset.name!r} holds no {prior.modality}; it has {', '.join(dataset.slots())}")
    signals: list[Tensor] = []
    for record in records:
        sample = record.load(prior.modality)
        if kind.pictured:
            signals += reduced(as_bytes(sample.data, prior.channels), training.sizes)
        elif sample.data.shape[0] != prior.channels:
            raise UserError(f"{record.key}: has {sample.data.shape[0]} channels and the prior takes {prior.channels}")
        elif kind.heard and prior.sample_rate_hz:
            signals.append(resample(sample, prior.sample_rate_hz).data)
        else:
            signals.append(in_range(sample.data, prior.value_range))
    return signals


def as_bytes(picture: Float[Tensor, "C H W"], channels: int) -> UInt8[Tensor, "D H W"]:
    """A picture in [0, 1] as uint8 with 1 or 3 channels."""
    if channels == 1 and picture.shape[0] == 3:
        picture = (picture * picture.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(dim=0, keepdim=True)
    return (picture.expand(channels, -1, -1) * 255).round().to(torch.uint8)


def in_range(data: Float[Tensor, "C ..."], value_range: tuple[float, float]) -> Float[Tensor, "C ..."]:
    """Data unchanged where they lie in the range, else with their 0.1 and 99.9 % quantiles scaled to its ends."""
    low, high = value_range
    if low <= float(data.min()) and float(data.max()) <= high:
        return data
    sorted_values = data.flatten().sort().values
    count = len(sorted_values)
    first, last = (float(sorted_values[int(share * (count - 1))]) for share in (0.001, 0.999))
    return (low + (data - first) * (high - low) / max(last - first, 1e-12)).clamp(low, high)


def reduced(picture: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """A picture `[C, H, W]` of 0 to 255 with each of these longer sides that it exceeds by a quarter.

    The picture itself is included where it is no larger than the largest of them.
    """
    longest = max(picture.shape[1:])
    found = [picture] if longest <= max(sizes, default=longest) else []
    for size in (size for size in sizes if size <= 0.8 * longest):
        shape = [max(1, round(n * size / longest)) for n in picture.shape[1:]]
        small = F.interpolate(picture[None].float(), shape, mode="bicubic", antialias=True)[0]
        found.append(small.round().clamp(0, 255).to(torch.uint8))
    return found
