"""Tokenizer of signals in any unit and of any rank."""

from collections.abc import Callable
from typing import Any

from jaxtyping import Float
from torch import Tensor

from vqfusion.errors import UserError
from vqfusion.modalities import MODALITIES
from vqfusion.nn.blocks import extend_to_multiple
from vqfusion.tokenizers.signal import SignalTokenizer
from vqfusion.tokenizers.units import moments, restored, standardised, standardised_loss
from vqfusion.tokenizers.vqvae import VQVAE
from vqfusion.types import Sample, Tokens


class StandardisedTokenizer(SignalTokenizer):
    """VQ-VAE over signals `[1, *size]` in any unit; mean and standard deviation are stored with the tokens.

    `config.kind` is the modality, `config.crop` the size of a training sample along each axis. A side that is not a
    multiple of the downsampling is padded by repeating its edge. The spacing is ignored: codes stand for values, not
    for millimetres or seconds.
    """

    def __init__(self, config: Any):
        super().__init__()
        self.config = config
        self.modality = config.kind
        self.vqvae = VQVAE(config.vqvae)
        self.codebook_size = self.vqvae.quantizer.codebook_size

    def encode(self, sample: Sample, search: int = 0) -> Tokens:
        if sample.data.shape[0] != 1:
            plural = MODALITIES[self.modality].plural
            raise UserError(f"the tokenizer takes {plural} of one channel, not {sample.data.shape[0]}")
        offset, scale = moments(sample.data)
        ids = self.encode_batch(standardised(sample.data, offset, scale)[None], search)[0]
        return Tokens(ids, self.codebook_size, self.modality, offset=offset, scale=scale)

    def decode(self, tokens: Tokens) -> Sample:
        return restored(Sample(self.modality, self.decode_batch(tokens.ids[None])[0]), tokens)

    def extent(self, sample: Sample) -> tuple[int, ...]:
        return tuple(sample.data.shape[1:])

    def crop(self, image_size: int) -> tuple[int, ...]:
        return (self.config.crop,) * self.config.vqvae.rank

    def prepare(self, signals: Float[Tensor, "B 1 ..."]) -> Float[Tensor, "B 1 ..."]:
        """Pad standardised signals to multiples of the downsampling."""
        return extend_to_multiple(signals, self.vqvae.downsampling)

    def finish(self, signal: Float[Tensor, "B 1 ..."]) -> Float[Tensor, "B 1 ..."]:
        """Return standardised signals unchanged; `decode` restores their unit."""
        return signal

    def distortion(self, signals: Float[Tensor, "B 1 ..."]) -> Callable[[Tensor], Float[Tensor, " B"]]:
        """Mean squared error of standardised values."""
        x = self.prepare(signals)
        return lambda signal: (signal.float() - x).square().flatten(1).mean(dim=1)

    def loss(self, signals: Float[Tensor, "B 1 ..."]) -> tuple[Tensor, dict[str, Tensor]]:
        """Training loss: mean squared error of standardised values plus the quantizer's loss."""
        return standardised_loss(self.vqvae, signals)
