"""Configs of trainings: the mix, the stages, and whole runs from raw data."""

from math import prod
from typing import Annotated, Literal

from pydantic import Field, model_validator

from vqfusion.config.base import (
    BelowOne,
    Config,
    Count,
    NotNegative,
    PlainName,
    Positive,
    Seed,
    Share,
    TokenizerName,
    Whole,
    later,
)
from vqfusion.config.models import FusionConfig, LatentDiffusionConfig, PriorConfig
from vqfusion.config.tokenizers import TokenizerConfig
from vqfusion.limits import MEMORY


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
    learning_rate: Annotated[float, Field(gt=0, le=1e3)] = 1e-3
    warmup_steps: Whole = 100
    weight_decay: NotNegative = 0.01
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.95)
    clip_norm: NotNegative = 1.0
    ema_decay: Share = 0.999
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    checkpoint_every_s: NotNegative = 60.0
    draws_per_step: Count = 4
    snapshots: Whole = later(0)


def check_batch(where: str, stage: StageConfig, values: int) -> None:
    """UserError where a batch of signals of so many values is too large for the memory."""
    MEMORY.require(4 * stage.batch * values, f"{where}: a batch of {stage.batch}")


class PriorTrainingConfig(Config):
    """How a prior is trained: crops of `crop` positions a side from `data`, noise added.

    `data` is a folder, a manifest or the name of a built-in set. Three in four noise levels are uniform in
    `focus`, the rest log-uniform in the range of the prior; of every `1 / blind` items one is not told its level. An
    error counts relative to 1 / (1 / sigma^2 + 1 / (error_slope sigma)), about what remains at a noise of sigma.
    `sizes` are the longer sides, in pixels, to which larger pictures are reduced; none leaves them as they are. Of
    `candidates` crops the one that varies most is taken.
    """

    name: PlainName
    data: str
    seed: Seed = 0
    prior: PriorConfig = PriorConfig()
    stage: StageConfig = StageConfig(steps=4000, batch=12, weight_decay=0.0, betas=(0.9, 0.99))
    crop: Count = 64
    focus: tuple[Positive, Positive] = (5 / 255, 60 / 255)
    blind: Share = 0.5
    error_slope: Positive = 0.011
    sizes: tuple[Count, ...] = ()
    candidates: Count = 1

    @model_validator(mode="after")
    def _batch_fits_in_memory(self) -> "PriorTrainingConfig":
        check_batch("stage", self.stage, self.prior.channels * self.crop**self.prior.rank)
        return self


class LatentTrainingConfig(Config):
    """How a latent diffusion is trained from raw data: first its tokenizer, then the denoiser of the latents.

    `data` as for a prior; pictures are resized to `image_size`. With `label`, the slot of that name tells classes, of
    which a share of `drop_label` of the items is not told, for guidance.
    """

    name: PlainName
    data: str
    seed: Seed = 0
    image_size: Count = 32
    latent: LatentDiffusionConfig = LatentDiffusionConfig()
    tokenizer_stage: StageConfig = StageConfig(steps=1000)
    stage: StageConfig = StageConfig(steps=2000, batch=64, learning_rate=2e-3, weight_decay=0.0, betas=(0.9, 0.99))
    label: str | None = None
    drop_label: Share = 0.1

    @model_validator(mode="after")
    def _batch_fits_in_memory(self) -> "LatentTrainingConfig":
        check_batch("tokenizer_stage", self.tokenizer_stage, self.image_size**2)
        check_batch("stage", self.stage, self.image_size**2)
        return self


class ChainConfig(Config):
    """A whole system from raw data: data set, tokenizers, Fusion, and how each is trained.

    Fusion learns `limit_keys` things of the training split (all by default), tokenizers learn from everything. With
    no slots the chain is tokenizers alone: they encode, decode and can be inspected. `untrained_pairs` of languages,
    filled in from the data, were never given and asked for together.
    """

    name: PlainName
    data: str = "emoji"
    seed: Seed = 0
    limit_keys: Count | None = None
    image_size: Count = 64
    languages: tuple[str, ...] = ("en",)
    language_weights: tuple[NotNegative, ...] | None = None
    untrained_pairs: tuple[tuple[str, str], ...] = ()
    tokenizers: dict[TokenizerName, TokenizerConfig] = {}
    tokenizer_stages: dict[TokenizerName, StageConfig] = {}
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

    @model_validator(mode="after")
    def _batches_fit_in_memory(self) -> "ChainConfig":
        for name, stage in self.tokenizer_stages.items():
            config = self.tokenizers.get(name)
            crop, rank = getattr(config, "crop", 1), {"volume": 3}.get(getattr(config, "kind", ""), 1)
            check_batch(name, stage, self.image_size**2 if name == "image" else crop**rank)
        tokens = max((prod(slot.shape) for slot in self.fusion.slots.values()), default=1)
        for draw in self.draws:
            batch = (draw.batch or self.fusion_stage.batch) * draw.masks * self.fusion_stage.draws_per_step
            MEMORY.require(8 * batch * tokens, f"a step of the draw {list(draw.given)} -> {list(draw.target)}")
        MEMORY.require(8 * self.views_per_sample * tokens, "views_per_sample of one record")
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

    name: PlainName
    data: str
    size: Literal["tiny", "small", "base"] = "small"
    image_size: Annotated[int, Field(ge=4)] = 32
    languages: tuple[str, ...] = ("en",)
    tokenizer_steps: Whole = 600
    steps: Whole = 2000
    batch: Count = 32
    seed: Seed = 0
    limit_keys: Count | None = None
    slots: tuple[str, ...] = ()
    draws: tuple[DrawConfig, ...] = ()

    @model_validator(mode="after")
    def _batch_fits_in_memory(self) -> "ShortConfig":
        MEMORY.require(4 * self.batch * self.image_size**2, f"a batch of {self.batch}")
        return self
