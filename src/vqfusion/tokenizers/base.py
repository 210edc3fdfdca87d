"""What callers ask of every tokenizer beside `encode` and `decode`."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from vqfusion.tokenizers.kept import KeptTokenizer
from vqfusion.types import Sample, Tokens


class BaseTokenizer(KeptTokenizer):
    """The answers of tokenizers of text and names; those of signals give their own (`SignalTokenizer`).

    `closed` says that ids stand for a closed list of `names`, not for parts of a signal or a text.
    """

    modality: str
    codebook_size: int
    closed: ClassVar[bool] = False
    names: tuple[str, ...] = ()

    def encode(self, sample: Sample, search: int = 0) -> Tokens:
        """Tokens of a sample; `search` is the number of rounds that a network looks for better codes."""
        raise NotImplementedError

    def decode(self, tokens: Tokens) -> Sample:
        """The sample of tokens."""
        raise NotImplementedError

    @property
    def device(self) -> torch.device:
        """Where ids are decoded."""
        return torch.device("cpu")

    @property
    def sample_rate_hz(self) -> int | None:
        """Rate of the sounds that come out; None for other modalities."""
        return None

    @property
    def codebook(self) -> Tensor | None:
        """Code vectors `[codebook_size, D]`; None where ids stand for none, or for several."""
        return None

    def fitted(self, sample: Sample) -> Sample:
        """The sample as `encode` takes it: on the device, a sound at the rate of the tokenizer."""
        return sample

    def sized(self, sample: Sample, image_size: int) -> Sample:
        """The sample as a model of pictures of so many pixels a side sees it: other samples as they are."""
        return sample

    def extent(self, sample: Sample) -> tuple[int, ...]:
        """The size that `cut` needs, to be stored with the tokens: here the length in bytes."""
        return (len(sample.data.encode()),)

    def cut(self, made: Sample, size: tuple[int, ...], sample_rate_hz: int | None) -> Sample:
        """A decoded sample at the extent and the rate of the original; ValueError where it is too small."""
        return made

    def encode_fitting(
        self, samples: Sequence[Sample], shape: tuple[int, ...], step: int
    ) -> list[Int[Tensor, "..."] | None]:
        """Ids of several samples in grids no larger than `shape`, None for what is empty or does not fit.

        The length of a sound becomes a multiple of `step` codes.
        """
        encoded = [self.encode(sample).ids for sample in samples]
        return [ids if 0 < len(ids) <= shape[0] else None for ids in encoded]

    def misfit(self, sample: Sample, shape: tuple[int, ...]) -> str:
        """Why a sample does not fit a grid, and the mend."""
        if not sample.data:
            return "the text is empty"
        length = len(self.encode(sample).ids)
        return f"the text has {length} tokens, this model takes at most {shape[0]}; shorten {sample.data[:24]!r}..."

    def seconds(self, codes: int) -> float | None:
        """How long so many codes of sound last; None for other modalities."""
        return None

    def longest(self, shape: tuple[int, ...]) -> str:
        """The longest that fits a grid, in words."""
        return f"{shape[0]} tokens"

    def known(
        self, sample: Sample, keep: Bool[Tensor, "H W"], shape: tuple[int, ...]
    ) -> tuple[Int[Tensor, "..."], Bool[Tensor, "..."]] | None:
        """Ids of a picture that is known where `keep` is True, and which of them are; None for other tokenizers."""
        return None
