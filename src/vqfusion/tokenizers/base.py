"""The interface of all tokenizers beyond `encode` and `decode`."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vqfusion.tokenizers.kept import KeptTokenizer
from vqfusion.types import Sample, Tokens


class BaseTokenizer(KeptTokenizer):
    """Base of all tokenizers; the defaults are those of text and labels, `SignalTokenizer` overrides them for signals.

    `closed` is True where each id is one of a closed list of `names`, not a part of a signal or text; `joins` where
    consecutive samples can be joined to one.
    """

    modality: str
    codebook_size: int
    closed: ClassVar[bool] = False
    joins: ClassVar[bool] = False
    names: tuple[str, ...] = ()

    def encode(self, sample: Sample, search: int = 0) -> Tokens:
        """Tokens of a sample; networks look for better codes in `search` rounds of `search_codes`."""
        raise NotImplementedError

    def decode(self, tokens: Tokens) -> Sample:
        """Sample that the tokens stand for."""
        raise NotImplementedError

    @property
    def device(self) -> torch.device:
        """Device on which ids are decoded."""
        return torch.device("cpu")

    @property
    def sample_rate_hz(self) -> int | None:
        """Sample rate of decoded sound; None for other modalities."""
        return None

    @property
    def codebook(self) -> Tensor | None:
        """Code vectors `[codebook_size, D]`; None where an id has no vector, or a vector several ids."""
        return None

    def fitted(self, sample: Sample) -> Sample:
        """The sample as `encode` takes it: on the device of the tokenizer, sound at its sample rate."""
        return sample

    def is_unfamiliar(self, sample: Sample, image_size: int) -> bool:
        """Whether a sample is unlike those that the tokenizer was trained on; False where nothing is known of them.

        Args:
            sample: The sample.
            image_size: Pixels a side to which pictures are fitted first.
        """
        if self.familiarity is None or (latents := self.mean_latents(sample, image_size)) is None:
            return False
        return float(self.familiarity.distance(latents)[0]) > self.familiarity.most

    def mean_latents(self, sample: Sample, image_size: int) -> Float[Tensor, "1 D"] | None:
        """Features of a sample for its `familiarity`, arguments as in `is_unfamiliar`; None where there are none."""
        return None

    def sized(self, sample: Sample, image_size: int) -> Sample:
        """A picture resized to `image_size` pixels a side; other samples unchanged."""
        return sample

    def extent(self, sample: Sample) -> tuple[int, ...]:
        """Original size, stored with the tokens for `cut`; here the length in bytes."""
        return (len(sample.data.encode()),)

    def cut(self, made: Sample, size: tuple[int, ...], sample_rate_hz: int | None) -> Sample:
        """Cut a decoded sample to the size and sample rate of the original.

        Args:
            made: Decoded sample, possibly larger than the original because of padding.
            size: The original size, from `extent`.
            sample_rate_hz: Sample rate of the original; None for other modalities than sound.

        Returns:
            The sample in the size of the original.

        Raises:
            ValueError: The decoded sample is smaller than the original.
        """
        return made

    def encode_fitting(
        self, samples: Sequence[Sample], shape: tuple[int, ...], step: int
    ) -> list[Int[Tensor, "..."] | None]:
        """Ids of several samples, each in a grid no larger than `shape`.

        Args:
            samples: Samples of the modality.
            shape: Largest grid of tokens.
            step: The length of a sound is padded to a multiple of this many codes.

        Returns:
            Ids for each sample; None where it is empty or does not fit.
        """
        encoded = [self.encode(sample).ids for sample in samples]
        return [ids if 0 < len(ids) <= shape[0] else None for ids in encoded]

    def features(self, sample: Sample, values: int, step: int) -> Float[Tensor, "N F"]:
        """Continuous frames of a sample, for models that are given these instead of tokens.

        Args:
            sample: A sample of the modality.
            values: Number of values of a frame.
            step: Multiple of which the number of frames is.
        """
        raise NotImplementedError

    def pieces(self, sample: Sample, shape: tuple[int, ...], step: int) -> list[Sample]:
        """Pieces of a sample that each fit a grid, in order; the sample itself where it fits or cannot be cut.

        Args:
            sample: A sample of the modality.
            shape: Largest grid of tokens.
            step: Multiple of which the number of codes of a sound is.
        """
        return [sample]

    def joined(self, samples: Sequence[Sample]) -> Sample:
        """One sample out of consecutive ones; only where `joins`."""
        raise NotImplementedError

    def misfit(self, sample: Sample, shape: tuple[int, ...]) -> str:
        """Message for the user: why a sample does not fit a grid, and how to fix it."""
        if not sample.data:
            return "the text is empty"
        length = len(self.encode(sample).ids)
        return f"the text has {length} tokens, this model takes at most {shape[0]}; shorten {sample.data[:24]!r}..."

    def seconds(self, codes: int) -> float | None:
        """Duration of this many codes of sound; None for other modalities."""
        return None

    def longest(self, shape: tuple[int, ...]) -> str:
        """Largest sample that fits a grid, in words."""
        return f"{shape[0]} tokens"

    def known(
        self, sample: Sample, keep: Bool[Tensor, "H W"], shape: tuple[int, ...]
    ) -> tuple[Int[Tensor, "..."], Bool[Tensor, "..."]] | None:
        """Tokens of a picture that is known only in part; None for other tokenizers.

        Args:
            sample: The picture.
            keep: True at known pixels.
            shape: Grid of tokens.

        Returns:
            Ids, and a mask that is True where a token is known.
        """
        return None
