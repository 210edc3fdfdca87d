"""Fitting of the familiarity of a tokenizer of pictures."""

from pathlib import Path

import torch

from vqfusion.config import ChainConfig
from vqfusion.data import Dataset
from vqfusion.tokenizers.base import BaseTokenizer
from vqfusion.tokenizers.familiarity import Familiarity
from vqfusion.tokenizers.image import ImageTokenizer
from vqfusion.tokenizers.kept import save_familiarity

MOST = 2048  # pictures of a split at most, spread evenly
LEAST = 100  # pictures of a split; the largest distance of n pictures is exceeded by one of n + 1


def add_familiarity(tokenizer: BaseTokenizer, name: str, dataset: Dataset, chain: ChainConfig, folder: Path) -> None:
    """Fit the familiarity of a tokenizer to the data and save it in its folder.

    Fitted to the training split, with the threshold from the validation split; none where either has fewer than 100
    pictures.

    Args:
        tokenizer: The tokenizer; nothing is done for others than those of pictures.
        name: Its name in the chain.
        dataset: Data set.
        chain: Config of the chain.
        folder: Folder of the tokenizer.
    """
    if not isinstance(tokenizer, ImageTokenizer):
        return
    features = []
    for split in ("train", "val"):
        records = dataset.select(split=split, slots=(tokenizer.modality,))
        spread = records[:: -(-len(records) // MOST) or 1]
        if len(spread) < LEAST:
            return
        pictures = (record.load(tokenizer.modality) for record in spread)
        features.append(torch.cat([tokenizer.border_latents(one, chain.image_size) for one in pictures]))
    tokenizer.familiarity = Familiarity.fit(*features)
    save_familiarity(tokenizer, folder, name)
