"""Training of the tokenizers of a chain: networks by the loop, vocabularies by counting."""

import json
from pathlib import Path

from accelerate import Accelerator

from vqfusion.config import (
    AudioTokenizerConfig,
    ChainConfig,
    ImageTokenizerConfig,
    StageConfig,
    TextTokenizerConfig,
)
from vqfusion.data import Dataset
from vqfusion.errors import UserError
from vqfusion.tokenizers.audio import AudioTokenizer
from vqfusion.tokenizers.image import ImageTokenizer
from vqfusion.tokenizers.label import LabelTokenizer
from vqfusion.tokenizers.text import TextTokenizer
from vqfusion.train.loop import OnMetrics, fit
from vqfusion.train.sources import load_pictures, load_sounds, picture_batches, sound_batches

AnyTokenizer = ImageTokenizer | AudioTokenizer | TextTokenizer | LabelTokenizer


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
    if isinstance(config, ImageTokenizerConfig):
        network = ImageTokenizer(config)
        pictures = load_pictures(dataset, chain.image_size)
        batches = picture_batches(pictures, stage.batch, chain.seed, thumbnails=chain.uses_view("16"))
        return fit(network, batches, stage, folder, contract, accelerator, on_metrics=on_metrics)
    if isinstance(config, AudioTokenizerConfig):
        network = AudioTokenizer(config)
        sounds = load_sounds(dataset, config.sample_rate_hz)
        length = config.sample_rate_hz // network.samples_per_code * network.samples_per_code
        batches = sound_batches(sounds, stage.batch, length, chain.seed)
        return fit(network, batches, stage, folder, contract, accelerator, on_metrics=on_metrics)
    if isinstance(config, TextTokenizerConfig):
        return TextTokenizer.train(training_texts(dataset, chain, config), config.vocabulary_size)
    return LabelTokenizer(config.names or label_names(dataset, name), modality=name.removeprefix("length:"))


def training_texts(dataset: Dataset, chain: ChainConfig, config: TextTokenizerConfig) -> list[str]:
    """Every distinct text of the training split, as often as its language weighs, in a fixed order."""
    languages = config.languages or chain.languages
    given = config.language_weights if config.languages else chain.language_weights
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
