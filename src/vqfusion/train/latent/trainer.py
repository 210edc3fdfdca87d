"""Training of a latent diffusion model: its tokenizer, trained or taken over, then the denoiser of its latents."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import singledispatch
from pathlib import Path

import torch
from accelerate import Accelerator
from jaxtyping import Int
from torch import Tensor

from vqfusion.config import ChainConfig, LatentDiffusionConfig, LatentTrainingConfig, VQVAEConfig
from vqfusion.data import Dataset, open_dataset
from vqfusion.diffusion.noise import torch_seed
from vqfusion.errors import UserError
from vqfusion.modalities import SIGNALS
from vqfusion.models.codec.codec import Codec
from vqfusion.models.latent.latent_diffusion import NOTHING, LatentBatch, LatentDiffusion
from vqfusion.nn.weights import fingerprint, round_to_half
from vqfusion.tokenizers.audio import AudioTokenizer
from vqfusion.tokenizers.image import ImageTokenizer
from vqfusion.tokenizers.signal import SignalTokenizer
from vqfusion.train.codec.crops import load_standardised, random_box
from vqfusion.train.codec.sources import load_pictures, load_sounds
from vqfusion.train.codec.tokenizers import label_names, train_tokenizer
from vqfusion.train.loop.fit import fit
from vqfusion.train.loop.metrics import OnMetrics
from vqfusion.train.loop.run import RunFolder
from vqfusion.train.loop.steps import share, step_generator

SHOWN = 256  # signals on which means and standard deviations of latents are measured


@dataclass(frozen=True)
class LabelledSignals:
    """Training signals with classes.

    Attributes:
        signals: Signals `[C, *size]`, uint8 of 0 to 255 or floats.
        labels: Their classes; -1 = none.
        crop: Size of a training crop.
    """

    signals: Sequence[Tensor]
    labels: Int[Tensor, " N"]
    crop: tuple[int, ...]

    def draw(self, generator: torch.Generator) -> tuple[Tensor, int]:
        """Random crop `[C, *crop]` of a random signal (of one channel of a series), and its class."""
        item = int(torch.randint(len(self.signals), (1,), generator=generator))
        signal = self.signals[item]
        if len(self.crop) == 1:
            channel = int(torch.randint(len(signal), (1,), generator=generator))
            signal = signal[channel : channel + 1]
        return random_box(signal, self.crop, generator), int(self.labels[item])


def latent_batches(
    data: LabelledSignals, training: LatentTrainingConfig, flat: bool = False
) -> Callable[[int, int, int], LatentBatch]:
    """Batches of signals with classes, times and noise, determined by the step; with `flat`, sounds are `[B, T]`."""
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


def load_labelled(training: LatentTrainingConfig, dataset: Dataset, tokenizer: SignalTokenizer) -> LabelledSignals:
    """Signals and classes of the training split, in the units of a tokenizer."""
    labels = torch.empty(0, dtype=torch.int64)
    signals = signals_for(tokenizer, dataset, training.image_size)
    if training.label is not None:
        names = training.latent.classes
        records = dataset.select(split="train", slots=(tokenizer.modality, training.label))
        if len(records) != len(signals):
            raise UserError(f"data set {dataset.name!r}: not every {tokenizer.modality} has a {training.label!r}")
        labels = torch.tensor([names.index(record.load(training.label).data) for record in records])
    return LabelledSignals(
        signals, labels if len(labels) else torch.full((len(signals),), NOTHING), tokenizer.crop(training.image_size)
    )


@singledispatch
def signals_for(tokenizer: SignalTokenizer, dataset: Dataset, image_size: int) -> Sequence[Tensor]:
    """All signals of the training split for a tokenizer."""
    return load_standardised(dataset, tokenizer.modality)


@signals_for.register
def _pictures(tokenizer: ImageTokenizer, dataset: Dataset, image_size: int) -> Sequence[Tensor]:
    return list(load_pictures(dataset, image_size))


@signals_for.register
def _sounds(tokenizer: AudioTokenizer, dataset: Dataset, image_size: int) -> Sequence[Tensor]:
    return load_sounds(dataset, tokenizer.sample_rate_hz)


def train_latent(
    training: LatentTrainingConfig,
    folder: Path,
    accelerator: Accelerator,
    on_metrics: OnMetrics | None = None,
    start: Path | None = None,
    stop_after: int | None = None,
    show: bool = True,
) -> LatentDiffusion:
    """Train a latent diffusion model and save it to `folder`; resumes where it was stopped.

    A stopped run leaves a model with averaged weights that is marked as unfinished.

    Args:
        training: Config of the training.
        folder: Folder of the training.
        accelerator: Processes and device.
        on_metrics: Called with metrics.
        start: Folder of a model whose tokenizer, of the same kind, is taken over unchanged.
        stop_after: Stop after this step, for tests.
        show: Show a progress bar.

    Returns:
        The model.
    """
    with latent_folder(training, folder).held(accelerator):
        return _train(training, folder, accelerator, on_metrics, start, stop_after, show)


def latent_folder(training: LatentTrainingConfig, folder: Path) -> RunFolder:
    """Folder of the training of a latent diffusion model."""
    return RunFolder(folder, "latent", training, ("tokenizer", "latent"), {"latent": "tokenizer_stage"})


def _train(
    training: LatentTrainingConfig,
    folder: Path,
    accelerator: Accelerator,
    on_metrics: OnMetrics | None,
    start: Path | None,
    stop_after: int | None,
    show: bool,
) -> LatentDiffusion:
    """Train a latent diffusion model whose folder is locked."""
    run = latent_folder(training, folder)
    dataset = open_dataset(training.data)
    classes = label_names(dataset, training.label) if training.label else ()
    tokenizer = (
        adopted(training.latent, start) if start else _trained(training, dataset, folder, accelerator, on_metrics)
    )
    tokenizer.to(accelerator.device)
    latent = training.latent.model_copy(update={"tokenizer": tokenizer.config, "classes": classes})
    training = training.model_copy(update={"latent": latent})
    data = load_labelled(training, dataset, tokenizer)
    torch.manual_seed(torch_seed(training.seed))
    model, source = fresh_model(training, data, tokenizer)
    contract = json.dumps([training.model_dump(mode="json"), fingerprint(tokenizer.state_dict(), "")])

    def batches(step: int, rank: int, processes: int) -> LatentBatch:
        return source(step, rank, processes).to(accelerator.device)

    fit(
        model,
        batches,
        training.stage,
        folder / "latent",
        contract,
        accelerator,
        on_metrics=on_metrics,
        on_save=run.on_save("latent", lambda: model.save_pretrained(folder)),
        stop_after=stop_after,
        show=show,
    )
    run.finish(accelerator, lambda: model.save_pretrained(folder))
    return model


def fresh_model(
    training: LatentTrainingConfig, data: LabelledSignals, tokenizer: SignalTokenizer
) -> tuple[LatentDiffusion, Callable[[int, int, int], LatentBatch]]:
    """Untrained model with standardised latents, and its training batches."""
    source = latent_batches(data, training, flat=tokenizer.flat)
    shown = [source(training.stage.steps + i, 0, 1).signal for i in range(-(-SHOWN // training.stage.batch))]
    grid = tuple(tokenizer.to_latents(shown[0][:1].to(tokenizer.device)).shape[2:])
    model: LatentDiffusion = LatentDiffusion.from_config(training.latent.model_copy(update={"grid": grid}), tokenizer)
    model.to(tokenizer.device).standardise(shown)
    return model, source


def adopted(config: LatentDiffusionConfig, start: Path) -> SignalTokenizer:
    """Tokenizer of another model, of the kind that a config names."""
    kind = kind_of_tokenizer(config)
    for tokenizer in Codec.from_pretrained(start).slots.by_name.values():
        if isinstance(tokenizer, SignalTokenizer) and tokenizer.config.kind == kind:
            return tokenizer
    raise UserError(f"{start}: has no {kind} tokenizer to start from")


def kind_of_tokenizer(config: LatentDiffusionConfig) -> str:
    """Kind `image`, `audio`, `volume` or `series`; UserError for text and a bare VQ-VAE, which have no signals."""
    kind = "" if isinstance(config.tokenizer, VQVAEConfig) else config.tokenizer.kind
    if kind not in SIGNALS:
        raise UserError(f"latent.tokenizer.kind: a diffusion of latents is trained for {', '.join(SIGNALS)}")
    return kind


def tokenizer_chain(training: LatentTrainingConfig) -> ChainConfig:
    """Chain that trains the tokenizer only."""
    kind = kind_of_tokenizer(training.latent)
    return ChainConfig(
        name=training.name,
        data=training.data,
        seed=training.seed,
        image_size=training.image_size,
        tokenizers={kind: training.latent.tokenizer},  # type: ignore[dict-item]
        tokenizer_stages={kind: training.tokenizer_stage},
    )


def _trained(
    training: LatentTrainingConfig,
    dataset: Dataset,
    folder: Path,
    accelerator: Accelerator,
    on_metrics: OnMetrics | None,
) -> SignalTokenizer:
    """Train the tokenizer of the model."""
    kind, chain = kind_of_tokenizer(training.latent), tokenizer_chain(training)
    torch.manual_seed(torch_seed(training.seed))
    tokenizer = train_tokenizer(kind, chain, dataset, folder / "tokenizer", accelerator, on_metrics)
    assert isinstance(tokenizer, SignalTokenizer)
    round_to_half(tokenizer)
    return tokenizer
