"""Configs of the models: Fusion and its slots, priors, latent diffusions."""

from math import prod
from typing import Annotated, Literal

from pydantic import Field, model_validator

from vqfusion.config.base import (
    BelowOne,
    Config,
    Count,
    NotNegative,
    Positive,
    Share,
    Whole,
    check_levels,
    check_network,
    later,
    levels_parameters,
)
from vqfusion.config.tokenizers import ImageTokenizerConfig, LatentTokenizerConfig, VQVAEConfig
from vqfusion.modalities import MODALITIES, SignalName


class DiffusionModelConfig(Config):
    """A VQ-VAE with a diffusion decoder: codec, denoiser and diffusion path.

    Attributes:
        vqvae: The VQ-VAE whose codes are decoded.
        network: Architecture of the denoiser.
        width: Channels of the denoiser; the one setting of its size.
        path: Diffusion path, a schedule of Gaussian noise or the linear "flow".
        prediction: What the denoiser predicts, see `types.Prediction`.
        steps: Sampling steps of decoding.
        diffusion_weight: Weight of the diffusion loss beside the loss of the VQ-VAE.
    """

    vqvae: VQVAEConfig = VQVAEConfig()
    network: Literal["unet", "transformer"] = "unet"
    width: Count = 32
    path: Literal["flow", "cosine", "linear", "sigmoid", "edm"] = "cosine"
    prediction: Literal["x0", "v", "velocity"] = "v"
    steps: Count = 8
    diffusion_weight: NotNegative = 1.0

    @model_validator(mode="after")
    def _fits_in_memory(self) -> "DiffusionModelConfig":
        check_network("this denoiser", 9 * self.width**2, 1, 1)
        return self


class LatentDiffusionConfig(Config):
    """Diffusion in the latent space of a tokenizer, which is part of the model.

    Attributes:
        tokenizer: The tokenizer, or a bare VQ-VAE.
        network: Architecture of the denoiser.
        width: Channels of the denoiser; the one setting of its size.
        levels: Number of resolutions of the U-Net.
        path: Diffusion path, a schedule of Gaussian noise or the linear "flow".
        prediction: What the denoiser predicts, see `types.Prediction`.
        weighting: Weight of the loss over noise levels, see `diffusion.gaussian.weightings`.
        steps: Sampling steps.
        guidance_scale: Classifier-free guidance; 1 is off.
        classes: Names of the classes that samples can be asked for; filled in from the data.
        grid: Size of the latents of one sample; filled in from the data.
    """

    tokenizer: LatentTokenizerConfig | VQVAEConfig = ImageTokenizerConfig()
    network: Literal["unet", "transformer"] = "unet"
    width: Count = 64
    levels: Count = 2
    path: Literal["flow", "cosine", "linear", "sigmoid", "edm"] = "cosine"
    prediction: Literal["eps", "x0", "v", "velocity"] = "v"
    weighting: Literal["simple", "min_snr", "edm", "elbo"] = "simple"
    steps: Count = 20
    guidance_scale: float = 1.0
    classes: tuple[str, ...] = ()
    grid: tuple[Count, ...] = ()

    @model_validator(mode="after")
    def _fits_in_memory(self) -> "LatentDiffusionConfig":
        widest = self.width * 2 ** min(self.levels - 1, 64) if self.network == "unet" else self.width
        check_network("this denoiser", 9 * widest**2, self.levels, prod(self.grid))
        return self


class SlotConfig(Config):
    """One slot: modality x view, e.g. `image`, `image@16`, `text:de`, `length:de`, `speaker`.

    Attributes:
        tokenizer: Name of the tokenizer; several views may share one.
        shape: Largest grid of tokens.
        patch: Tokens along each axis that share one position of the transformer.
        variable: Whether the first axis may be shorter than `shape`.
        coefficient: Weight of the slot in the loss.
        sampling: Order in which tokens are revealed, see `diffusion.masked`.
        steps: Sampling steps.
        temperature: Sampling temperature; 0 takes the most probable token.
        guidance_scale: Classifier-free guidance; 1 is off.
        calibration: For a label slot: the temperature of its probabilities, by the modality that is given.
        features: Values of a frame of continuous features that stand for the slot where it is given; 0 gives its
            tokens, which hold only what the tokenizer keeps.
        certain: At temperature 0, tokens of at least this probability are revealed together; 1 reveals them by `steps`.
    """

    tokenizer: str
    shape: Annotated[tuple[Count, ...], Field(min_length=1, max_length=3)]
    patch: tuple[Count, ...] = (1,)
    variable: bool = False
    coefficient: NotNegative = 1.0
    sampling: Literal["confidence", "random"] = "confidence"
    steps: Count = 16
    temperature: NotNegative = 1.0
    guidance_scale: float = 1.0
    calibration: dict[str, Positive] = {}
    certain: Share = later(1.0)
    features: Whole = later(0)

    @model_validator(mode="after")
    def _whole_patches(self) -> "SlotConfig":
        if len(self.shape) != len(self.patch) or any(n % p for n, p in zip(self.shape, self.patch, strict=True)):
            raise ValueError(f"shape {list(self.shape)} is not a multiple of patch {list(self.patch)}")
        return self

    @property
    def is_length(self) -> bool:
        """Whether the slot holds the length of a text, as `length:de` does."""
        return self.tokenizer.startswith("length:")


