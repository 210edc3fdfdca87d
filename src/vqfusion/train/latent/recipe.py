"""Recipes of latent diffusion models, and the short YAML form for one's own data."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from vqfusion.config import (
    ImageTokenizerConfig,
    LatentDiffusionConfig,
    LatentTrainingConfig,
    StageConfig,
    VQVAEConfig,
    validated,
)
from vqfusion.train.fusion.own_data import beside

STAGE = StageConfig(
    steps=3000, batch=64, learning_rate=2e-3, warmup_steps=100, weight_decay=0.0, betas=(0.9, 0.99), ema_decay=0.998
)


def digits_latent() -> LatentTrainingConfig:
    """Handwritten digits of 8 x 8 by class, in 4 x 4 latents of 4 numbers: to try things on.

    About 3 minutes on one core; 99.6 % of what it draws is recognised as asked for (docs/restoration.md).
    """
    codec = VQVAEConfig(channels=1, widths=(32, 64), depths=(0, 1), codebook_size=256, dim=4)
    return LatentTrainingConfig(
        name="digits-latent",
        data="digits",
        image_size=8,
        latent=LatentDiffusionConfig(tokenizer=ImageTokenizerConfig(vqvae=codec), width=48, guidance_scale=1.5),
        tokenizer_stage=StageConfig(steps=1200, batch=64, learning_rate=2e-3),
        stage=STAGE,
        label="label",
    )


RECIPES: dict[str, Callable[[], LatentTrainingConfig]] = {"digits-latent": digits_latent}


def training_of(data: dict[str, Any], path: Path) -> LatentTrainingConfig:
    """The training of a YAML file with a section `latent`; a relative `data` path is taken from the file's folder.

    Single values may be given under `stage` and `tokenizer_stage`; the rest is as in the recipe of digits.
    """
    base = digits_latent().model_dump(mode="json", include={"stage", "tokenizer_stage"})
    merged = base | data | {key: base[key] | data[key] for key in base if isinstance(data.get(key), dict)}
    training = validated(LatentTrainingConfig, merged, str(path))
    return training.model_copy(update={"data": beside(path, training.data)})
