"""What the tokenizers that are networks share."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vqfusion.nn.weights import fingerprint
from vqfusion.tokenizers.vqvae import VQVAE


class TokenizerNetwork(nn.Module, ABC):
    """A VQ-VAE between two ends: `prepare` takes a batch in the units of its modality to what the VQ-VAE sees, `finish`
    takes what the VQ-VAE gives back to them.

    What lies between is codes (`encode_batch`, `decode_batch`) or the vectors that the codes stand for (`to_latents`,
    `from_latents`; see `VQVAE`).
    """

    config: Any
    vqvae: VQVAE

    @abstractmethod
    def prepare(self, batch: Tensor) -> Float[Tensor, "B C ..."]:
        """Signals as the VQ-VAE takes them."""

    @abstractmethod
    def finish(self, signal: Float[Tensor, "B C ..."]) -> Tensor:
        """Signals of the VQ-VAE in the units of the modality."""

    @property
    def latent_channels(self) -> int:
        return self.vqvae.latent_channels

    @torch.no_grad()
    def encode_batch(self, batch: Tensor) -> Int[Tensor, "B ..."]:
        """Codes of signals of one size."""
        return self.vqvae.encode(self.prepare(batch))

    @torch.no_grad()
    def decode_batch(self, ids: Int[Tensor, "B ..."]) -> Tensor:
        """Signals of grids of codes."""
        return self.finish(self.vqvae.decode(ids))

    @torch.no_grad()
    def to_latents(self, batch: Tensor) -> Float[Tensor, "B D ..."]:
        """Latents of signals of one size, before they are quantised."""
        return self.vqvae.to_latents(self.prepare(batch))

    @torch.no_grad()
    def from_latents(self, z: Float[Tensor, "B D ..."], snap: bool = True) -> Tensor:
        """Signals of latents, which are taken to the nearest codes first unless `snap` is False."""
        return self.finish(self.vqvae.from_latents(z, snap))

    def fingerprint(self) -> str:
        """Changes whenever the meaning of an id changes."""
        return fingerprint(self.state_dict(), self.config.model_dump_json())
