"""Every config of the library; torch-free, YAML and JSON round trip, unknown keys refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_serializer, model_validator

from vqfusion.errors import UserError


class Config(BaseModel):
    """Frozen, and strict about names: a misspelt key is an error, not a default."""

    model_config = ConfigDict(frozen=True, extra="forbid")


AnyConfig = TypeVar("AnyConfig", bound=Config)

# numbers that make sense: a config with others is refused before anything is built from it
Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]


def _check_levels(widths: tuple[int, ...], depths: tuple[int, ...]) -> None:
    if len(widths) != len(depths):
        raise ValueError(f"widths has {len(widths)} levels and depths {len(depths)}; give one for each")


QUANTIZER_NAMES = (
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
)


class VQVAEConfig(Config):
    """Shape of one VQ-VAE; `widths[i]` channels and `depths[i]` residual blocks at 1/2^i of the resolution.

    `quantizer` is one of `QUANTIZER_NAMES`; it takes those of `codebook_size`, `dim`, `decay` and `levels` that it has,
    and `options`, its further arguments by name.
    """

    rank: Literal[1, 2, 3] = 2
    channels: Count = 3
    widths: Annotated[tuple[Count, ...], Field(min_length=1)] = (32, 64, 128)
    depths: tuple[Whole, ...] = (0, 1, 3)
    quantizer: str = "vq"
    codebook_size: Count = 512
    dim: Count = 16
    decay: Share = 0.99
    levels: tuple[Count, ...] = (8, 8, 8)
    options: dict[str, Any] = {}

    @field_validator("quantizer")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in QUANTIZER_NAMES:
            raise ValueError(f"no quantizer {name!r}; known: {', '.join(QUANTIZER_NAMES)}")
        return name

    @model_validator(mode="after")
    def _one_depth_for_each_width(self) -> "VQVAEConfig":
        _check_levels(self.widths, self.depths)
        return self

    @model_serializer(mode="wrap")
    def _without_empty_options(self, serialize: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """Without options a config is written, and hashed into fingerprints, as before there were any."""
        data = serialize(self)
        return data if self.options else {key: value for key, value in data.items() if key != "options"}


class DiffusionModelConfig(Config):
    """A VQ-VAE with a diffusion decoder: the codec, the denoiser and its path; `width` is the dial of the denoiser."""

    vqvae: VQVAEConfig = VQVAEConfig()
    network: Literal["unet", "transformer"] = "unet"
    width: Count = 32
    path: Literal["flow", "cosine", "linear", "sigmoid", "edm"] = "cosine"
    prediction: Literal["x0", "v", "velocity"] = "v"
    steps: Count = 8
    diffusion_weight: NotNegative = 1.0


class ImageTokenizerConfig(Config):
    """Pictures `[C, H, W]` in [0, 1] to a grid of codes."""

    kind: Literal["image"] = "image"
    vqvae: VQVAEConfig = VQVAEConfig()


class AudioTokenizerConfig(Config):
    """Sound to codes through its magnitude spectrogram; phases come back by Griffin-Lim."""

    kind: Literal["audio"] = "audio"
    sample_rate_hz: Count = 16000
    window_samples: Count = 512
    hop_samples: Count = 160
    griffin_lim_steps: Whole = 32
    vqvae: VQVAEConfig = VQVAEConfig(rank=1, channels=257, widths=(256, 256), depths=(1, 2), codebook_size=1024)


class TextTokenizerConfig(Config):
    """Byte-level BPE, trained on the texts of the training split in `languages` (those of the chain by default)."""

    kind: Literal["text"] = "text"
    vocabulary_size: Count = 4096
    languages: tuple[str, ...] | None = None
    language_weights: tuple[NotNegative, ...] | None = None


class VolumeTokenizerConfig(Config):
    """Volumes of one channel in any unit to a grid of codes; trained on cubes of `crop` voxels a side."""

    kind: Literal["volume"] = "volume"
    crop: Count = 32
    vqvae: VQVAEConfig = VQVAEConfig(rank=3, channels=1, widths=(16, 32, 64), depths=(0, 1, 1))


class SeriesTokenizerConfig(Config):
    """Series of any number of channels, each by itself and in any unit; trained on stretches of `crop` values."""

    kind: Literal["series"] = "series"
    crop: Count = 256
    vqvae: VQVAEConfig = VQVAEConfig(rank=1, channels=1, widths=(32, 64, 64), depths=(1, 1, 2))


class TextVQVAEConfig(Config):
    """Text as bytes to fewer latent codes; trained on stretches of `crop` bytes of texts in `languages` (those of
    the chain by default). `vqvae.channels` is the width of the embedding of a byte."""

    kind: Literal["text-vqvae"] = "text-vqvae"
    crop: Count = 64
    languages: tuple[str, ...] | None = None
    vqvae: VQVAEConfig = VQVAEConfig(
        rank=1, channels=32, widths=(128, 192), depths=(1, 1), quantizer="fsq", levels=(4, 4, 4, 4, 4, 2)
    )


class LabelTokenizerConfig(Config):
    """Names of classes; `names` is filled from the training split."""

    kind: Literal["label"] = "label"
    names: tuple[str, ...] = ()


TokenizerConfig = Annotated[
    ImageTokenizerConfig
    | AudioTokenizerConfig
    | TextTokenizerConfig
    | LabelTokenizerConfig
    | VolumeTokenizerConfig
    | SeriesTokenizerConfig
    | TextVQVAEConfig,
    Field(discriminator="kind"),
]


LatentTokenizerConfig = Annotated[
    ImageTokenizerConfig | AudioTokenizerConfig | VolumeTokenizerConfig | SeriesTokenizerConfig | TextVQVAEConfig,
    Field(discriminator="kind"),
]


class LatentDiffusionConfig(Config):
    """Diffusion in the latents of a tokenizer, which is a part of the model; `width` is the dial of the denoiser.

    The U-Net has `levels` resolutions. `classes` are the names that samples can be asked for, `grid` is the size of
    the latents of a sample: both are filled in from the data.
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


