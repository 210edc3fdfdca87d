"""Recipes of chains: functions that return the full config, with its cost and score in the docstring; and the YAML."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from vqfusion.config import (
    AudioTokenizerConfig,
    ChainConfig,
    DrawConfig,
    FusionConfig,
    ImageTokenizerConfig,
    LabelTokenizerConfig,
    PhotoTokenizerConfig,
    SeriesTokenizerConfig,
    ShortConfig,
    SlotConfig,
    StageConfig,
    TextTokenizerConfig,
    TextVQVAEConfig,
    VolumeTokenizerConfig,
    VQVAEConfig,
    validated,
)
from vqfusion.data import Dataset, open_dataset
from vqfusion.errors import UserError
from vqfusion.train.fusion.own_data import beside, expand, numbers, one_token_slot, text_slot

EMOJI_LANGUAGES = ("en", "de", "fr", "es", "it", "ru", "zh")
EMOJI_WEIGHTS = (3.0, 3.0, 3.0, 2.0, 2.0, 1.0, 1.0)


def emoji() -> ChainConfig:
    """The shipped system: pictures, names in 7 languages and speech of 400 emoji; tokenizers learn from all.

    The mix and the steps are those of its last run, begun from the weights of the run before:
    `--start emoji`. Cost and scores on 2 cores are in docs/zoo/emoji.md, with the logs.
    """
    picture = dict(tokenizer="image", patch=(4, 4))
    sound = dict(tokenizer="audio", shape=(192,), patch=(4,), variable=True, steps=1)
    slots = {
        "image": SlotConfig(**picture, shape=(16, 16), sampling="random", steps=1, temperature=0.1),
        "image@16": SlotConfig(**picture, shape=(4, 4), steps=8),
        "image@noisy": SlotConfig(**picture, shape=(16, 16), steps=16),
        "audio": SlotConfig(**sound, sampling="random", temperature=0.1),
        "audio@noisy": SlotConfig(**sound),
        "label": one_token_slot("label"),
        "style": one_token_slot("style"),
        "speaker": one_token_slot("speaker"),
        "length:audio": one_token_slot("length:audio"),
        **{f"text:{language}": text_slot(24) for language in EMOJI_LANGUAGES},
        **{f"length:{language}": one_token_slot("length:text") for language in EMOJI_LANGUAGES},
    }
    texts = dict(target=("text:*",), also=(("length:*",), ("label",)))
    heard = dict(given=("audio",), linked=True, hide_given=0.3)
    drawn = dict(target=("image",), drop_given=0.1, all_hidden=0.5)
    draws = (
        DrawConfig(given=("text:en", "style"), **drawn, weight=11),
        DrawConfig(given=("text:*", "style"), **drawn, weight=3),
        DrawConfig(given=("image",), **texts, weight=6, batch=64, augment=True, masks=2, hide_given=0.4),
        DrawConfig(
            given=("image",), target=("label",), weight=7, batch=64, augment=True, hide_given=0.5, all_keys=True
        ),
        DrawConfig(**heard, target=("text:^",), also=(("length:^",), ("label",)), weight=9, augment=True, masks=2),
        DrawConfig(
            given=("audio",), target=("speaker",), weight=6, batch=64, linked=True, hide_given=0.2, all_keys=True
        ),
        DrawConfig(given=("text:*",), **texts, weight=15, batch=64),
        DrawConfig(
            given=("text:^", "speaker"),
            target=("audio",),
            also=(("length:audio",),),
            weight=36,
            linked=True,
            all_hidden=0.5,
            drop_given=0.07,
        ),
        DrawConfig(given=("image@16",), target=("image",), weight=0.7, linked=True, augment=True, all_keys=True),
        DrawConfig(given=("image@noisy",), target=("image",), weight=0.7, linked=True, augment=True, all_keys=True),
        DrawConfig(given=("audio@noisy",), target=("audio",), weight=1, linked=True, augment=True, all_keys=True),
        DrawConfig(given=("audio",), **drawn, weight=1, augment=True),
        DrawConfig(given=("image", "speaker"), target=("audio",), weight=0.5, all_hidden=0.5),
        DrawConfig(given=("label", "style"), target=("image",), weight=0.5),
        DrawConfig(**texts, weight=0.3, batch=64),
    )
    return ChainConfig(
        name="emoji",
        data="emoji",
        limit_keys=400,
        languages=EMOJI_LANGUAGES,
        language_weights=EMOJI_WEIGHTS,
        tokenizers={
            "image": ImageTokenizerConfig(vqvae=VQVAEConfig(widths=(32, 64, 128), depths=(0, 1, 2))),
            "audio": AudioTokenizerConfig(
                hop_samples=100,
                vqvae=VQVAEConfig(
                    rank=1,
                    channels=257,
                    widths=(256, 256),
                    depths=(1, 3),
                    quantizer="fsq",
                    levels=(8, 5, 5, 5),
                ),
            ),
            "text": TextTokenizerConfig(vocabulary_size=3072),
            "label": LabelTokenizerConfig(),
            "style": LabelTokenizerConfig(),
            "speaker": LabelTokenizerConfig(),
            "length:text": numbers(24),
            "length:audio": numbers(48),
        },
        tokenizer_stages={
            "image": StageConfig(steps=1000, batch=32, learning_rate=1e-3),
            "audio": StageConfig(steps=4500, batch=16, learning_rate=1.5e-3),
        },
        fusion=FusionConfig(dim=256, layers=6, heads=4, token_dim=64, local_layers=2, slots=slots),
        fusion_stage=StageConfig(
            optimizer="muon", steps=2000, batch=32, learning_rate=1.5e-3, warmup_steps=100, draws_per_step=4
        ),
        draws=draws,
        views_per_sample=6,
    )


def emoji_small() -> ChainConfig:
    """A small chain to try things on: pictures, English and German names and groups of 100 emoji at 32 pixels.

    4 to 6 minutes on 2 cores from raw data (docs/speed.md).
    """
    short = ShortConfig(
        name="emoji-small",
        data="emoji",
        size="small",
        image_size=32,
        languages=("en", "de"),
        limit_keys=100,
        tokenizer_steps=300,
        steps=800,
        slots=("image", "style", "text:en", "text:de", "label"),
        draws=(
            DrawConfig(given=("text:*", "style"), target=("image",), weight=6, drop_given=0.1, all_hidden=0.5),
            DrawConfig(given=("image",), target=("text:*",), also=(("length:*",), ("label",)), weight=2, masks=2),
            DrawConfig(given=("text:*",), target=("text:*",), also=(("length:*",), ("label",)), weight=1.5),
            DrawConfig(given=("label", "style"), target=("image",), weight=0.5),
        ),
    )
    return expand(short, open_dataset("emoji"))


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
    "volumes": volumes,
    "series": series,
    "photo-codec": photo_codec,
    "text-codes": text_codes,
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
