"""The VQ-VAE: encoder, quantizer and decoder over signals of any rank."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vqfusion.config import VQVAEConfig, validated
from vqfusion.errors import UserError
from vqfusion.nn.conv import VQVAEDecoder, VQVAEEncoder
from vqfusion.nn.pretrained import Pretrained
from vqfusion.nn.tiles import run_tiled
from vqfusion.tokenizers.quantizers import QUANTIZERS, Quantizer
from vqfusion.types import Quantized


@dataclass(frozen=True)
class Reconstruction:
    """Output of a VQ-VAE.

    Attributes:
        signal: Reconstruction `[B, C, *size]`.
        codes: Output of the quantizer.
    """

    signal: Tensor
    codes: Quantized


class VQVAE(nn.Module, Pretrained):
    """Compress signals `[B, channels, *size]` to code indices `[B, *grid]` and back: van den Oord et al. (2017).

    Every axis of `size` must be a multiple of `downsampling`. A quantizer with several codes per vector adds a last
    axis to the indices. Latents are quantized in float32.

    Args:
        config: The hyperparameters; or these themselves, as `VQVAE(channels=1, codebook_size=64)`.
    """

    kind = "vqvae"
    config_type = VQVAEConfig

    def __init__(self, config: VQVAEConfig | None = None, **options: Any):
        super().__init__()
        if config is not None and options:
            raise UserError(f"give a config or {', '.join(options)}, not both")
        config = config or validated(VQVAEConfig, options, "VQVAE(...)")
        self.config = config
        self.quantizer = build_quantizer(config)
        shape = dict(dim=self.quantizer.dim, widths=config.widths, depths=config.depths, rank=config.rank)
        self.encoder = VQVAEEncoder(config.channels, **shape)
        self.decoder = VQVAEDecoder(config.channels, **shape)
        self.downsampling = self.encoder.downsampling * self.quantizer.downsampling

    def forward(self, x: Float[Tensor, "B C ..."]) -> Reconstruction:
        """Encode, quantize and decode; gradients pass through the quantizer."""
        self._check(x)
        codes = self.quantizer(self.encoder(x).float())
        return Reconstruction(self.decoder(codes.quantized), codes)

    @torch.no_grad()
    def encode(self, x: Float[Tensor, "B C ..."]) -> Int[Tensor, "B ..."]:
        """Indices of the nearest codes, for signals of any size in bounded memory (see `nn/tiles.py`)."""
        self._check(x)
        return self.quantizer.encode(run_tiled(self.encoder, x, down=self.encoder.downsampling).float())

    @torch.no_grad()
    def decode(self, indices: Int[Tensor, "B ..."]) -> Float[Tensor, "B C ..."]:
        """Signal of a grid of indices of any size, in bounded memory."""
        return run_tiled(self.decoder, self.quantizer.indices_to_codes(indices), up=self.encoder.downsampling)

    @property
    def latent_channels(self) -> int:
        """Dimension of the latents and code vectors."""
        return self.encoder.dim

    @torch.no_grad()
    def to_latents(self, x: Float[Tensor, "B C ..."]) -> Float[Tensor, "B D ..."]:
        """Latents of a signal before quantization, in float32."""
        self._check(x)
        return run_tiled(self.encoder, x, down=self.encoder.downsampling).float()

    @torch.no_grad()
    def from_latents(self, z: Float[Tensor, "B D ..."], snap: bool = True) -> Float[Tensor, "B C ..."]:
        """Signal of latents; with `snap` they are quantized first, as the decoder saw them in training."""
        if snap:
            return self.decode(self.quantizer.encode(z))
        return run_tiled(self.decoder, z, up=self.encoder.downsampling)

    def _check(self, x: Tensor) -> None:
        if any(n % self.downsampling for n in x.shape[2:]) or x.shape[1] != self.config.channels:
            raise ValueError(
                f"the VQ-VAE takes {self.config.channels} channels and sizes that are multiples of "
                f"{self.downsampling}, not {tuple(x.shape[1:])}"
            )


def build_quantizer(config: VQVAEConfig, channel_first: bool = True) -> Quantizer:
    """Build the quantizer of a config; UserError where it does not take the options."""
    kind = QUANTIZERS[config.quantizer]
    shape = {key: getattr(config, key) for key in kind.config_keys}
    try:
        return kind(**{**shape, "channel_first": channel_first, **config.options})
    except TypeError as error:
        raise UserError(f"quantizer {config.quantizer!r} with options {config.options}: {error}") from None
