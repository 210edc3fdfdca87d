"""What a latent diffusion learns from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import singledispatch

import torch
from jaxtyping import Int
from torch import Tensor

from vqfusion.config import LatentDiffusionConfig, LatentTrainingConfig, VQVAEConfig
from vqfusion.data import Dataset, open_dataset
from vqfusion.data.kept import kept
from vqfusion.errors import UserError
from vqfusion.modalities import SIGNALS
from vqfusion.models.latent.latent_diffusion import NOTHING, LatentBatch
from vqfusion.tokenizers.audio import AudioTokenizer
from vqfusion.tokenizers.image import ImageTokenizer
from vqfusion.tokenizers.signal import SignalTokenizer
from vqfusion.train.codec.crops import load_standardised, random_box
from vqfusion.train.codec.sources import load_pictures, load_sounds
from vqfusion.train.codec.tokenizers import label_names, require_slot
from vqfusion.train.loop.steps import share, step_generator


def open_data(training: LatentTrainingConfig, opened: Callable[[str], Dataset] = open_dataset) -> Dataset:
    """The data set of a training, each signal of which is decoded once."""
    rate_hz = getattr(training.latent.tokenizer, "sample_rate_hz", None)
    return kept(opened(training.data), training.image_size, rate_hz)


def check(training: LatentTrainingConfig, data: Dataset) -> None:
    """UserError where the data have nothing to train on, or not every signal has a class."""
    kind = kind_of_tokenizer(training.latent)
    require_slot(data, kind)
    if training.label is not None:
        label_names(data, training.label)
    require_labels(training, data, kind)


def kind_of_tokenizer(config: LatentDiffusionConfig) -> str:
    """`image`, `audio`, `volume` or `series`; UserError for the others: text, and a bare VQ-VAE, which has no data."""
    kind = "" if isinstance(config.tokenizer, VQVAEConfig) else config.tokenizer.kind
    if kind not in SIGNALS:
        raise UserError(f"latent.tokenizer.kind: a diffusion of latents is trained for {', '.join(SIGNALS)}")
    return kind


@dataclass(frozen=True)
class LabelledSignals:
    """Signals `[C, *size]` (uint8 of 0 to 255 or floats), their classes (-1: none), and the size of a crop of them."""

    signals: Sequence[Tensor]
    labels: Int[Tensor, " N"]
    crop: tuple[int, ...]

    def draw(self, generator: torch.Generator) -> tuple[Tensor, int]:
        """A signal from a random place `[C, *crop]`, of one channel where series have several, and its class."""
        item = int(torch.randint(len(self.signals), (1,), generator=generator))
        signal = self.signals[item]
        if len(self.crop) == 1:
            channel = int(torch.randint(len(signal), (1,), generator=generator))
            signal = signal[channel : channel + 1]
        return random_box(signal, self.crop, generator), int(self.labels[item])


def latent_batches(
    data: LabelledSignals, training: LatentTrainingConfig, flat: bool = False
) -> Callable[[int, int, int], LatentBatch]:
    """Batches of signals with classes, times and noise: a function of the step alone. `flat`: sounds are `[B, T]`."""
    batch = training.stage.batch

    def batches(step: int, rank: int, processes: int) -> LatentBatch:
        common = step_generator(training.seed, step, batch)
        order, inside = torch.randperm(batch, generator=common), torch.rand(batch, generator=common)
        places = (order + inside.double().clamp(min=1e-6)) / batch
        told = torch.rand(batch, generator=common) >= training.drop_label
        seeds = torch.randint(2**62, (batch,), generator=common)
        chosen = list(share(range(batch), rank, processes))
        drawn = [data.draw(step_generator(training.seed, step, item)) for item in chosen]
        signal = torch.stack([one for one, _ in drawn])
        labels = torch.where(told[chosen], torch.tensor([label for _, label in drawn]), NOTHING)
        return LatentBatch(signal[:, 0] if flat else signal, labels, places[chosen], seeds[chosen])

    return batches


def load_labelled(training: LatentTrainingConfig, data: Dataset, tokenizer: SignalTokenizer) -> LabelledSignals:
    """What the training split holds for a tokenizer, in its units."""
    require_labels(training, data, tokenizer.modality)
    labels = torch.empty(0, dtype=torch.int64)
    signals = signals_for(tokenizer, data, training.image_size)
    if training.label is not None:
        names = training.latent.classes
        records = data.select(split="train", slots=(tokenizer.modality, training.label))
        labels = torch.tensor([names.index(record.load(training.label).data) for record in records])
    return LabelledSignals(
        signals, labels if len(labels) else torch.full((len(signals),), NOTHING), tokenizer.crop(training.image_size)
    )


def require_labels(training: LatentTrainingConfig, data: Dataset, modality: str) -> None:
    """UserError where some signal of the training split has no class."""
    if training.label is None:
        return
    having, all_of_them = (
        data.select(split="train", slots=slots) for slots in ((modality, training.label), (modality,))
    )
    if len(having) != len(all_of_them):
        raise UserError(f"data set {data.name!r}: not every {modality} has a {training.label!r}")


@singledispatch
def signals_for(tokenizer: SignalTokenizer, dataset: Dataset, image_size: int) -> Sequence[Tensor]:
    """Every signal of the modality of a tokenizer in the training split, as it takes them."""
    return load_standardised(dataset, tokenizer.modality)


@signals_for.register
def _pictures(tokenizer: ImageTokenizer, dataset: Dataset, image_size: int) -> Sequence[Tensor]:
    return list(load_pictures(dataset, image_size))


@signals_for.register
def _sounds(tokenizer: AudioTokenizer, dataset: Dataset, image_size: int) -> Sequence[Tensor]:
    return load_sounds(dataset, tokenizer.sample_rate_hz)