class FusionConfig(Config):
    """The transformer over slots.

    Attributes:
        dim: Width of the transformer.
        layers: Number of transformer blocks.
        heads: Attention heads.
        token_dim: Least width of the convolutions over tokens.
        local_layers: Convolutional blocks over tokens before and after the transformer, for slots whose tokens share
            positions.
        slots: The slots by name.
        positions: "table" has a learned vector for each position of every slot; "rotary" only for grids of one size, so
            that sequences may have any length.
        packed: Whether training packs examples into rows without padding, which is several times faster; the same loss
            to rounding.
        dropout: Probability that a value is dropped after each layer, in training.
        label_smoothing: Probability that the training loss spreads over all tokens (Szegedy et al., 2016).
    """

    dim: Count = 256
    layers: Count = 6
    heads: Count = 4
    token_dim: Count = 32
    local_layers: Whole = 0
    slots: dict[str, SlotConfig] = {}
    positions: Literal["table", "rotary"] = later("table")
    packed: bool = later(False)
    dropout: BelowOne = later(0.0)
    label_smoothing: BelowOne = later(0.0)

    @model_validator(mode="after")
    def _parts_fit(self) -> "FusionConfig":
        if self.dim % (2 * self.heads):
            raise ValueError(f"dim {self.dim} is not a multiple of twice the {self.heads} heads")
        patches: dict[str, tuple[int, ...]] = {}
        for name, slot in self.slots.items():
            if slot.patch != patches.setdefault(slot.tokenizer, slot.patch):
                raise ValueError(f"slot {name!r}: views that share {slot.tokenizer!r} need the same patch")
        tokens = sum(prod(slot.shape) for slot in self.slots.values())
        check_network("this Fusion", self.least_parameters, self.layers + self.local_layers, tokens * self.token_dim)
        return self

    @property
    def least_parameters(self) -> int:
        """Lower bound of the parameters of the transformer and of its position embeddings."""
        tables = [slot for slot in self.slots.values() if self.has_table(slot)]
        places = sum(prod(n // p for n, p in zip(s.shape, s.patch, strict=True)) for s in tables)
        return 8 * self.layers * self.dim**2 + places * self.dim

    def has_table(self, slot: SlotConfig) -> bool:
        """Whether a slot has a learned vector for each position."""
        return self.positions == "table" or not slot.variable


class OwnNoiseConfig(Config):
    """How a prior was trained without clean data, and the noise that was found in the data.

    Attributes:
        method: "recorrupted" (Pang et al., 2021), "neighbours" (Huang et al., 2021), "pairs" (Lehtinen et al., 2018) or
            "blind_spot" (Krull et al., 2019).
        dependent: Whether the level of the noise follows the brightness.
        reach: Distance along each axis up to which the noise is correlated and hidden together with a blind spot.
        stride: Distance along each axis of the elements that are denoised together, so that their noise is white
            (pixel-shuffle downsampling: Lee et al., 2022).
    """

    method: Literal["recorrupted", "neighbours", "pairs", "blind_spot"]
    dependent: bool = False
    reach: tuple[Whole, ...]
    stride: tuple[Count, ...]

    @property
    def cell(self) -> tuple[int, ...]:
        """Distance along each axis of the blind spots of one pass."""
        least = {1: 3, 2: 2, 3: 2}[len(self.reach)]
        return tuple(max(least, 2 * reach + 2) for reach in self.reach)


class PriorConfig(Config):
    """A restoration network and the data that it was trained for.

    Attributes:
        modality: Modality of the data.
        channels: Channels of the data.
        value_range: Range of the data.
        sigma_range: Standard deviations of the noise that it is trained for, in the units of the data.
        sample_rate_hz: Sample rate of audio.
        widths: Channels at each level of the network, the finest first.
        depths: Residual blocks at each level, on the way down and again on the way up.
        fold: Blocks of this many positions along each axis enter as channels.
        leak: Slope of the rectifiers of the network for negative values.
        learned: What it was trained on beside white noise of one level.
        clean: Whether the data that it learns from are clean.
        noise: What training without clean data found and did; None for priors that learned from clean data.
    """

    modality: SignalName = "image"
    channels: Count = 1
    value_range: tuple[float, float] = (0.0, 1.0)
    sigma_range: tuple[Positive, Positive] = (0.002, 1.0)
    sample_rate_hz: Count | None = None
    widths: Annotated[tuple[Count, ...], Field(min_length=1)] = (64, 96, 128)
    depths: tuple[Whole, ...] = (2, 2, 3)
    fold: Count = 2
    leak: Share = later(0.0)
    learned: tuple[Literal["grey", "holes", "uneven", "camera"], ...] = later(())
    clean: bool = later(True)
    noise: OwnNoiseConfig | None = later(None)

    @model_validator(mode="after")
    def _one_depth_for_each_width(self) -> "PriorConfig":
        check_levels(self.widths, self.depths)
        smallest = self.channels * self.multiple**self.rank
        check_network("this prior", self.least_parameters, 2 * sum(self.depths), smallest)
        return self

    @property
    def least_parameters(self) -> int:
        """Lower bound of the parameters of the network."""
        ends = 2 * self.channels * self.fold**self.rank * self.widths[0] * 3**self.rank
        return ends + levels_parameters(self.widths, self.depths, self.rank)

    @property
    def multiple(self) -> int:
        """What every axis of a crop is a multiple of."""
        return self.fold * 2 ** (len(self.widths) - 1)

    @property
    def rank(self) -> int:
        """Number of axes of the data beside channels."""
        return MODALITIES[self.modality].rank
