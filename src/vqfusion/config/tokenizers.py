"""Configs of the tokenizers."""

from math import prod
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from vqfusion.config.base import (
    Config,
    Count,
    NotNegative,
    Share,
    Whole,
    check_levels,
    check_network,
    later,
    levels_parameters,
)

QuantizerName = Literal[
    "vq",
    "gradient_vq",
    "cosine_vq",
    "cosine_gradient_vq",
    "projected_vq",
    "multi_head_vq",
    "residual_vq",
    "grouped_residual_vq",
    "hierarchical_vq",
    "soft_vq",
    "gumbel_vq",
    "sq_vae",
    "sq_vae_vmf",
    "sim_vq",
    "ibq",
    "fsq",
    "residual_fsq",
    "lfq",
    "bsq",
]


class VQVAEConfig(Config):
    """Shape of one VQ-VAE.

    Attributes:
        rank: Number of axes of the signal beside channels.
        channels: Channels of the signal.
        widths: Channels at each level; level i has 1/2^i of the resolution.
        depths: Residual blocks at each level.
        quantizer: Name in `tokenizers.quantizers.QUANTIZERS`. It receives those of the next four fields that it takes.
        codebook_size: Number of codes.
        dim: Dimension of the code vectors.
        decay: Decay of the moving averages that update the codebook.
        levels: Levels of each coordinate, for finite scalar quantization.
        options: Further arguments of the quantizer by name.
    """

    rank: Literal[1, 2, 3] = 2
    channels: Count = 3
    widths: Annotated[tuple[Count, ...], Field(min_length=1)] = (32, 64, 128)
    depths: tuple[Whole, ...] = (0, 1, 3)
    quantizer: QuantizerName = "vq"
    codebook_size: Count = 512
    dim: Count = 16
    decay: Share = 0.99
    levels: tuple[Count, ...] = (8, 8, 8)
    options: dict[str, Any] = later({})

    @model_validator(mode="after")
    def _one_depth_for_each_width(self) -> "VQVAEConfig":
        check_levels(self.widths, self.depths)
        smallest = self.channels * 2 ** ((len(self.widths) - 1) * self.rank)
        check_network("this VQ-VAE", self.least_parameters, 2 * sum(self.depths), smallest)
        codes = prod(self.levels) if "fsq" in self.quantizer else self.codebook_size
        check_network("this codebook", codes, 0, codes)
        return self

    @property
    def least_parameters(self) -> int:
        """Lower bound of the parameters of the network."""
        unsure = 2 * self.widths[0] * self.widths[1] if len(self.widths) > 1 else 0  # not there without blocks above
        return levels_parameters(self.widths, self.depths, self.rank) - unsure


class QuantizerConfig(Config):
    """A quantizer by itself.

    Attributes:
        quantizer: Name in the registry.
        arguments: Arguments of the constructor; a quantizer among them is a nested config of this form.
    """

    quantizer: str
    arguments: dict[str, Any] = {}


class ImageTokenizerConfig(Config):
    """Tokenizer of pictures `[C, H, W]` in [0, 1]."""

    kind: Literal["image"] = "image"
    vqvae: VQVAEConfig = VQVAEConfig()


class AudioTokenizerConfig(Config):
    """Tokenizer of sound by its magnitude spectrogram; Griffin-Lim reconstructs the phases.

    Attributes:
        kind: Discriminator of the config.
        sample_rate_hz: Sample rate of the sound.
        window_samples: Window of the short-time Fourier transform.
        hop_samples: Hop of the short-time Fourier transform.
        griffin_lim_steps: Iterations of phase reconstruction in decoding.
        vqvae: VQ-VAE over the spectrogram; `channels` is the number of frequency bins.
    """

    kind: Literal["audio"] = "audio"
    sample_rate_hz: Annotated[int, Field(ge=1, le=10**7)] = 16000
    window_samples: Annotated[int, Field(ge=1, le=10**7)] = 512
    hop_samples: Count = 160
    griffin_lim_steps: Annotated[int, Field(ge=0, le=10**5)] = 32
    vqvae: VQVAEConfig = VQVAEConfig(rank=1, channels=257, widths=(256, 256), depths=(1, 2), codebook_size=1024)


class TextTokenizerConfig(Config):
    """Byte-level BPE tokenizer.

    Attributes:
        kind: Discriminator of the config.
        vocabulary_size: Number of tokens.
        languages: Languages of the training split that it learns from; those of the chain by default.
        language_weights: Relative amount of text from each language.
    """

    kind: Literal["text"] = "text"
    vocabulary_size: Annotated[int, Field(ge=1, le=10**7)] = 4096
    languages: tuple[str, ...] | None = None
    language_weights: tuple[NotNegative, ...] | None = None


