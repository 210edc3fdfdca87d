"""Series to codes and back."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from vqfusion.config import SeriesTokenizerConfig
from vqfusion.nn.blocks import extend_to_multiple
from vqfusion.tokenizers.network import TokenizerNetwork
from vqfusion.tokenizers.units import moments, restored, standardised, standardised_loss
from vqfusion.tokenizers.vqvae import VQVAE
from vqfusion.types import Sample, Tokens


class SeriesTokenizer(TokenizerNetwork):
    """A 1-D VQ-VAE that takes each channel of a series `[C, T]` by itself, so that any number of them will do.

    Independent channels as in Nie, Nguyen, Sinthong, Kalagnanam (2023), "A time series is worth 64 words". Mean and
    deviation of each channel travel with the tokens. The end is extended by its last value. The rate is not looked
    at: codes stand for values, not for seconds.
    """

    modality = "series"

    def __init__(self, config: SeriesTokenizerConfig):
        super().__init__()
        self.config = config
        self.vqvae = VQVAE(config.vqvae)
        self.codebook_size = self.vqvae.quantizer.codebook_size

    def encode(self, sample: Sample, search: int = 0) -> Tokens:
        """Tokens `[C, T / downsampling]`."""
        offset, scale = moments(sample.data)
        ids = self.encode_batch(standardised(sample.data, offset, scale)[:, None], search)
        return Tokens(ids, self.codebook_size, self.modality, offset=offset, scale=scale)

    def decode(self, tokens: Tokens) -> Sample:
        return restored(Sample(self.modality, self.decode_batch(tokens.ids)[:, 0]), tokens)

    def prepare(self, channels: Float[Tensor, "B 1 T"]) -> Float[Tensor, "B 1 T2"]:
        """Channels with mean 0 and deviation 1, extended to a multiple of the downsampling."""
        return extend_to_multiple(channels, self.vqvae.downsampling)

    def finish(self, signal: Float[Tensor, "B 1 T"]) -> Float[Tensor, "B 1 T"]:
        """Channels with mean about 0 and deviation about 1, as they are."""
        return signal

    def distortion(self, channels: Float[Tensor, "B 1 T"]) -> Callable[[Tensor], Float[Tensor, " B"]]:
        """Mean squared error in units of the deviation."""
        x = self.prepare(channels)
        return lambda signal: (signal.float() - x).square().flatten(1).mean(dim=1)

    def loss(self, channels: Float[Tensor, "B 1 T"]) -> tuple[Tensor, dict[str, Tensor]]:
        """Training loss: mean squared error of standardised values plus the quantizer's."""
        return standardised_loss(self.vqvae, channels)
