"""Configs of a whole system from raw data: the training mix, the chain, and its short form."""

from math import prod
from typing import Annotated, Literal

from pydantic import Field, model_validator

from vqfusion.config.base import (
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
from vqfusion.config.models import FusionConfig
from vqfusion.config.reading import ReadingConfig
from vqfusion.config.tokenizers import TokenizerConfig
from vqfusion.config.training import StageConfig, check_batch
from vqfusion.limits import MEMORY

UNLIMITED = 10**6  # steps of a training that ends with its time


class DrawConfig(Config):
    """One row of the training mix: which slots are given, which are targets, and how often.

    In slot names `text:*` stands for a language drawn at random, a second `text:*` for a different one, and `text:^`
    for the language spoken in the clip.

    Attributes:
        given: Given slots.
        target: Target slots.
        weight: Relative frequency of the row.
        drop_given: Probability that the given slots are left out, for classifier-free guidance.
        linked: Take all slots from one record; otherwise records of the same key may be combined.
        augment: Also draw from augmented views of the record.
        batch: Batch size; that of the stage by default.
        masks: Random maskings of each example; its given part is computed once for all of them.
        also: Further sets of target slots for the same given part, each a separate task; `*` is the language of
            `target`.
        hide_given: Largest fraction of the given positions to drop at random, so that the model relies on no single
            one.
        all_hidden: Fraction of the examples with a fully masked target, as at the start of sampling.
        all_keys: Also draw from records beyond the `limit_keys` of the chain.
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


class ChainConfig(ReadingConfig):
    """A whole system from raw data: data set, tokenizers, Fusion, and how each is trained.

    Attributes:
        name: Name of the model.
        data: Folder, manifest, table, or name of a built-in data set; `ReadingConfig` has the keys that say what its
            columns and names mean.
        seed: Random seed.
        limit_keys: Number of keys of the training split that Fusion learns from; all by default. Tokenizers learn from
            everything.
        image_size: Pictures are resized to this many pixels a side.
        languages: Languages of the texts.
        language_weights: Relative amount of text from each language.
        untrained_pairs: Pairs of languages that never occur together in training; filled in from the data.
        tokenizers: The tokenizers by name.
        tokenizer_stages: Optimisation settings of each tokenizer.
        fusion: The transformer over slots; without slots only the tokenizers are trained.
        fusion_stage: Optimisation settings of the transformer.
        draws: The training mix.
        image_noise_sigma: Standard deviation of the noise of `image@noisy`, for values in [0, 1].
        audio_noise_snr_db: Signal-to-noise ratio of `audio@noisy`.
        views_per_sample: Augmented views of each sample.
        minutes: Wall time of the whole training, from reading the data to the score at the end. None trains all steps.
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
    minutes: Positive | None = later(None)

    @model_validator(mode="after")
    def _slots_have_tokenizers(self) -> "ChainConfig":
        for name, slot in self.fusion.slots.items():
            if slot.tokenizer not in self.tokenizers:
                known = ", ".join(self.tokenizers) or "none"
                raise ValueError(f"slot {name!r} needs the tokenizer {slot.tokenizer!r}, the chain has: {known}")
        return self

    @model_validator(mode="after")
    def _batches_fit_in_memory(self) -> "ChainConfig":
        for name, stage in self.tokenizer_stages.items():
            config = self.tokenizers.get(name)
            rank = config.vqvae.rank if config is not None and hasattr(config, "vqvae") else 1
            side = getattr(config, "crop", self.image_size if rank > 1 else 1)
            check_batch(name, stage, side**rank)
        tokens = max((prod(slot.shape) for slot in self.fusion.slots.values()), default=1)
        for draw in self.draws:
            batch = (draw.batch or self.fusion_stage.batch) * draw.masks * self.fusion_stage.draws_per_step
            MEMORY.require(8 * batch * tokens, f"a step of the draw {list(draw.given)} -> {list(draw.target)}")
        MEMORY.require(8 * self.views_per_sample * tokens, "views_per_sample of one record")
        return self

    def trained_together(self, source: str, target: str) -> bool:
        """Whether the training mix has these two languages as given and target of one draw."""
        return tuple(sorted((source, target))) not in self.untrained_pairs

    def uses_view(self, view: str) -> bool:
        """Whether a slot has this view of a modality."""
        return any(name.endswith(f"@{view}") for name in self.fusion.slots)


class ShortConfig(ReadingConfig):
    """Short form of a chain for one's own data; the rest follows from the data and the size.

    Attributes:
        name: Name of the model.
        data: Folder, manifest, table, or name of a built-in data set; `ReadingConfig` has the keys that say what its
            columns and names mean.
        size: Size of all networks.
        image_size: Pictures are resized to this many pixels a side.
        languages: Languages of the texts.
        tokenizer_steps: Optimizer steps of each tokenizer.
        steps: Optimizer steps of the transformer; by default they follow from the number of records.
        minutes: Wall time of the whole training, in place of `steps` or with these as the most.
        patience: Stop where so many of the 20 validations of a training brought nothing better; 0 never does.
        batch: Batch size.
        seed: Random seed.
        limit_keys: Number of keys of the training split that Fusion learns from.
        slots: Slots to train; all that the data have by default.
        max_length: Tokens of the longest text that is taken as a whole; by default 99 % of the training texts fit. What
            is longer is cut into pieces.
        tasks: What it is for: verbs such as `transcribe` and `speak`, or slots such as `label -> image`; by default
            every slot is learned from every other.
        draws: The training mix, in place of `tasks`.
    """

    name: PlainName
    data: str
    size: Literal["tiny", "small", "base"] = "small"
    image_size: Annotated[int, Field(ge=4)] = 32
    languages: tuple[str, ...] = ("en",)
    tokenizer_steps: Whole = 600
    steps: Whole | None = None
    minutes: Positive | None = None
    patience: Whole = 6
    batch: Count = 32
    seed: Seed = 0
    limit_keys: Count | None = None
    max_length: Annotated[int, Field(ge=2, le=10**5)] | None = None
    slots: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    draws: tuple[DrawConfig, ...] = ()

    @model_validator(mode="after")
    def _one_mix(self) -> "ShortConfig":
        if self.tasks and self.draws:
            raise ValueError("tasks and draws both say what is learned; leave one out")
        return self

    @model_validator(mode="after")
    def _batch_fits_in_memory(self) -> "ShortConfig":
        MEMORY.require(4 * self.batch * self.image_size**2, f"a batch of {self.batch}")
        return self
