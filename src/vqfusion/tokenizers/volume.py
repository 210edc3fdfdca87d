"""Volumes to codes and back."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from vqfusion.config import VolumeTokenizerConfig
from vqfusion.errors import UserError
from vqfusion.nn.blocks import extend_to_multiple
from vqfusion.tokenizers.network import TokenizerNetwork
from vqfusion.tokenizers.units import moments, restored, standardised, standardised_loss
from vqfusion.tokenizers.vqvae import VQVAE
from vqfusion.types import Sample, Tokens


class VolumeTokenizer(TokenizerNetwork):
    """A 3-D VQ-VAE over volumes `[1, D, H, W]` in any unit; their mean and deviation travel with the tokens.

    A side that is no multiple of the downsampling is extended by its edge. The spacing is not looked at: codes
    stand for voxels, not for millimetres.
    """

    modality = "volume"

    def __init__(self, config: VolumeTokenizerConfig):
        super().__init__()
        self.config = config
        self.vqvae = VQVAE(config.vqvae)
        self.codebook_size = self.vqvae.quantizer.codebook_size

    def encode(self, sample: Sample, search: int = 0) -> Tokens:
        if sample.data.shape[0] != 1:
            raise UserError(f"the tokenizer takes volumes of one channel, not {sample.data.shape[0]}")
        offset, scale = moments(sample.data)
        ids = self.encode_batch(standardised(sample.data, offset, scale)[None], search)[0]
        return Tokens(ids, self.codebook_size, self.modality, offset=offset, scale=scale)

    def decode(self, tokens: Tokens) -> Sample:
        return restored(Sample(self.modality, self.decode_batch(tokens.ids[None])[0]), tokens)

    def prepare(self, volumes: Float[Tensor, "B 1 D H W"]) -> Float[Tensor, "B 1 D2 H2 W2"]:
        """Volumes with mean 0 and deviation 1, extended to multiples of the downsampling."""
        return extend_to_multiple(volumes, self.vqvae.downsampling)

    def finish(self, signal: Float[Tensor, "B 1 D H W"]) -> Float[Tensor, "B 1 D H W"]:
        """Volumes with mean about 0 and deviation about 1, as they are."""
        return signal

    def distortion(self, volumes: Float[Tensor, "B 1 D H W"]) -> Callable[[Tensor], Float[Tensor, " B"]]:
        """Mean squared error in units of the deviation."""
        x = self.prepare(volumes)
        return lambda signal: (signal.float() - x).square().flatten(1).mean(dim=1)

    def loss(self, volumes: Float[Tensor, "B 1 D H W"]) -> tuple[Tensor, dict[str, Tensor]]:
        """Training loss: mean squared error of standardised voxels plus the quantizer's."""
        return standardised_loss(self.vqvae, volumes)
