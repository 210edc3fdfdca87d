"""Spectrograms of sound, and sound from magnitude spectrograms."""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

EXPONENT = 0.3  # power-law compression of magnitudes: close to perceived loudness, with silence at zero


def stft(x: Float[Tensor, "B T"], window: int, hop: int) -> Complex[Tensor, "B F N"]:
    """Short-time Fourier transform with a Hann window; N = T / hop + 1 frames, frame i centred at sample i * hop."""
    return torch.stft(
        x,
        window,
        hop,
        window=torch.hann_window(window, device=x.device),
        center=True,
        pad_mode="constant",
        return_complex=True,
    )


def istft(spectrum: Complex[Tensor, "B F N"], window: int, hop: int, length: int) -> Float[Tensor, "B T"]:
    """Least-squares inverse of `stft`."""
    return torch.istft(
        spectrum,
        window,
        hop,
        window=torch.hann_window(window, device=spectrum.device),
        center=True,
        length=length,
    )


def compress_magnitude(spectrum: Complex[Tensor, "B F N"]) -> Float[Tensor, "B F N"]:
    """Magnitudes to the power 0.3, shifted: -0.5 is silence, speech in [-1, 1] peaks near 1.5."""
    return spectrum.abs() ** EXPONENT - 0.5


def mel_filters(bins: int, sample_rate_hz: int, bands: int) -> Float[Tensor, "bands F"]:
    """Triangular filters at equal distances on the mel scale (O'Shaughnessy, 1987) over the bins of a spectrum."""
    hertz = torch.linspace(0, sample_rate_hz / 2, bins)
    mels = 2595 * torch.log10(1 + hertz / 700)
    centres = torch.linspace(0, float(mels[-1]), bands + 2)
    width = centres[1]
    return (1 - (mels[None] - centres[1:-1, None]).abs() / width).clamp(min=0)


def log_mel(sound: Float[Tensor, "B T"], sample_rate_hz: int, bands: int) -> Float[Tensor, "B N bands"]:
    """Logarithm of the energy in mel bands, a frame every 10 ms with a window of 32 ms, without the gain of the sound.

    The mean over frames and bands is subtracted, values over 80 dB below the largest are raised to that, and the result
    is divided by 3, about its standard deviation.
    """
    window, hop = round(0.032 * sample_rate_hz), sample_rate_hz // 100
    power = stft(sound, window, hop)[..., :-1].abs().square()
    filters = mel_filters(power.shape[1], sample_rate_hz, bands).to(sound.device)
    energy = (filters @ power).clamp(min=1e-12).log()
    energy = torch.maximum(energy, energy.amax(dim=(1, 2), keepdim=True) - 18.4)
    return ((energy - energy.mean(dim=(1, 2), keepdim=True)) / 3).transpose(1, 2)


def expand_magnitude(compressed: Float[Tensor, "B F N"]) -> Float[Tensor, "B F N"]:
    """Inverse of `compress_magnitude`; values below silence become silence."""
    return (compressed + 0.5).clamp(0, 4) ** (1 / EXPONENT)


def griffin_lim(
    mag: Float[Tensor, "B F N"], window: int, hop: int, length: int, steps: int = 32, momentum: float = 0.99
) -> Float[Tensor, "B T"]:
    """Sound with the given magnitude spectrogram: Perraudin, Balazs, Sondergaard (2013), "fast Griffin-Lim".

    Deterministic: the initial phases are those of a pulse, advanced by the hop from frame to frame.

    Args:
        mag: Magnitudes.
        window: Window length in samples.
        hop: Hop in samples.
        length: Length of the sound in samples.
        steps: Number of iterations.
        momentum: Acceleration; 0 is the method of Griffin and Lim (1984).

    Returns:
        The sound.
    """
    bins, frames = mag.shape[1:]
    phase = torch.arange(bins, device=mag.device)[:, None] * torch.arange(frames, device=mag.device)
    angles = torch.polar(torch.ones_like(mag), (2 * torch.pi * hop / window * phase % (2 * torch.pi)).expand_as(mag))
    previous = torch.zeros_like(angles)
    for _ in range(steps):
        rebuilt = stft(istft(mag * angles, window, hop, length), window, hop)
        angles = rebuilt - momentum / (1 + momentum) * previous
        angles = angles / angles.abs().clamp(min=1e-12)
        previous = rebuilt
    return istft(mag * angles, window, hop, length)
