"""Sound to codes and back."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.config import AudioTokenizerConfig
from vqfusion.nn.spectrogram import compress_magnitude, expand_magnitude, griffin_lim, stft
from vqfusion.tokenizers.network import TokenizerNetwork
from vqfusion.tokenizers.vqvae import VQVAE
from vqfusion.types import Sample, Tokens


class AudioTokenizer(TokenizerNetwork):
    """A 1-D VQ-VAE over the compressed magnitude spectrogram of mono sound in [-1, 1].

    One code per `samples_per_code` samples; the end is padded with silence. Phases are not coded: decoding
    rebuilds them by Griffin-Lim.
    """

    modality = "audio"

    def __init__(self, config: AudioTokenizerConfig):
        super().__init__()
        self.config = config
        self.vqvae = VQVAE(config.vqvae)
        self.codebook_size = self.vqvae.quantizer.codebook_size
        self.samples_per_code = config.hop_samples * self.vqvae.downsampling
        hertz = torch.linspace(0, config.sample_rate_hz / 2, config.vqvae.channels)
        weights = 1 / (hertz + 700)  # slope of the mel scale (O'Shaughnessy, 1987)
        self.register_buffer("bin_weights", (weights / weights.mean())[None, :, None], persistent=False)

    def encode(self, sample: Sample, search: int = 0) -> Tokens:
        if sample.sample_rate_hz != self.config.sample_rate_hz:
            raise ValueError(
                f"the tokenizer takes sound at {self.config.sample_rate_hz} Hz, not {sample.sample_rate_hz} Hz; "
                "resample it first"
            )
        return Tokens(self.encode_batch(sample.data, search)[0], self.codebook_size, self.modality)

    def decode(self, tokens: Tokens) -> Sample:
        sound = self.decode_batch(tokens.ids[None])
        return Sample(self.modality, sound, sample_rate_hz=self.config.sample_rate_hz)

    def finish(self, signal: Float[Tensor, "B F N"]) -> Float[Tensor, "B T"]:
        """Sounds in [-1, 1] of compressed magnitude frames."""
        compressed, config = signal.float(), self.config
        mag = expand_magnitude(torch.cat([compressed, compressed[..., -1:]], dim=-1))
        length = compressed.shape[-1] * config.hop_samples
        return griffin_lim(mag, config.window_samples, config.hop_samples, length, config.griffin_lim_steps).clamp(
            -1, 1
        )

    def prepare(self, sound: Float[Tensor, "B T"]) -> Float[Tensor, "B F N"]:
        """Compressed magnitude frames of sound that is padded to whole codes."""
        sound = torch.nn.functional.pad(sound, (0, -sound.shape[1] % self.samples_per_code))
        return compress_magnitude(stft(sound, self.config.window_samples, self.config.hop_samples))[..., :-1]

    def distortion(self, sound: Float[Tensor, "B T"]) -> Callable[[Tensor], Float[Tensor, " B"]]:
        """Error of the compressed magnitudes, as in training."""
        x = self.prepare(sound)

        def distortion(signal: Float[Tensor, "B F N"]) -> Float[Tensor, " B"]:
            error = ((signal.float() - x) * self.bin_weights).flatten(1)
            return error.abs().mean(dim=1) + error.square().mean(dim=1)

        return distortion

    def loss(self, sound: Float[Tensor, "B T"]) -> tuple[Tensor, dict[str, Tensor]]:
        """Training loss: error of the compressed magnitudes, weighted along the mel scale, plus the quantizer's."""
        x = self.prepare(sound)
        out = self.vqvae(x)
        error = (out.signal.float() - x) * self.bin_weights
        spectral = error.abs().mean() + error.square().mean()
        report = {"spectral": spectral.detach(), "perplexity": out.codes.perplexity, "usage": out.codes.usage}
        return spectral + out.codes.loss, report
