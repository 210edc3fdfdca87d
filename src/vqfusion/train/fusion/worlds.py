"""Recipes of the systems that ship, and of a small one to try things on."""

from vqfusion.config import (
    AudioTokenizerConfig,
    ChainConfig,
    DrawConfig,
    FusionConfig,
    ImageTokenizerConfig,
    LabelTokenizerConfig,
    ShortConfig,
    SlotConfig,
    StageConfig,
    TextTokenizerConfig,
    VQVAEConfig,
)
from vqfusion.data import open_dataset
from vqfusion.data.numerals import NAMES
from vqfusion.train.fusion.own_data import expand, numbers, one_token_slot, text_slot
from vqfusion.train.fusion.sizes import at_rate, mel_bands

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


def digits() -> ChainConfig:
    """The shipped system of digits: written by hand, spoken, named in 24 languages; every direction between them.

    Learns from MNIST and FSDD without one speaker. Cost and scores: docs/zoo/digits.md.
    """
    picture = SlotConfig(
        tokenizer="image",
        shape=(8, 8),
        patch=(2, 2),
        sampling="random",
        steps=8,
        temperature=0.4,
        guidance_scale=3.0,
    )
    sound = SlotConfig(
        tokenizer="audio",
        shape=(72,),
        patch=(4,),
        variable=True,
        features=mel_bands(8000),
        temperature=0.7,
        guidance_scale=1.5,
    )
    slots = {
        "image": picture,
        "audio": sound,
        "label": one_token_slot("label"),
        "speaker": one_token_slot("speaker"),
        "length:audio": one_token_slot("length:audio"),
        **{f"text:{language}": text_slot(8, certain=0.9) for language in NAMES},
        **{f"length:{language}": one_token_slot("length:text") for language in NAMES},
    }
    named = dict(target=("text:*",), also=(("length:*",), ("label",)), batch=64)
    drawn = dict(target=("image",), drop_given=0.1, all_hidden=0.5)
    spoken = dict(target=("audio",), also=(("length:audio",),), drop_given=0.1, all_hidden=0.5, linked=True)
    draws = (
        DrawConfig(given=("image",), **named, weight=5, augment=True, hide_given=0.3),
        DrawConfig(given=("audio",), **named, weight=6, augment=True),
        DrawConfig(given=("audio",), target=("speaker",), weight=1, augment=True, linked=True),
        DrawConfig(given=("text:*",), **named, weight=1.5),
        DrawConfig(given=("label",), target=("text:*",), also=(("length:*",),), weight=0.5),
        DrawConfig(given=("text:*",), **drawn, weight=3),
        DrawConfig(given=("label",), **drawn, weight=1),
        DrawConfig(given=("audio",), **drawn, weight=1, augment=True),
        DrawConfig(given=("text:*", "speaker"), **spoken, weight=5),
        DrawConfig(given=("label", "speaker"), **spoken, weight=1),
        DrawConfig(given=("image",), **(spoken | dict(linked=False)), weight=1, augment=True),
    )
    widths = dict(widths=(160, 160), depths=(1, 2), quantizer="fsq", levels=(8, 5, 5, 5))
    return ChainConfig(
        name="digits",
        data="numerals",
        image_size=32,
        languages=tuple(NAMES),
        tokenizers={
            "image": ImageTokenizerConfig(vqvae=VQVAEConfig(channels=1, widths=(24, 48, 96), depths=(0, 1, 1))),
            "audio": at_rate(AudioTokenizerConfig(vqvae=VQVAEConfig(rank=1, channels=129, **widths)), 8000),
            "text": TextTokenizerConfig(vocabulary_size=1024),
            "label": LabelTokenizerConfig(),
            "speaker": LabelTokenizerConfig(),
            "length:text": numbers(8),
            "length:audio": numbers(18),
        },
        tokenizer_stages={
            "image": StageConfig(steps=600, batch=32, learning_rate=2e-3, warmup_steps=30),
            "audio": StageConfig(steps=4000, batch=16, learning_rate=1.5e-3),
        },
        fusion=FusionConfig(
            dim=192,
            layers=4,
            heads=3,
            token_dim=64,
            local_layers=1,
            slots=slots,
            positions="rotary",
            packed=True,
            dropout=0.1,
            label_smoothing=0.05,
        ),
        fusion_stage=StageConfig(
            optimizer="muon",
            steps=4000,
            batch=32,
            learning_rate=2.5e-3,
            warmup_steps=100,
            weight_decay=0.05,
            ema_decay=0.998,
        ),
        draws=draws,
        views_per_sample=6,
    )
