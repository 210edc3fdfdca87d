"""Tokenizer of text by a VQ-VAE over its bytes."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from vqfusion.config import TextVQVAEConfig
from vqfusion.tokenizers.network import TokenizerNetwork
from vqfusion.tokenizers.vqvae import VQVAE
from vqfusion.types import Sample, Tokens

END = 0  # padding of the last code; the byte 0 does not occur in text


class TextVQVAETokenizer(TokenizerNetwork):
    """1-D VQ-VAE over embeddings of UTF-8 bytes, with a categorical distribution over each reconstructed byte.

    One code for `downsampling` bytes. Unlike BPE it may be lossy, and bytes that form no character become U+FFFD.
    Reconstruction by cross-entropy as in the discrete autoencoders of Kaiser et al. (2018), "Fast decoding in sequence
    models using discrete latent variables".
    """

    config_type = TextVQVAEConfig
    modality = "text"

    def __init__(self, config: TextVQVAEConfig):
        super().__init__()
        self.config = config
        self.vqvae = VQVAE(config.vqvae)
        self.codebook_size = self.vqvae.quantizer.codebook_size
        self.embedding = nn.Embedding(256, config.vqvae.channels)
        self.head = nn.Linear(config.vqvae.channels, 256)

    def encode(self, sample: Sample, search: int = 0) -> Tokens:
        text = torch.tensor(list(sample.data.encode()), dtype=torch.int64, device=self.head.weight.device)
        return Tokens(self.encode_batch(text[None], search)[0], self.codebook_size, self.modality)

    def decode(self, tokens: Tokens) -> Sample:
        text = bytes(self.decode_batch(tokens.ids[None])[0].tolist())
        return Sample(self.modality, text.rstrip(b"\0").replace(b"\0", b"").decode(errors="replace"))

    def finish(self, signal: Float[Tensor, "B E T"]) -> Int[Tensor, "B T"]:
        """Most probable byte at each position."""
        return self.head(signal.movedim(1, -1)).argmax(dim=-1)

    def distortion(self, text: Int[Tensor, "B T"]) -> Callable[[Tensor], Float[Tensor, " B"]]:
        """Cross-entropy of the bytes, in nats."""
        padded = F.pad(text, (0, -text.shape[1] % self.vqvae.downsampling), value=END)

        def distortion(signal: Float[Tensor, "B E T"]) -> Float[Tensor, " B"]:
            logits = self.head(signal.movedim(1, -1)).float().movedim(-1, 1)
            return F.cross_entropy(logits, padded, reduction="none").mean(dim=1)

        return distortion

    def loss(self, text: Int[Tensor, "B T"]) -> tuple[Tensor, dict[str, Tensor]]:
        """Training loss: cross-entropy of the bytes plus the quantizer's loss; `accuracy` counts real bytes only."""
        out = self.vqvae(self.prepare(text))
        logits = self.head(out.signal.movedim(1, -1)).float()
        text = F.pad(text, (0, logits.shape[1] - text.shape[1]))
        entropy = F.cross_entropy(logits.flatten(0, 1), text.flatten())
        real = text != END
        right = (logits.detach().argmax(dim=-1) == text)[real].float().mean()
        return entropy + out.codes.loss, {
            "nats_per_byte": entropy.detach(),
            "accuracy": right,
            "perplexity": out.codes.perplexity,
            "usage": out.codes.usage,
        }

    def prepare(self, text: Int[Tensor, "B T"]) -> Float[Tensor, "B E T2"]:
        """Embeddings of byte sequences, padded with 0 to a whole number of codes."""
        padded = F.pad(text, (0, -text.shape[1] % self.vqvae.downsampling), value=END)
        return self.embedding(padded).movedim(-1, 1)
