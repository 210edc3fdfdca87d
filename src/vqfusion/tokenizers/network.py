"""Base of the tokenizers that are neural networks."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vqfusion.errors import UserError
from vqfusion.nn.pretrained import WEIGHTS, buildable
from vqfusion.nn.weights import fingerprint, half_precision, load_into, load_weights, require_room, save_weights
from vqfusion.tokenizers.base import BaseTokenizer
from vqfusion.tokenizers.search import search_codes
from vqfusion.tokenizers.vqvae import VQVAE
from vqfusion.types import Sample, Tokens

SEARCHABLE = 2**20  # positions of a signal (pixels, voxels, frames) whose gradient fits the memory


class TokenizerNetwork(nn.Module, BaseTokenizer, ABC):
    """A VQ-VAE with conversions: `prepare` from batches in the units of the modality to its input, `finish` back.

    Signals are encoded to codes (`encode_batch`, `decode_batch`) or to latents, the vectors before quantization
    (`to_latents`, `from_latents`; see `VQVAE`). A `batch` is `[B, C, *size]`, or `[B, T]` for sound and bytes.
    """

    vqvae: VQVAE

    @abstractmethod
    def encode(self, sample: Sample, search: int = 0) -> Tokens:
        """Tokens of a sample: the nearest codes, or better ones after `search` rounds of `search_codes`."""

    @abstractmethod
    def prepare(self, batch: Tensor) -> Float[Tensor, "B C ..."]:
        """Signals as the VQ-VAE takes them, from a `batch`."""

    @abstractmethod
    def finish(self, signal: Float[Tensor, "B C ..."]) -> Tensor:
        """Signals of the VQ-VAE in the units of the modality."""

    @abstractmethod
    def distortion(self, batch: Tensor) -> Callable[[Float[Tensor, "B C ..."]], Float[Tensor, " B"]]:
        """Function from decoder outputs to the error of each item of the `batch`; differentiable."""

    @abstractmethod
    def loss(self, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Training loss of a `batch`, and values to report."""

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def fitted(self, sample: Sample) -> Sample:
        return replace(sample, data=sample.data.to(self.device)) if isinstance(sample.data, Tensor) else sample

    @property
    def latent_channels(self) -> int:
        """Dimension of the latents."""
        return self.vqvae.latent_channels

    @torch.no_grad()
    def encode_batch(self, batch: Tensor, search: int = 0) -> Int[Tensor, "B ..."]:
        """Codes of signals of one size: the nearest, or better ones after `search` rounds of `search_codes`.

        Raises:
            UserError: A search was asked for in a signal of more than 2^20 positions, or with several codes per vector.
        """
        x = self.prepare(batch.to(next(self.parameters()).dtype) if batch.is_floating_point() else batch)
        ids = self.vqvae.encode(x)
        if not search:
            return ids
        positions = x.shape[2:].numel()
        if positions > SEARCHABLE:
            most = f"a search takes up to {SEARCHABLE} positions, this {self.modality} has {positions}"
            raise UserError(f"{most}; cut it or leave the search out")
        distortion = self.distortion(batch)
        try:
            return search_codes(ids, self.vqvae.quantizer, lambda z: distortion(self.vqvae.decoder(z)), search)
        except ValueError as error:
            raise UserError(f"{self.modality}: {error}; leave the search out") from None

    @torch.no_grad()
    def decode_batch(self, ids: Int[Tensor, "B ..."]) -> Tensor:
        """Signals of grids of codes."""
        return self.finish(self.vqvae.decode(ids))

    @torch.no_grad()
    def to_latents(self, batch: Tensor) -> Float[Tensor, "B D ..."]:
        """Latents of signals of one size, before quantization."""
        return self.vqvae.to_latents(self.prepare(batch))

    @torch.no_grad()
    def from_latents(self, z: Float[Tensor, "B D ..."], snap: bool = True) -> Tensor:
        """Signals of latents, which are quantized first unless `snap` is False."""
        return self.finish(self.vqvae.from_latents(z, snap))

    def fingerprint(self) -> str:
        """Identifier that changes whenever the meaning of an id changes."""
        return fingerprint(self.state_dict(), self.config.model_dump_json())

    def write_own(self, folder: Path, name: str | None) -> None:
        save_weights(folder / _weights(name), half_precision(self.state_dict()))

    @classmethod
    def read_own(cls, config: Any, folder: Path, name: str | None) -> Any:
        path = folder / _weights(name)
        require_room(path, config.vqvae.least_parameters)
        with buildable(folder):
            network = cls.from_config(config)
        load_into(network, load_weights(path), path)
        return network.eval()


def _weights(name: str | None) -> str:
    return f"tokenizer-{name}.safetensors" if name else WEIGHTS
