"""Recipes: functions that return the full config of a chain, with its cost and score in the docstring."""

from collections.abc import Callable
from pathlib import Path

from vqfusion.config import (
    AudioTokenizerConfig,
    ChainConfig,
    DrawConfig,
    FusionConfig,
    ImageTokenizerConfig,
    LabelTokenizerConfig,
    SlotConfig,
    StageConfig,
    TextTokenizerConfig,
    VQVAEConfig,
    load_yaml,
)
from vqfusion.errors import UserError

EMOJI_LANGUAGES = (
    "en", "de", "fr", "es", "it", "pt", "nl", "pl", "ru", "uk", "tr", "el",
    "ar", "he", "hi", "zh", "ja", "ko", "vi", "id", "sv", "cs", "fi", "hu",
)  # fmt: skip
EMOJI_WEIGHTS = (6.0, 5.0, 5.0, 3.0, 3.0, 2.0, 2.0) + (1.0,) * 17


def label_slot(tokenizer: str) -> SlotConfig:
    """A slot of one token; it weighs little, or it would weigh as much as a picture."""
    return SlotConfig(tokenizer=tokenizer, shape=(1,), coefficient=0.1, steps=1, temperature=0.0)


def text_slot(length: int) -> SlotConfig:
    """A text slot, answered greedily in one token a call."""
    return SlotConfig(tokenizer="text", shape=(length,), variable=True, steps=length, temperature=0.0)


def numbers(most: int) -> LabelTokenizerConfig:
    """The vocabulary of a length slot."""
    return LabelTokenizerConfig(names=tuple(str(n + 1) for n in range(most)))


def emoji() -> ChainConfig:
    """The shipped system: pictures, names in 24 languages and speech of the emoji set.

    Cost and scores on 2 cores are in docs/zoo/emoji.md, with the logs.
    """
    picture = dict(tokenizer="image", patch=(2, 2))
    sound = dict(tokenizer="audio", shape=(160,), patch=(2,), variable=True, steps=16)
    slots = {
        "image": SlotConfig(**picture, shape=(16, 16), steps=16, guidance_scale=2.0),
        "image@16": SlotConfig(**picture, shape=(4, 4), steps=8),
        "image@noisy": SlotConfig(**picture, shape=(16, 16), steps=16),
        "audio": SlotConfig(**sound, guidance_scale=1.5),
        "audio@noisy": SlotConfig(**sound),
        "label": label_slot("label"),
        "style": label_slot("style"),
        "speaker": label_slot("speaker"),
        "length:audio": label_slot("length:audio"),
        **{f"text:{language}": text_slot(24) for language in EMOJI_LANGUAGES},
        **{f"length:{language}": label_slot("length:text") for language in EMOJI_LANGUAGES},
    }
    draws = (
        DrawConfig(given=("text:*", "style"), target=("image",), weight=9, drop_given=0.1),
        DrawConfig(given=("image",), target=("text:*",), weight=4, augment=True),
        DrawConfig(given=("image",), target=("length:*",), weight=0.7, augment=True),
        DrawConfig(given=("image",), target=("label",), weight=1.5, augment=True),
        DrawConfig(given=("image@16",), target=("image",), weight=1.0, linked=True, augment=True),
        DrawConfig(given=("image@noisy",), target=("image",), weight=1.0, linked=True, augment=True),
        DrawConfig(given=("audio",), target=("text:^",), weight=7, linked=True, augment=True),
        DrawConfig(given=("audio",), target=("length:^",), weight=1.5, linked=True, augment=True),
        DrawConfig(given=("audio",), target=("speaker",), weight=1.5, linked=True),
        DrawConfig(given=("text:^", "speaker"), target=("audio",), weight=8, linked=True, drop_given=0.1),
        DrawConfig(given=("text:^", "speaker"), target=("length:audio",), weight=1, linked=True),
        DrawConfig(given=("audio@noisy",), target=("audio",), weight=1.0, linked=True, augment=True),
        DrawConfig(given=("audio",), target=("image",), weight=1.0, drop_given=0.1, augment=True),
        DrawConfig(given=("image", "speaker"), target=("audio",), weight=0.5),
        DrawConfig(given=("text:*",), target=("text:*",), weight=10, batch=64),
        DrawConfig(given=("text:*",), target=("length:*",), weight=1.5, batch=64),
        DrawConfig(given=("text:*",), target=("label",), weight=0.7, batch=64),
        DrawConfig(given=("audio",), target=("label",), weight=0.7, linked=True, augment=True),
        DrawConfig(target=("text:*",), weight=0.5, batch=64),
        DrawConfig(target=("length:*",), weight=0.2, batch=64),
        DrawConfig(given=("label", "style"), target=("image",), weight=0.7),
    )
    return ChainConfig(
        name="emoji",
        data="emoji",
        languages=EMOJI_LANGUAGES,
        language_weights=EMOJI_WEIGHTS,
        tokenizers={
            "image": ImageTokenizerConfig(vqvae=VQVAEConfig(widths=(32, 64, 128), depths=(0, 1, 2))),
            "audio": AudioTokenizerConfig(hop_samples=128),
            "text": TextTokenizerConfig(vocabulary_size=6144),
            "label": LabelTokenizerConfig(),
            "style": LabelTokenizerConfig(),
            "speaker": LabelTokenizerConfig(),
            "length:text": numbers(24),
            "length:audio": numbers(80),
        },
        tokenizer_stages={
            "image": StageConfig(steps=1500, batch=32, learning_rate=1e-3),
            "audio": StageConfig(steps=2500, batch=16, learning_rate=1e-3),
        },
        fusion=FusionConfig(dim=256, layers=6, heads=4, slots=slots),
        fusion_stage=StageConfig(
            steps=6000, batch=32, learning_rate=1e-3, warmup_steps=200, draws_per_step=4
        ),
        draws=draws,
        views_per_sample=3,
    )


RECIPES: dict[str, Callable[[], ChainConfig]] = {"emoji": emoji}


def recipe(name: str) -> ChainConfig:
    """The config of a named recipe or of a YAML file."""
    if name in RECIPES:
        return RECIPES[name]()
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        from vqfusion.train.own_data import chain_for

        return chain_for(load_yaml(path), path)
    raise UserError(f"no recipe {name!r}: give one of {', '.join(RECIPES)}, or a file that ends in .yaml")
