"""Base of the tokenizers of signals: pictures, sounds, volumes, series."""

from abc import abstractmethod
from dataclasses import replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.tokenizers.network import TokenizerNetwork
from vqfusion.types import Sample


class SignalTokenizer(TokenizerNetwork):
    """A tokenizer network over signals that are sampled along axes; with `flat`, batches have no channel axis."""

    flat: ClassVar[bool] = False

    @abstractmethod
    def crop(self, image_size: int) -> tuple[int, ...]:
        """Size of a training sample along each axis; pictures are `image_size` pixels wide and high."""

    @property
    def codebook(self) -> Float[Tensor, "K D"] | None:
        quantizer = self.vqvae.quantizer
        if quantizer.index_shape((8,)) != (8,):
            return None
        return quantizer.lookup(torch.arange(self.codebook_size, device=self.device)).cpu()

    def extent(self, sample: Sample) -> tuple[int, ...]:
        return tuple(sample.data.shape)

    def cut(self, made: Sample, size: tuple[int, ...], sample_rate_hz: int | None) -> Sample:
        data = made.data.cpu()
        extent = (len(data), *size[-(data.ndim - 1) :])
        if any(wanted > there for wanted, there in zip(extent, data.shape, strict=True)):
            raise ValueError(f"{list(data.shape)} holds no {list(size)}")
        return replace(made, data=data[tuple(slice(n) for n in extent)])
