"""The VQ-VAE: encoder, quantizer and decoder over signals of any rank."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vqfusion.config import VQVAEConfig
from vqfusion.nn.conv import VQVAEDecoder, VQVAEEncoder
from vqfusion.tokenizers.quantizers import FiniteScalarQuantizer, Quantizer, VectorQuantizer
from vqfusion.types import Quantized


@dataclass(frozen=True)
class Reconstruction:
    """Output of the VQ-VAE: the signal `[B, C, *size]` and what the quantizer reports."""

    signal: Tensor
    codes: Quantized


class VQVAE(nn.Module):
    """Compress `[B, channels, *size]` to indices `[B, *grid]` and back: van den Oord et al. (2017).

    Every axis of `size` must be a multiple of `downsampling`. Latents are taken to the quantizer in float32.
    """

    def __init__(self, config: VQVAEConfig):
        super().__init__()
        self.config = config
        self.quantizer = build_quantizer(config)
        shape = dict(dim=self.quantizer.dim, widths=config.widths, depths=config.depths, rank=config.rank)
        self.encoder = VQVAEEncoder(config.channels, **shape)
        self.decoder = VQVAEDecoder(config.channels, **shape)
        self.downsampling = self.encoder.downsampling

    def forward(self, x: Float[Tensor, "B C ..."]) -> Reconstruction:
        self._check(x)
        codes = self.quantizer(self.encoder(x).float())
        return Reconstruction(self.decoder(codes.quantized), codes)

    @torch.no_grad()
    def encode(self, x: Float[Tensor, "B C ..."]) -> Int[Tensor, "B ..."]:
        """Indices of the nearest codes."""
        self._check(x)
        return self.quantizer(self.encoder(x).float()).indices

    @torch.no_grad()
    def decode(self, indices: Int[Tensor, "B ..."]) -> Float[Tensor, "B C ..."]:
        """Signal of a grid of indices."""
        return self.decoder(self.quantizer.indices_to_codes(indices))

    def _check(self, x: Tensor) -> None:
        if any(n % self.downsampling for n in x.shape[2:]) or x.shape[1] != self.config.channels:
            raise ValueError(
                f"the VQ-VAE takes {self.config.channels} channels and sizes that are multiples of "
                f"{self.downsampling}, not {tuple(x.shape[1:])}"
            )


def build_quantizer(config: VQVAEConfig) -> Quantizer:
    """The quantizer that a config names."""
    if config.quantizer == "fsq":
        return FiniteScalarQuantizer(config.levels, channel_first=True)
    return VectorQuantizer(config.codebook_size, config.dim, decay=config.decay, channel_first=True)
