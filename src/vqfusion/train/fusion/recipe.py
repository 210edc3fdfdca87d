"""Recipes of chains: functions that return the full config, with its cost and score in the docstring; and the YAML."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from vqfusion.config import (
    ChainConfig,
    PhotoTokenizerConfig,
    SeriesTokenizerConfig,
    ShortConfig,
    StageConfig,
    TextVQVAEConfig,
    VolumeTokenizerConfig,
    validated,
)
from vqfusion.data import Dataset, open_dataset
from vqfusion.errors import UserError
from vqfusion.train.fusion.own_data import beside, expand
from vqfusion.train.fusion.public import PUBLIC
from vqfusion.train.fusion.worlds import EMOJI_LANGUAGES, digits, emoji, emoji_small


def volumes() -> ChainConfig:
    """A tokenizer for volumes, on the made-up `solids`: 512 codes, one for 64 voxels.

    70 s of processor time. 15.2 dB of signal to error (by the variance of each) over 36 unseen volumes of 32^3.
    """
    return ChainConfig(
        name="volumes",
        data="solids",
        tokenizers={"volume": VolumeTokenizerConfig()},
        tokenizer_stages={"volume": StageConfig(steps=200, batch=6, learning_rate=3e-3, warmup_steps=20)},
    )


def photo_codec() -> ChainConfig:
    """The tokenizer of photographs of any size, at 0.1 to 1 bits a pixel; ships as `photo-codec`.

    Cost and scores: docs/zoo/photo-codec.md.
    """
    return ChainConfig(
        name="photo-codec",
        data="photos",
        tokenizers={"image": PhotoTokenizerConfig()},
        tokenizer_stages={
            "image": StageConfig(
                optimizer="muon",
                steps=8000,
                batch=6,
                learning_rate=1e-3,
                weight_decay=0.0,
                betas=(0.9, 0.99),
                precision="fp32",
            )
        },
    )


def series() -> ChainConfig:
    """A tokenizer for series, on the made-up `waves`: 512 codes, one for 4 values.

    54 s of processor time. 29.5 dB of signal to error (by the variance of each), the mean of 62 unseen series.
    """
    return ChainConfig(
        name="series",
        data="waves",
        tokenizers={"series": SeriesTokenizerConfig()},
        tokenizer_stages={"series": StageConfig(steps=600, batch=32, learning_rate=3e-3, warmup_steps=30)},
    )


def text_codes() -> ChainConfig:
    """A tokenizer that takes text as bytes, on the emoji names in 7 languages: 2,048 codes, one for 2 bytes.

    69 s of processor time. Of 5,377 names of the test part 77 % of the bytes come back right and 5 % of the names whole
    (Russian 91 % of the bytes, Chinese 44 %): a start to go on from, not a codec to trust.
    """
    return ChainConfig(
        name="text-codes",
        data="emoji",
        languages=EMOJI_LANGUAGES,
        tokenizers={"text": TextVQVAEConfig(crop=32)},
        tokenizer_stages={"text": StageConfig(steps=600, batch=64, learning_rate=2e-3, warmup_steps=30)},
    )


RECIPES: dict[str, Callable[[], ChainConfig]] = {
    "emoji": emoji,
    "emoji-small": emoji_small,
    "digits": digits,
    "volumes": volumes,
    "series": series,
    "photo-codec": photo_codec,
    "text-codes": text_codes,
    **PUBLIC,
}


def training_of(data: dict[str, Any], path: Path, opened: Callable[..., Dataset] = open_dataset) -> ChainConfig:
    """The chain of a YAML file: the full config if it has a section `fusion` or `tokenizers`, else the short form.

    A relative `data` path is taken from the folder of the file. The short form follows from what the data hold.

    Args:
        data: Content of the file.
        path: The file.
        opened: Opens the data.

    Raises:
        UserError: The file is not right.
    """
    full = [key for key in ("tokenizers", "fusion") if key in data]
    if full:
        short_only = [key for key in data if key in ShortConfig.model_fields and key not in ChainConfig.model_fields]
        if short_only:
            raise UserError(f"{path}: {short_only[0]} is of the short form, {full[0]} of the full one; leave out one")
        chain = validated(ChainConfig, data, str(path))
        if not chain.tokenizers:
            raise UserError(f"{path}: tokenizers: there is none to train; give one, such as `image: {{kind: image}}`")
        return chain.model_copy(update={"data": beside(path, chain.data)})
    short = validated(ShortConfig, data, str(path))
    short = short.model_copy(update={"data": beside(path, short.data)})
    return expand(short, opened(short.data, short.reading))
