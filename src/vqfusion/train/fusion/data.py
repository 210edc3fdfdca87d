"""What a chain learns from."""

from collections.abc import Callable

import torch

from vqfusion.config import (
    AudioTokenizerConfig,
    ChainConfig,
    LabelTokenizerConfig,
    PhotoTokenizerConfig,
    TextTokenizerConfig,
    TextVQVAEConfig,
)
from vqfusion.data import Dataset, Record, open_dataset
from vqfusion.data.kept import kept
from vqfusion.errors import UserError
from vqfusion.tokenizers.build import build_network
from vqfusion.tokenizers.image import ImageTokenizer
from vqfusion.train.codec.tokenizers import label_names, require_slot, training_texts
from vqfusion.train.fusion.draws import DrawSource, TokenRecord
from vqfusion.train.fusion.views import made_from

NO_TOKENS = torch.empty(0, dtype=torch.int64)


def open_data(training: ChainConfig, opened: Callable[..., Dataset] = open_dataset) -> Dataset:
    """The data set of a training, each sample of which is decoded once, as large as the training takes it.

    The tokenizer of photographs takes them as they are.
    """
    if any(isinstance(one, PhotoTokenizerConfig) for one in training.tokenizers.values()):
        return opened(training.data, training.reading)
    rates = {one.sample_rate_hz for one in training.tokenizers.values() if isinstance(one, AudioTokenizerConfig)}
    return kept(opened(training.data, training.reading), training.image_size, rates.pop() if len(rates) == 1 else None)


def check(training: ChainConfig, data: Dataset) -> None:
    """UserError where the data lack what a tokenizer, a slot or a draw needs, or a size does not fit another one.

    Decodes one sample of each modality, to see that it can be read.
    """
    for name, config in training.tokenizers.items():
        if isinstance(config, LabelTokenizerConfig):
            _ = config.names or label_names(data, name)
        elif isinstance(config, TextTokenizerConfig | TextVQVAEConfig):
            training_texts(data, training, config)
        elif (network := build_network(config)) is not None:
            require_slot(data, network.modality)
            if isinstance(network, ImageTokenizer):
                _check_grids(training, name, network)
    if training.uses_view("16") and training.image_size % 4:
        raise UserError(f"image_size is {training.image_size}, and the slot image@16 needs a multiple of 4")
    if training.fusion.slots:
        limited = frozenset(record.key for record in data.limited(training.limit_keys).select(split="train"))
        records = [
            TokenRecord(one.key, (dict.fromkeys(_slots(training, one), NO_TOKENS),))
            for one in data.select(split="train")
        ]
        DrawSource(records, training, data.held_out_pairs, limited)  # raises where no record has what a draw needs


def _check_grids(training: ChainConfig, name: str, network: ImageTokenizer) -> None:
    """UserError where the codes of a picture are not the shape of a slot for them."""
    for slot, config in training.fusion.slots.items():
        made = tuple(network.vqvae.quantizer.index_shape((config.shape[0],) * 2))
        if config.tokenizer == name and made != config.shape:
            raise UserError(
                f"fusion.slots.{slot}.shape is {list(config.shape)}, and its codes are square: write {list(made)}"
            )


def _slots(training: ChainConfig, record: Record) -> list[str]:
    """Slots of a chain that a record fills, views of pictures and sounds included."""
    names = [name for name, slot in training.fusion.slots.items() if not slot.is_length]
    return [name for name in names if name in record.sources or made_from(name) in record.sources]
