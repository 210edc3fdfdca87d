"""Spectrograms of sound and the way back without phases."""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

FLOOR = 1e-3  # magnitudes under this are silence


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


def log_magnitude(spectrum: Complex[Tensor, "B F N"]) -> Float[Tensor, "B F N"]:
    """Magnitudes on a log scale, about [-1, 1.4] for sound in [-1, 1]: -1 is silence, 0.5 is a factor of 10."""
    return (spectrum.abs().clamp(min=FLOOR).log10() + 1) / 2


def magnitude(log_mag: Float[Tensor, "B F N"]) -> Float[Tensor, "B F N"]:
    """Inverse of `log_magnitude`; silence becomes zero."""
    mag = 10 ** (log_mag.clamp(-1, 1.5) * 2 - 1)
    return torch.where(mag <= FLOOR * 1.05, 0.0, mag)


def griffin_lim(
    mag: Float[Tensor, "B F N"], window: int, hop: int, length: int, steps: int = 32, momentum: float = 0.99
) -> Float[Tensor, "B T"]:
    """Sound whose spectrogram has these magnitudes: Perraudin, Balazs, Sondergaard (2013), fast Griffin-Lim.

    Deterministic: the first phases are those of a pulse at each frame, advanced by the hop.
    """
    bins, frames = mag.shape[1:]
    phase = torch.arange(bins, device=mag.device)[:, None] * torch.arange(frames, device=mag.device)
    angles = torch.polar(
        torch.ones_like(mag), (2 * torch.pi * hop / window * phase % (2 * torch.pi)).expand_as(mag)
    )
    previous = torch.zeros_like(angles)
    for _ in range(steps):
        rebuilt = stft(istft(mag * angles, window, hop, length), window, hop)
        angles = rebuilt - momentum / (1 + momentum) * previous
        angles = angles / angles.abs().clamp(min=1e-12)
        previous = rebuilt
    return istft(mag * angles, window, hop, length)
