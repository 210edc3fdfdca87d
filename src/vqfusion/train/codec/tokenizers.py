"""Training of the tokenizers of a chain: networks by the loop, vocabularies by counting."""

import json
from pathlib import Path

import torch
from accelerate import Accelerator

from vqfusion.config import ChainConfig, LabelTokenizerConfig, StageConfig, TextTokenizerConfig, TextVQVAEConfig
from vqfusion.data import Dataset
from vqfusion.errors import UserError
from vqfusion.tokenizers.audio import AudioTokenizer
from vqfusion.tokenizers.build import AnyTokenizer, NetworkTokenizer, build_network
from vqfusion.tokenizers.image import ImageTokenizer
from vqfusion.tokenizers.label import LabelTokenizer
from vqfusion.tokenizers.series import SeriesTokenizer
from vqfusion.tokenizers.text import TextTokenizer
from vqfusion.tokenizers.volume import VolumeTokenizer
from vqfusion.train.codec.crops import byte_batches, load_standardised, series_batches, volume_batches
from vqfusion.train.codec.sources import load_pictures, load_sounds, picture_batches, sound_batches
from vqfusion.train.loop.fit import OnMetrics, fit
from vqfusion.train.loop.steps import Batches

MADE_UP = 16  # random items where no data set is given


def train_tokenizer(
    name: str,
    chain: ChainConfig,
    dataset: Dataset,
    folder: Path,
    accelerator: Accelerator,
    on_metrics: OnMetrics | None = None,
) -> AnyTokenizer:
    """The tokenizer `name` of a chain, trained on the training split; resumes from `folder`."""
    config = chain.tokenizers[name]
    stage = chain.tokenizer_stages.get(name, StageConfig())
    contract = json.dumps([chain.data, chain.seed, chain.image_size, config.model_dump(), stage.model_dump()])
    if (network := build_network(config)) is not None:
        batches = batches_for(network, chain, stage, dataset)
        return fit(network, batches, stage, folder, contract, accelerator, on_metrics=on_metrics)
    if isinstance(config, TextTokenizerConfig):
        return TextTokenizer.train(training_texts(dataset, chain, config), config.vocabulary_size)
    assert isinstance(config, LabelTokenizerConfig), config.kind
    return LabelTokenizer(config.names or label_names(dataset, name), modality=name.removeprefix("length:"))


def batches_for(network: NetworkTokenizer, chain: ChainConfig, stage: StageConfig, dataset: Dataset | None) -> Batches:
    """What a tokenizer learns from; random data of the same size with no data set, to time a step."""
    batch, seed, generator = stage.batch, chain.seed, torch.Generator().manual_seed(0)

    def noise(*shape: int) -> list[torch.Tensor]:
        return list(torch.rand(MADE_UP, *shape, generator=generator) - 0.5)

    if isinstance(network, ImageTokenizer):
        size = chain.image_size
        shape = (MADE_UP, network.config.vqvae.channels, size, size)
        made_up = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
        pictures = load_pictures(dataset, size) if dataset else made_up
        return picture_batches(pictures, batch, seed, thumbnails=chain.uses_view("16"))
    if isinstance(network, AudioTokenizer):
        rate = network.config.sample_rate_hz
        sounds = load_sounds(dataset, rate) if dataset else noise(1, rate)
        return sound_batches(sounds, batch, rate // network.samples_per_code * network.samples_per_code, seed)
    if isinstance(network, VolumeTokenizer):
        side = network.config.crop
        volumes = load_standardised(dataset, "volume") if dataset else noise(1, side, side, side)
        return volume_batches(volumes, batch, side, seed)
    if isinstance(network, SeriesTokenizer):
        length = network.config.crop
        series = load_standardised(dataset, "series") if dataset else noise(1, length)
        return series_batches(series, batch, length, seed)
    texts = training_texts(dataset, chain, network.config) if dataset else ["a" * network.config.crop]
    return byte_batches(texts, batch, network.config.crop, seed)


def training_texts(dataset: Dataset, chain: ChainConfig, config: TextTokenizerConfig | TextVQVAEConfig) -> list[str]:
    """Every distinct text of the training split, as often as its language weighs, in a fixed order."""
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
    """The names that occur in a label slot of the training split, sorted."""
    names = {record.load(slot).data for record in dataset.select(split="train") if slot in record.slots}
    if not names:
        raise UserError(f"data set {dataset.name!r} has no {slot!r} in its train split")
    return tuple(sorted(names))
