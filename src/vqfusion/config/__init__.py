"""All configs of the library: torch-free, read from and written to YAML and JSON, unknown keys rejected."""

from typing import Any

from vqfusion.config.base import Config, load_yaml, validated
from vqfusion.config.chain import ChainConfig, DrawConfig, ShortConfig
from vqfusion.config.models import (
    DiffusionModelConfig,
    FusionConfig,
    LatentDiffusionConfig,
    OwnNoiseConfig,
    PriorConfig,
    SlotConfig,
)
from vqfusion.config.reading import ReadingConfig
from vqfusion.config.tokenizers import (
    AudioTokenizerConfig,
    ImageTokenizerConfig,
    LabelTokenizerConfig,
    LatentTokenizerConfig,
    PhotoTokenizerConfig,
    QuantizerConfig,
    QuantizerName,
    SeriesTokenizerConfig,
    TextTokenizerConfig,
    TextVQVAEConfig,
    TokenizerConfig,
    VolumeTokenizerConfig,
    VQVAEConfig,
)
from vqfusion.config.training import LatentTrainingConfig, PriorTrainingConfig, StageConfig
from vqfusion.deprecated import old_name

__all__ = [
    "AudioTokenizerConfig",
    "ChainConfig",
    "Config",
    "DiffusionModelConfig",
    "DrawConfig",
    "FusionConfig",
    "ImageTokenizerConfig",
    "LabelTokenizerConfig",
    "LatentDiffusionConfig",
    "LatentTokenizerConfig",
    "LatentTrainingConfig",
    "OwnNoiseConfig",
    "PriorConfig",
    "PriorTrainingConfig",
    "QuantizerConfig",
    "QuantizerName",
    "ReadingConfig",
    "SeriesTokenizerConfig",
    "ShortConfig",
    "SlotConfig",
    "StageConfig",
    "TextTokenizerConfig",
    "PhotoTokenizerConfig",
    "TextVQVAEConfig",
    "TokenizerConfig",
    "VQVAEConfig",
    "VolumeTokenizerConfig",
    "load_yaml",
    "validated",
]


def __getattr__(name: str) -> Any:
    return old_name(__name__, name)
