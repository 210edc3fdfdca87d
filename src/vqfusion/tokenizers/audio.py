"""Audio tokenizer."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from vqfusion.config import AudioTokenizerConfig
from vqfusion.data.loudness import as_heard
from vqfusion.data.transforms import resample
from vqfusion.nn.spectrogram import compress_magnitude, expand_magnitude, griffin_lim, log_mel, stft
from vqfusion.tokenizers.pieces import cut_sound
from vqfusion.tokenizers.signal import SignalTokenizer
from vqfusion.tokenizers.vqvae import VQVAE
from vqfusion.types import Sample, Tokens

AT_ONCE = 64  # batch size of the network
JUDGED_S = 10  # seconds by which it is judged whether a sound is familiar


class AudioTokenizer(SignalTokenizer):
    """1-D VQ-VAE over the compressed magnitude spectrogram of mono sound in [-1, 1].

    One code for `samples_per_code` samples; the end is padded with silence. Phases are not coded: decoding reconstructs
    them by Griffin-Lim.
    """

    config_type = AudioTokenizerConfig
    modality = "audio"
    joins = True
    flat = True

    def __init__(self, config: AudioTokenizerConfig):
        super().__init__()
        self.config = config
        self.vqvae = VQVAE(config.vqvae)
        self.codebook_size = self.vqvae.quantizer.codebook_size
        self.samples_per_code = config.hop_samples * self.vqvae.downsampling
        hertz = torch.linspace(0, config.sample_rate_hz / 2, config.vqvae.channels)
        weights = 1 / (hertz + 700)  # derivative of the mel scale, up to a factor (O'Shaughnessy, 1987)
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

    @property
    def sample_rate_hz(self) -> int:
        return self.config.sample_rate_hz

    def fitted(self, sample: Sample) -> Sample:
        return super().fitted(resample(sample, self.config.sample_rate_hz))

    def extent(self, sample: Sample) -> tuple[int, ...]:
        return tuple(sample.data.shape[1:])

    def cut(self, made: Sample, size: tuple[int, ...], sample_rate_hz: int | None) -> Sample:
        sound = resample(replace(made, data=made.data.cpu()), sample_rate_hz or made.sample_rate_hz or 1)
        data = F.pad(sound.data, (0, max(0, size[0] - sound.data.shape[1]))).clamp(-1, 1)
        return super().cut(replace(sound, data=data), size, sample_rate_hz)

    def crop(self, image_size: int) -> tuple[int, ...]:
        """About one second, a whole number of codes."""
        step = self.samples_per_code
        return (self.config.sample_rate_hz // step * step,)

    def encode_fitting(
        self, samples: Sequence[Sample], shape: tuple[int, ...], step: int
    ) -> list[Int[Tensor, " n"] | None]:
        """As `BaseTokenizer.encode_fitting`, for sounds at any rate and of any level; equal lengths form one batch."""
        whole = self.samples_per_code * step
        out: list[Tensor | None] = [None] * len(samples)
        by_length: dict[int, list[tuple[int, Tensor]]] = {}
        for i, sample in enumerate(samples):
            sound = self._heard(sample)
            sound = F.pad(sound, (0, -sound.shape[1] % whole))
            if 0 < sound.shape[1] <= shape[0] * self.samples_per_code:
                by_length.setdefault(sound.shape[1], []).append((i, sound))
        for items in by_length.values():
            for at in range(0, len(items), AT_ONCE):
                part = items[at : at + AT_ONCE]
                ids = self.encode_batch(torch.cat([sound for _, sound in part]).to(self.device)).cpu()
                for (i, _), one in zip(part, ids, strict=True):
                    out[i] = one
        return out

    def _heard(self, sample: Sample) -> Float[Tensor, "1 T"]:
        return as_heard(sample, self.config.sample_rate_hz)

    @torch.no_grad()
    def mean_latents(self, sample: Sample, image_size: int) -> Float[Tensor, "1 D"]:
        """Mean latents of the beginning of a sound, which is made as loud as speech."""
        most = JUDGED_S * (sample.sample_rate_hz or self.config.sample_rate_hz)
        sound = self._heard(replace(sample, data=sample.data[:, :most]))
        return self.vqvae.encoder(self.prepare(sound.to(self.device))).mean(-1).cpu()

    def features(self, sample: Sample, values: int, step: int) -> Float[Tensor, "N F"]:
        rate = self.config.sample_rate_hz
        sound = self._heard(sample)
        sound = F.pad(sound, (0, -sound.shape[1] % (step * (rate // 100))))
        return log_mel(sound, rate, values)[0]

    def pieces(self, sample: Sample, shape: tuple[int, ...], step: int) -> list[Sample]:
        rate, whole = self.config.sample_rate_hz, self.samples_per_code * step
        most = shape[0] * self.samples_per_code
        if sample.data.shape[1] * rate <= most * (sample.sample_rate_hz or rate):
            return [sample]
        cut = cut_sound(self._heard(sample), most, whole, rate)
        return [Sample(self.modality, sound, sample_rate_hz=rate) for sound in cut]

    def joined(self, samples: Sequence[Sample]) -> Sample:
        return replace(samples[0], data=torch.cat([sample.data for sample in samples], dim=1))

    def seconds(self, codes: int) -> float:
        """Duration of this many codes."""
        return codes * self.samples_per_code / self.config.sample_rate_hz

    def misfit(self, sample: Sample, shape: tuple[int, ...]) -> str:
        lasts = sample.data.shape[1] / (sample.sample_rate_hz or 1)
        longest = self.seconds(shape[0])
        return f"the sound lasts {lasts:.2f} s, this model takes up to {longest:.2f} s; cut it into pieces"

    def longest(self, shape: tuple[int, ...]) -> str:
        return f"{self.seconds(shape[0]):.2g} s"

    def finish(self, signal: Float[Tensor, "B F N"]) -> Float[Tensor, "B T"]:
        """Sound in [-1, 1] from compressed magnitude frames."""
        compressed, config = signal.float(), self.config
        mag = expand_magnitude(torch.cat([compressed, compressed[..., -1:]], dim=-1))
        length = compressed.shape[-1] * config.hop_samples
        return griffin_lim(mag, config.window_samples, config.hop_samples, length, config.griffin_lim_steps).clamp(
            -1, 1
        )

    def prepare(self, sound: Float[Tensor, "B T"]) -> Float[Tensor, "B F N"]:
        """Compressed magnitude frames of sound, padded to a whole number of codes."""
        sound = F.pad(sound, (0, -sound.shape[1] % self.samples_per_code))
        return compress_magnitude(stft(sound, self.config.window_samples, self.config.hop_samples))[..., :-1]

    def distortion(self, sound: Float[Tensor, "B T"]) -> Callable[[Tensor], Float[Tensor, " B"]]:
        """Error of the compressed magnitudes, as in the training loss."""
        x = self.prepare(sound)

        def distortion(signal: Float[Tensor, "B F N"]) -> Float[Tensor, " B"]:
            error = ((signal.float() - x) * self.bin_weights).flatten(1)
            return error.abs().mean(dim=1) + error.square().mean(dim=1)

        return distortion

    def loss(self, sound: Float[Tensor, "B T"]) -> tuple[Tensor, dict[str, Tensor]]:
        """Training loss: mel-weighted error of the compressed magnitudes plus the quantizer's loss."""
        x = self.prepare(sound)
        out = self.vqvae(x)
        error = (out.signal.float() - x) * self.bin_weights
        spectral = error.abs().mean() + error.square().mean()
        report = {"spectral": spectral.detach(), "perplexity": out.codes.perplexity, "usage": out.codes.usage}
        return spectral + out.codes.loss, report
