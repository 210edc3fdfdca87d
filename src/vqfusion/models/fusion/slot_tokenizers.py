"""Samples to tokens of a slot, and back."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from vqfusion.config import ChainConfig
from vqfusion.errors import UserError
from vqfusion.models.fusion.slots import SlotName, check_slot, patch_size
from vqfusion.tokenizers.base import BaseTokenizer
from vqfusion.types import Sample, Tokens


class SlotTokenizers:
    """The tokenizers of a chain, by slot."""

    def __init__(self, config: ChainConfig, tokenizers: dict[str, BaseTokenizer]):
        self.config = config
        self.by_name = tokenizers

    def __getitem__(self, slot: str) -> BaseTokenizer:
        return self.by_name[check_slot(slot, self.config.fusion.slots).tokenizer]

    @property
    def vocabularies(self) -> dict[str, int]:
        """Number of ids of each tokenizer that a slot uses."""
        used = {slot.tokenizer for slot in self.config.fusion.slots.values()}
        return {name: tokenizer.codebook_size for name, tokenizer in self.by_name.items() if name in used}

    @property
    def codebooks(self) -> dict[str, Tensor]:
        """Code vectors `[codebook_size, D]` of the tokenizers with one code per position."""
        spoken = {name: self.by_name[name] for name in self.vocabularies}
        known = {name: tokenizer.codebook for name, tokenizer in spoken.items()}
        return {name: codebook for name, codebook in known.items() if codebook is not None}

    @property
    def sample_rate_hz(self) -> int:
        """Sample rate of generated sound; UserError where the chain has no sound."""
        for tokenizer in self.by_name.values():
            if tokenizer.sample_rate_hz:
                return tokenizer.sample_rate_hz
        raise UserError("this model has no sound")

    def longest_s(self, slot: str) -> float:
        """Longest sound that fits a slot, in seconds."""
        seconds = self[slot].seconds(self.config.fusion.slots[slot].shape[0])
        assert seconds is not None, f"{slot} holds no sound"
        return seconds

    def names(self, tokenizer: str) -> list[str]:
        """Names of a label tokenizer."""
        labels = self.by_name[tokenizer]
        if not labels.closed:
            raise UserError(f"{tokenizer!r} is not a closed list of names")
        return list(labels.names)

    def is_unfamiliar(self, slot: str, sample: Sample) -> bool:
        """Whether a picture or sound in a slot without a view is unlike those that its tokenizer was trained on."""
        plain = not SlotName.parse(slot).view
        return plain and self[slot].is_unfamiliar(sample, self.config.image_size)

    def given(self, slot: str, samples: list[Sample]) -> list[Tensor]:
        """What a model is given for samples of a slot: ids, or frames `[N, values]` where the slot has features."""
        config = check_slot(slot, self.config.fusion.slots)
        if not config.features:
            return list(self.encode_many(slot, samples))
        for sample in samples:
            if sample.modality != SlotName.parse(slot).modality:
                raise UserError(f"slot {slot!r} takes {SlotName.parse(slot).modality}, not {sample.modality}")
        return [self[slot].features(sample, config.features, patch_size(config)) for sample in samples]

    def encode(self, slot: str, sample: Sample) -> Int[Tensor, "..."]:
        """Ids of one sample in the grid of a slot; UserError where it does not fit."""
        return self.encode_many(slot, [sample])[0]

    def encode_many(self, slot: str, samples: list[Sample]) -> list[Int[Tensor, "..."]]:
        """Ids of several samples; samples of equal size are encoded as one batch."""
        encoded = self.encode_fitting(slot, samples)
        for sample, ids in zip(samples, encoded, strict=True):
            if ids is None:
                shape = self.config.fusion.slots[slot].shape
                raise UserError(f"slot {slot!r}: {self[slot].misfit(sample, shape)}")
        return [ids for ids in encoded if ids is not None]

    def encode_fitting(self, slot: str, samples: list[Sample]) -> list[Int[Tensor, "..."] | None]:
        """As `encode_many`, with None for texts and sounds that are empty or do not fit the slot."""
        config, tokenizer = check_slot(slot, self.config.fusion.slots), self[slot]
        expected = "label" if tokenizer.closed else SlotName.parse(slot).modality
        for sample in samples:
            if sample.modality != expected:
                raise UserError(f"slot {slot!r} takes {expected}, not {sample.modality}")
        return tokenizer.encode_fitting(samples, config.shape, patch_size(config))

    def pieces(self, slot: str, sample: Sample) -> list[Sample]:
        """Pieces of a sample that each fit a slot; the sample itself where it does, or cannot be cut."""
        config = check_slot(slot, self.config.fusion.slots)
        return self[slot].pieces(sample, config.shape, patch_size(config))

    def decode(self, slot: str, ids: Int[Tensor, "..."]) -> Sample:
        """Sample of a grid of ids."""
        tokenizer = self[slot]
        return tokenizer.decode(Tokens(ids.to(tokenizer.device), tokenizer.codebook_size, tokenizer.modality))

    def known(
        self, slot: str, sample: Sample, keep: Bool[Tensor, "H W"] | None
    ) -> tuple[Int[Tensor, "..."], Bool[Tensor, "..."]]:
        """Ids of a partly known sample, and mask of its known tokens.

        A token of a picture is known when every pixel of its cell is; without a mask all are known.
        """
        tokenizer = self[slot]
        if keep is None:
            ids = self.encode(slot, sample)
            return ids, torch.ones_like(ids, dtype=torch.bool)
        found = tokenizer.known(sample, keep, self.config.fusion.slots[slot].shape)
        if found is None:
            raise UserError(f"slot {slot!r}: only pictures can be filled in by a mask")
        return found