class SlotConfig(Config):
    """One slot: modality x view, e.g. `image`, `image@16`, `text:de`, `length:de`, `speaker`.

    `tokenizer` names the vocabulary, which views share. `shape` is the largest grid of tokens; the first axis
    of a `variable` slot may be shorter. `patch` tokens along each axis share one position of the
    transformer. `coefficient` weighs the slot in the loss. `calibration` has, for a label slot, the temperature of its
    probabilities by the modality that is given.
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

    @model_validator(mode="after")
    def _whole_patches(self) -> "SlotConfig":
        if len(self.shape) != len(self.patch) or any(n % p for n, p in zip(self.shape, self.patch, strict=True)):
            raise ValueError(f"shape {list(self.shape)} is no multiple of patch {list(self.patch)}")
        return self

    @property
    def is_length(self) -> bool:
        return self.tokenizer.startswith("length:")


class FusionConfig(Config):
    """The slot transformer: `layers` blocks of `dim` over positions, and where several tokens share a position,
    `local_layers` blocks of convolutions of at least `token_dim` over the tokens before and after it."""

    dim: Count = 256
    layers: Count = 6
    heads: Count = 4
    token_dim: Count = 32
    local_layers: Whole = 0
    slots: dict[str, SlotConfig] = {}

    @model_validator(mode="after")
    def _parts_fit(self) -> "FusionConfig":
        if self.dim % (2 * self.heads):
            raise ValueError(f"dim {self.dim} is no multiple of twice the {self.heads} heads")
        patches: dict[str, tuple[int, ...]] = {}
        for name, slot in self.slots.items():
            if slot.patch != patches.setdefault(slot.tokenizer, slot.patch):
                raise ValueError(f"slot {name!r}: views that share {slot.tokenizer!r} need the same patch")
        return self


class DrawConfig(Config):
    """One row of the training mix: what is given, what is asked for, how often.

    `text:*` stands for a language drawn at random, a second one for another language; `text:^` for the language
    that is spoken in the clip. `linked` takes all slots from one record; otherwise records of the same
    key may be joined. `augment` also draws from augmented views of the record. Each
    example is masked `masks` times; its given part is computed once for all of them, and for the targets in `also`,
    each asked for by itself, with `*` for the language of the target. Of the given positions a random share of up
    to `hide_given` is left out, so that no single one is relied on. A share of `all_hidden` of the examples shows
    nothing of the target, which is where a sampler begins. With `all_keys` the row also draws from what is beyond the
    chain's `limit_keys`.
    """

    given: tuple[str, ...] = ()
    target: Annotated[tuple[str, ...], Field(min_length=1)]
    weight: NotNegative = 1.0
    drop_given: Share = 0.0
    linked: bool = False
    augment: bool = False
    batch: Count | None = None
    masks: Count = 1
    also: tuple[tuple[str, ...], ...] = ()
    hide_given: Share = 0.0
    all_hidden: Share = 0.0
    all_keys: bool = False


class StageConfig(Config):
    """How one network is trained: linear warm-up, cosine decay to zero, EMA of the weights.

    `precision` "auto" is bfloat16 autocast where the device multiplies in it by itself, and float32 elsewhere. With
    `muon` the matrices of linear layers are trained by Muon (Jordan et al., 2024) and the rest by AdamW. With
    `snapshots`, so many times in the training, averages are written from which any other length of averaging is
    found afterwards (`train.power_average`).
    """

    optimizer: Literal["adamw", "muon"] = "adamw"
    steps: Whole = 2000
    batch: Count = 32
    learning_rate: Positive = 1e-3
    warmup_steps: Whole = 100
    weight_decay: NotNegative = 0.01
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.95)
    clip_norm: NotNegative = 1.0
    ema_decay: Share = 0.999
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    checkpoint_every_s: NotNegative = 60.0
    draws_per_step: Count = 4
    snapshots: Whole = 0

    @model_serializer(mode="wrap")
    def _without_no_snapshots(self, serialize: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """Without snapshots a config is written, and compared on resuming, as before there were any."""
        data = serialize(self)
        return data if self.snapshots else {key: value for key, value in data.items() if key != "snapshots"}


class PriorConfig(Config):
    """A restoration network and the data that it knows: one modality, so many channels, values in `value_range`.

    Level i of the network has `widths[i]` channels and `depths[i]` residual blocks each way; blocks of `fold`
    positions an axis enter as channels. It is trained for noise of a standard deviation within `sigma_range`, in
    the units of the data. `sample_rate_hz` is that of sound.
    """

    modality: Literal["image", "audio", "volume", "series"] = "image"
    channels: Count = 1
    value_range: tuple[float, float] = (0.0, 1.0)
    sigma_range: tuple[Positive, Positive] = (0.002, 1.0)
    sample_rate_hz: Count | None = None
    widths: Annotated[tuple[Count, ...], Field(min_length=1)] = (64, 96, 128)
    depths: tuple[Whole, ...] = (2, 2, 3)
    fold: Count = 2

    @model_validator(mode="after")
    def _one_depth_for_each_width(self) -> "PriorConfig":
        _check_levels(self.widths, self.depths)
        return self

    @property
    def rank(self) -> int:
        return {"image": 2, "volume": 3}.get(self.modality, 1)


class PriorTrainingConfig(Config):
    """How a prior is trained: crops of `crop` positions a side from `data`, noise added.

    `data` is a folder, a manifest or the name of a built-in set. Three in four noise levels are uniform in
    `focus`, the rest log-uniform in the range of the prior; of every `1 / blind` items one is not told its level. An
    error counts relative to 1 / (1 / sigma^2 + 1 / (error_slope sigma)), about what remains at a noise of sigma.
    `sizes` are the longer sides, in pixels, to which larger pictures are reduced; none leaves them as they are. Of
    `candidates` crops the one that varies most is taken.
    """

    name: str
    data: str
    seed: int = 0
    prior: PriorConfig = PriorConfig()
    stage: StageConfig = StageConfig(steps=4000, batch=12, weight_decay=0.0, betas=(0.9, 0.99))
    crop: Count = 64
    focus: tuple[Positive, Positive] = (5 / 255, 60 / 255)
    blind: Share = 0.5
    error_slope: Positive = 0.011
    sizes: tuple[Count, ...] = ()
    candidates: Count = 1


class LatentTrainingConfig(Config):
    """How a latent diffusion is trained from raw data: first its tokenizer, then the denoiser of the latents.

    `data` as for a prior; pictures are resized to `image_size`. With `label`, the slot of that name tells classes, of
    which a share of `drop_label` of the items is not told, for guidance.
    """

    name: str
    data: str
    seed: int = 0
    image_size: Count = 32
    latent: LatentDiffusionConfig = LatentDiffusionConfig()
    tokenizer_stage: StageConfig = StageConfig(steps=1000)
    stage: StageConfig = StageConfig(steps=2000, batch=64, learning_rate=2e-3, weight_decay=0.0, betas=(0.9, 0.99))
    label: str | None = None
    drop_label: Share = 0.1


class ChainConfig(Config):
    """A whole system from raw data: data set, tokenizers, Fusion, and how each is trained.

    Fusion learns `limit_keys` things of the training split (all by default), tokenizers learn from everything. With
    no slots the chain is tokenizers alone: they encode, decode and can be inspected. `untrained_pairs` of languages,
    filled in from the data, were never given and asked for together.
    """

    name: str
    data: str = "emoji"
    seed: int = 0
    limit_keys: Count | None = None
    image_size: Count = 64
    languages: tuple[str, ...] = ("en",)
    language_weights: tuple[NotNegative, ...] | None = None
    untrained_pairs: tuple[tuple[str, str], ...] = ()
    tokenizers: dict[str, TokenizerConfig] = {}
    tokenizer_stages: dict[str, StageConfig] = {}
    fusion: FusionConfig = FusionConfig()
    fusion_stage: StageConfig = StageConfig()
    draws: tuple[DrawConfig, ...] = ()
    image_noise_sigma: NotNegative = 25 / 255
    audio_noise_snr_db: float = 5.0
    views_per_sample: Count = 1

    @model_validator(mode="after")
    def _slots_have_tokenizers(self) -> "ChainConfig":
        for name, slot in self.fusion.slots.items():
            if slot.tokenizer not in self.tokenizers:
                known = ", ".join(self.tokenizers) or "none"
                raise ValueError(f"slot {name!r} needs a tokenizer {slot.tokenizer!r}, the chain has {known}")
        return self

    def trained_together(self, source: str, target: str) -> bool:
        """Whether these two languages were ever given and asked for together."""
        return tuple(sorted((source, target))) not in self.untrained_pairs

    def uses_view(self, view: str) -> bool:
        """Whether some slot is this view of a modality."""
        return any(name.endswith(f"@{view}") for name in self.fusion.slots)


class ShortConfig(Config):
    """A chain in a few lines, for one's own data: what is not said follows from the data and the size.

    `data` is a folder, a manifest or the name of a built-in set; `size` is the one dial of the networks. With no
    `draws`, every modality is learned from every other.
    """

    name: str
    data: str
    size: Literal["tiny", "small", "base"] = "small"
    image_size: Annotated[int, Field(ge=4)] = 32
    languages: tuple[str, ...] = ("en",)
    tokenizer_steps: Whole = 600
    steps: Whole = 2000
    batch: Count = 32
    seed: int = 0
    limit_keys: Count | None = None
    slots: tuple[str, ...] = ()
    draws: tuple[DrawConfig, ...] = ()


def load_yaml(path: Path) -> dict[str, Any]:
    """Mapping of a YAML file; a syntax error names file and line."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise UserError(f"{path}: not valid YAML (nested too deeply)") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise UserError(f"{where}: not valid YAML ({getattr(error, 'problem', error)})") from None
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8 text ({error.__class__.__name__})") from None
    except (ValueError, LookupError, AttributeError) as error:  # of a date, a number or a tag that is none
        raise UserError(f"{path}: not valid YAML ({error})") from None
    if not isinstance(data, dict):
        raise UserError(f"{path}: expected `key: value` lines, found {type(data).__name__}")
    return data


def validated(kind: type[AnyConfig], data: dict[str, Any], where: str) -> AnyConfig:
    """The config, or one line that names the first wrong key."""
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])[:80]
        if first["type"] == "extra_forbidden":
            from difflib import get_close_matches

            near = get_close_matches(key, kind.model_fields, n=1)
            raise UserError(f"{where}: {key}: no such key{f'; did you mean {near[0]}?' if near else ''}") from None
        reason = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{where}: {key}: {reason}" if key else f"{where}: {reason}") from None
