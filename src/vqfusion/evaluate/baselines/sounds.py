"""Baselines for sound: Opus at a similar rate, MFCC statistics with a linear classifier."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.types import UserError


@dataclass(frozen=True)
class OpusResult:
    """Sounds after Opus.

    Attributes:
        sounds: Decoded sounds.
        bits_per_second: Measured rate of the Ogg stream, container included.
    """

    sounds: list[Tensor]
    bits_per_second: float


def opus(sounds: Sequence[Float[Tensor, "1 T"]], sample_rate_hz: int) -> OpusResult:
    """Encode all sounds by Opus at the lowest rate of libsndfile (nominally 6 kbit/s), and decode.

    The sounds form one stream with 0.1 s of silence between them, so that the Ogg header counts once and not for every
    short clip, which favours Opus.
    """
    import soundfile

    if sample_rate_hz not in (8000, 12000, 16000, 24000, 48000):
        raise UserError(f"Opus codes 8, 12, 16, 24 or 48 kHz, not {sample_rate_hz} Hz: resample first")
    if not sounds:
        raise UserError("no sound to code")
    gap = torch.zeros(sample_rate_hz // 10)
    parts = [part for sound in sounds for part in (sound.reshape(-1).cpu().float(), gap)]
    stream = torch.cat(parts).numpy()
    buffer = io.BytesIO()
    soundfile.write(buffer, stream, sample_rate_hz, format="OGG", subtype="OPUS", compression_level=1.0)
    size = buffer.tell()
    buffer.seek(0)
    decoded, rate = soundfile.read(buffer, dtype="float32")
    if rate != sample_rate_hz:
        import soxr

        decoded = soxr.resample(decoded, rate, sample_rate_hz)
    decoded = torch.from_numpy(np.ascontiguousarray(decoded))
    back, start = [], 0
    for sound in sounds:
        length = sound.shape[-1]
        back.append(decoded[start : start + length][None])
        start += length + len(gap)
    return OpusResult(back, 8 * size * sample_rate_hz / len(stream))


def mfcc(
    sound: Float[Tensor, "1 T"], sample_rate_hz: int, coefficients: int = 20, floor: float = 0.0
) -> Float[Tensor, "D F"]:
    """Mel-frequency cepstral coefficients of F frames: Davis, Mermelstein (1980).

    Hann windows of 25 ms every 10 ms, 40 mel bands (O'Shaughnessy's scale) up to half the sample rate, logarithm,
    orthonormal cosine transform.

    Args:
        sound: The sound.
        sample_rate_hz: Its rate.
        coefficients: Number of coefficients.
        floor: Share of the largest energy of a band that is added to all, so that silence of any kind is alike.

    Returns:
        The coefficients.
    """
    window, hop, bands = round(0.025 * sample_rate_hz), round(0.010 * sample_rate_hz), 40
    size = 2 ** math.ceil(math.log2(window))
    wave = sound.reshape(-1).float()
    wave = torch.nn.functional.pad(wave, (0, max(0, window - len(wave))))
    frames = wave.unfold(0, window, hop) * torch.hann_window(window, periodic=False)
    power = torch.fft.rfft(frames, size).abs().square()  # [F, size/2 + 1]
    top = 2595 * math.log10(1 + sample_rate_hz / 2 / 700)
    edge_hz = 700 * (10 ** (torch.linspace(0, top, bands + 2) / 2595) - 1)
    frequency_hz = torch.linspace(0, sample_rate_hz / 2, size // 2 + 1)
    rise = (frequency_hz - edge_hz[:-2, None]) / (edge_hz[1:-1] - edge_hz[:-2])[:, None]
    fall = (edge_hz[2:, None] - frequency_hz) / (edge_hz[2:] - edge_hz[1:-1])[:, None]
    energy = power @ torch.minimum(rise, fall).clamp_min(0).T  # [F, bands]
    mel = torch.log(energy + floor * energy.max() + 1e-8)
    row, column = torch.arange(coefficients)[:, None], torch.arange(bands)[None]
    cosine = torch.cos(math.pi / bands * (column + 0.5) * row) * math.sqrt(2 / bands)
    cosine[0] /= math.sqrt(2)
    return cosine @ mel.T


def mfcc_statistics(sound: Float[Tensor, "1 T"], sample_rate_hz: int, floor: float = 0.0) -> Float[Tensor, " S"]:
    """Mean and standard deviation over time of 20 MFCCs and of their differences over 4 frames: 80 numbers."""
    static = mfcc(sound, sample_rate_hz, floor=floor)
    padded = torch.nn.functional.pad(static[None], (2, 2), mode="replicate")[0]
    both = torch.cat([static, padded[:, 4:] - padded[:, :-4]])
    return torch.cat([both.mean(1), both.std(1, unbiased=False)])


class MfccClassifier:
    """Speaker recognition by logistic regression on MFCC statistics."""

    def __init__(self):
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        self.model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))

    def fit(
        self, sounds: Sequence[Float[Tensor, "1 T"]], sample_rate_hz: int, labels: Sequence[str]
    ) -> "MfccClassifier":
        """Train on labelled sounds."""
        self.sample_rate_hz = sample_rate_hz
        self.model.fit(self._features(sounds), list(labels))
        return self

    def predict(self, sounds: Sequence[Float[Tensor, "1 T"]]) -> list[str]:
        """Predicted label of each sound."""
        return [str(label) for label in self.model.predict(self._features(sounds))]

    def _features(self, sounds: Sequence[Tensor]) -> np.ndarray:
        return torch.stack([mfcc_statistics(sound, self.sample_rate_hz) for sound in sounds]).numpy()