class VolumeTokenizerConfig(Config):
    """Tokenizer of one-channel volumes in any unit; trained on cubes of `crop` voxels along each axis."""

    kind: Literal["volume"] = "volume"
    crop: Count = 32
    vqvae: VQVAEConfig = VQVAEConfig(rank=3, channels=1, widths=(16, 32, 64), depths=(0, 1, 1))


class SeriesTokenizerConfig(Config):
    """Tokenizer of series in any unit, each channel separately; trained on stretches of `crop` values."""

    kind: Literal["series"] = "series"
    crop: Count = 256
    vqvae: VQVAEConfig = VQVAEConfig(rank=1, channels=1, widths=(32, 64, 64), depths=(1, 1, 2))


class TextVQVAEConfig(Config):
    """VQ-VAE over the bytes of a text, with fewer codes than bytes.

    Attributes:
        kind: Discriminator of the config.
        crop: Length of a training sample in bytes.
        languages: Languages of the training split that it learns from; those of the chain by default.
        vqvae: The VQ-VAE; `channels` is the dimension of the byte embedding.
    """

    kind: Literal["text-vqvae"] = "text-vqvae"
    crop: Count = 64
    languages: tuple[str, ...] | None = None
    vqvae: VQVAEConfig = VQVAEConfig(
        rank=1, channels=32, widths=(128, 192), depths=(1, 1), quantizer="fsq", levels=(4, 4, 4, 4, 4, 2)
    )


class PhotoTokenizerConfig(Config):
    """Transform codec of photographs `[3, H, W]` in [0, 1]: latents of blocks of 16 x 16 pixels, each value rounded.

    Attributes:
        kind: Discriminator of the config.
        crop: Pixels a side of a training sample.
        dim: Latent values of a block.
        groups: Channels of the latents that are coded together, in this order.
        context_width: Hidden channels of the context model.
        analysis_width: Channels of the encoder, at 1/8 of the resolution.
        analysis_depth: Residual blocks of the encoder.
        synthesis_widths: Channels of the decoder at 1/16, 1/8 and 1/4 of the resolution.
        synthesis_depths: Residual blocks of the decoder at these.
    """

    kind: Literal["photo"] = "photo"
    crop: Count = 192
    dim: Count = 192
    groups: tuple[Count, ...] = (1, 2, 3, 6, 12, 24, 48, 96)
    context_width: Count = 128
    analysis_width: Count = 96
    analysis_depth: Whole = 2
    synthesis_widths: tuple[Count, Count, Count] = (160, 96, 64)
    synthesis_depths: tuple[Whole, Whole, Whole] = (1, 2, 2)

    @property
    def least_parameters(self) -> int:
        """Lower bound of the parameters of the network."""
        return 3 * 16 * 16 * self.dim

    @model_validator(mode="after")
    def _groups_make_up_the_latents(self) -> "PhotoTokenizerConfig":
        if sum(self.groups) != self.dim:
            raise ValueError(f"groups {list(self.groups)} have {sum(self.groups)} channels, dim is {self.dim}")
        if self.synthesis_widths[0] % 4:
            raise ValueError(f"synthesis_widths begin with {self.synthesis_widths[0]}; make it a multiple of 4")
        check_network("this tokenizer", self.least_parameters, 1, 1)
        return self


class LabelTokenizerConfig(Config):
    """Tokenizer of class names; `names` is filled in from the training split."""

    kind: Literal["label"] = "label"
    names: tuple[str, ...] = ()


TokenizerConfig = Annotated[
    ImageTokenizerConfig
    | AudioTokenizerConfig
    | TextTokenizerConfig
    | LabelTokenizerConfig
    | VolumeTokenizerConfig
    | SeriesTokenizerConfig
    | TextVQVAEConfig
    | PhotoTokenizerConfig,
    Field(discriminator="kind"),
]

LatentTokenizerConfig = Annotated[
    ImageTokenizerConfig | AudioTokenizerConfig | VolumeTokenizerConfig | SeriesTokenizerConfig | TextVQVAEConfig,
    Field(discriminator="kind"),
]

TOKENIZER_CONFIGS: dict[str, Any] = {  # by kind
    config.model_fields["kind"].default: config for config in get_args(get_args(TokenizerConfig)[0])
}
