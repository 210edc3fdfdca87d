"""Training of the tokenizers of a chain: networks by the training loop, vocabularies by counting."""

import json
from collections.abc import Callable
from functools import singledispatch
from pathlib import Path

import torch
from accelerate import Accelerator

from vqfusion.config import ChainConfig, LabelTokenizerConfig, StageConfig, TextTokenizerConfig, TextVQVAEConfig
from vqfusion.data import Dataset
from vqfusion.errors import UserError
from vqfusion.runs.record import Record
from vqfusion.tokenizers.audio import AudioTokenizer
from vqfusion.tokenizers.base import BaseTokenizer
from vqfusion.tokenizers.build import build_network
from vqfusion.tokenizers.image import ImageTokenizer
from vqfusion.tokenizers.label import LabelTokenizer
from vqfusion.tokenizers.network import TokenizerNetwork
from vqfusion.tokenizers.photo import PhotoTokenizer
from vqfusion.tokenizers.standardised import StandardisedTokenizer
from vqfusion.tokenizers.text import TextTokenizer
from vqfusion.tokenizers.text_vqvae import TextVQVAETokenizer
from vqfusion.train.codec.crops import byte_batches, load_standardised, series_batches, volume_batches
from vqfusion.train.codec.photographs import begin_linear, load_photographs, photo_batches
from vqfusion.train.codec.sources import load_pictures, load_sounds, picture_batches, sound_batches, usual_length
from vqfusion.train.loop.fit import OnSave, fit
from vqfusion.train.loop.metrics import OnMetrics
from vqfusion.train.loop.steps import Batches

MADE_UP = 16  # number of random items where no data set is given


def train_tokenizer(
    name: str,
    chain: ChainConfig,
    dataset: Dataset,
    folder: Path,
    accelerator: Accelerator,
    on_metrics: OnMetrics | None = None,
    on_save: Callable[[TokenizerNetwork], OnSave] | None = None,
    record: Record | None = None,
) -> BaseTokenizer:
    """Train a tokenizer of a chain on the training split; resumes from `folder`.

    Args:
        name: Name of the tokenizer.
        chain: Config of the chain.
        dataset: Data set.
        folder: Folder of its checkpoints.
        accelerator: Processes and device.
        on_metrics: Called with metrics.
        on_save: Gives, for the network, what `fit` calls at its checkpoints.
        record: Told where the training stands.

    Returns:
        The tokenizer.
    """
    config = chain.tokenizers[name]
    stage = chain.tokenizer_stages.get(name, StageConfig())
    contract = json.dumps([chain.data, chain.seed, chain.image_size, config.model_dump(), stage.model_dump()])
    if (network := build_network(config)) is not None:
        batches = batches_for(network, chain, stage, dataset)
        if isinstance(network, PhotoTokenizer):
            begin_linear(network, batches)
        saved = on_save(network) if on_save else None
        how = {"on_metrics": on_metrics, "on_save": saved, "record": record}
        return fit(network, batches, stage, folder, contract, accelerator, **how)
    if isinstance(config, TextTokenizerConfig):
        return TextTokenizer.train(training_texts(dataset, chain, config), config.vocabulary_size)
    assert isinstance(config, LabelTokenizerConfig), config.kind
    return LabelTokenizer(config.names or label_names(dataset, name), modality=name.removeprefix("length:"))


@singledispatch
def batches_for(
    network: TokenizerNetwork | PhotoTokenizer, chain: ChainConfig, stage: StageConfig, dataset: Dataset | None
) -> Batches:
    """Training batches of a tokenizer; random data of the same size without a data set, to time a step."""
    raise TypeError(f"nothing is known to train a {type(network).__name__} on: register a function with batches_for")


@batches_for.register
def _pictures(network: ImageTokenizer, chain: ChainConfig, stage: StageConfig, dataset: Dataset | None) -> Batches:
    size = chain.image_size
    shape = (MADE_UP, network.config.vqvae.channels, size, size)
    made_up = torch.randint(256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    pictures = load_pictures(dataset, size) if dataset else made_up
    return picture_batches(pictures, stage.batch, chain.seed, thumbnails=chain.uses_view("16"))


@batches_for.register
def _sounds(network: AudioTokenizer, chain: ChainConfig, stage: StageConfig, dataset: Dataset | None) -> Batches:
    sounds = load_sounds(dataset, network.sample_rate_hz) if dataset else _noise(1, network.sample_rate_hz)
    length = min(network.crop(chain.image_size)[0], usual_length(sounds, network.samples_per_code))
    return sound_batches(sounds, stage.batch, length, chain.seed)


@batches_for.register
def _any_unit(
    network: StandardisedTokenizer, chain: ChainConfig, stage: StageConfig, dataset: Dataset | None
) -> Batches:
    crop = network.crop(chain.image_size)
    signals = load_standardised(dataset, network.modality) if dataset else _noise(1, *crop)
    batches = series_batches if len(crop) == 1 else volume_batches
    return batches(signals, stage.batch, crop[0], chain.seed)


@batches_for.register
def _photographs(network: PhotoTokenizer, chain: ChainConfig, stage: StageConfig, dataset: Dataset | None) -> Batches:
    crop = network.config.crop
    made_up = torch.randint(256, (3, crop, crop), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    pictures = load_photographs(dataset, crop) if dataset else [made_up]
    return photo_batches(pictures, crop, stage.batch, chain.seed)


@batches_for.register
def _bytes(network: TextVQVAETokenizer, chain: ChainConfig, stage: StageConfig, dataset: Dataset | None) -> Batches:
    texts = training_texts(dataset, chain, network.config) if dataset else ["a" * network.config.crop]
    return byte_batches(texts, stage.batch, network.config.crop, chain.seed)


def _noise(*shape: int) -> list[torch.Tensor]:
    return list(torch.rand(MADE_UP, *shape, generator=torch.Generator().manual_seed(0)) - 0.5)


def require_slot(dataset: Dataset, slot: str) -> None:
    """UserError where the training split has nothing in a slot, or the first that it has cannot be read."""
    records = dataset.select(split="train", slots=(slot,))
    if not records:
        raise UserError(
            f"data set {dataset.name!r} has no {slot} in its train split; it has {', '.join(dataset.slots())}"
        )
    records[0].load(slot)


def training_texts(dataset: Dataset, chain: ChainConfig, config: TextTokenizerConfig | TextVQVAEConfig) -> list[str]:
    """Distinct texts of the training split in a fixed order, repeated by the weight of their language."""
    languages = config.languages or chain.languages
    own = getattr(config, "language_weights", None)
    given = own if config.languages else chain.language_weights
    texts: list[str] = []
    for language, weight in zip(languages, given or (1.0,) * len(languages), strict=True):
        slot = f"text:{language}"
        distinct = {record.load(slot).data for record in dataset.select(split="train", slots=(slot,))}
        texts += sorted(distinct) * max(1, round(weight))
    if not texts:
        raise UserError(f"data set {dataset.name!r} has no text in {', '.join(languages)} in its train split")
    return texts


def label_names(dataset: Dataset, slot: str) -> tuple[str, ...]:
    """Names in a label slot of the training split, sorted."""
    names = {record.load(slot).data for record in dataset.select(split="train") if slot in record.slots}
    if not names:
        raise UserError(f"data set {dataset.name!r} has no {slot!r} in its train split")
    return tuple(sorted(names))
