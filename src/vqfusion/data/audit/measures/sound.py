"""Measurements of sounds: level, clipping, offset, bandwidth, a spectral signature, and bands by time."""

import numpy as np
from jaxtyping import Float
from scipy import signal

from vqfusion.data.audit.item import Measured
from vqfusion.types import Sample

WINDOW_S = 0.032
MOST_FRAMES = 3000  # of the spectrogram; of long sounds, frames at equal distances
BANDS, CELLS = 20, 12  # mel bands and parts in time of the embedding
LINEAR, PARTS, TOP_HZ = 64, 16, 4000.0  # bands and parts in time of the signature, and where the bands end
DEEPEST_DB = 40.0  # below the loudest cell, where cells are cut off
TAIL = 0.02  # of the energy lies before the part of a sound that its signature describes, and as much after it
LINES = 64  # equal bands up to half the sample rate, in which a cut-off is looked for
FLAT = 3  # equal extreme samples in a row that count as clipped


def measure_sound(sample: Sample) -> Measured:
    """Measure a sound `[C, T]` with full scale 1."""
    data = sample.data.detach().float().cpu().numpy()
    rate = sample.sample_rate_hz or 1
    sizes = {"seconds": data.shape[1] / rate}
    facts = {
        "sample_rate_hz": float(rate),
        "level_db": max(loudest_db(channel, rate) for channel in data),
        "clipped": max(clipped(channel) for channel in data),
        "offset": float(np.abs(data.astype(np.float64).mean(1)).max()),
    }
    mono = data.mean(0)
    facts["offset_share"] = facts["offset"] / max(float(np.sqrt(np.mean(np.square(data, dtype=np.float64)))), 1e-9)
    power = spectrogram(mono, rate)
    if power is None or facts["level_db"] < -90:
        return Measured(facts, sizes)
    facts["cutoff"], facts["cutoff_drop_db"] = cutoff(power.mean(1))
    cells = _cells(power, rate, _mel(rate), CELLS)
    cells -= cells.mean()
    embedding = np.concatenate([cells.ravel(), cells.mean(1), cells.std(1), [np.log(sizes["seconds"]) * 10]])
    signature, seconds = _signature(mono, rate)
    return Measured(facts, sizes, signature, embedding.astype(np.float16), {"seconds": seconds})


def loudest_db(channel: Float[np.ndarray, " T"], rate: int) -> float:
    """Root mean square of the loudest 50 ms in dB of full scale, without the mean; -200 for digital silence."""
    length = max(1, min(len(channel), rate // 20))
    whole = channel[: len(channel) // length * length].reshape(-1, length).astype(np.float64)
    loudest = float(np.sqrt(whole.var(1).max())) if length > 1 else 0.0
    return 20 * np.log10(max(loudest, 1e-10))


def clipped(channel: Float[np.ndarray, " T"]) -> float:
    """Fraction of the samples in runs of at least `FLAT` equal values at the maximum or minimum of the sound.

    A sound that was cut off at some level stays at it for a while; one that was not reaches its extreme once. Sounds
    that were compressed with loss after they had been clipped do not show this.
    """
    count = 0
    for extreme in (channel.max(), channel.min()):
        if abs(extreme) < 2**-7:  # quiet sounds have few different values
            continue
        at = np.concatenate([[False], np.abs(channel - extreme) < 2**-16, [False]])
        ends = np.flatnonzero(at[1:] != at[:-1]).reshape(-1, 2)
        lengths = ends[:, 1] - ends[:, 0]
        count += int(lengths[lengths >= FLAT].sum())
    return count / len(channel)


def spectrogram(mono: Float[np.ndarray, " T"], rate: int, overlap: int = 2) -> np.ndarray | None:
    """Power `[F, N]` in windows of 32 ms, `overlap` of them over each sample; None for less than two windows."""
    window = _window(rate)
    if len(mono) < 2 * window:
        return None
    starts = np.arange(0, len(mono) - window + 1, window // overlap)
    starts = starts[np.unique(np.linspace(0, len(starts) - 1, min(MOST_FRAMES, len(starts))).astype(int))]
    frames = mono[starts[:, None] + np.arange(window)] * signal.windows.hann(window, sym=False).astype(np.float32)
    return (np.abs(np.fft.rfft(frames.astype(np.float64), axis=1)) ** 2).T + 1e-12


def cutoff(power: Float[np.ndarray, " F"]) -> tuple[float, float]:
    """Frequency above which there is next to nothing, relative to half the sample rate, and how deep the drop is.

    The mean spectrum in `LINES` equal bands; a drop is from the median of the eight bands below a frequency to the
    loudest of all bands above it, with one band between. Sounds that were sampled at a lower rate, or went through a
    codec, drop by tens of dB within a band; speech and noise fall slowly.
    """
    edges = np.linspace(1, len(power), LINES + 1).astype(int)
    bands = 10 * np.log10([power[a : max(b, a + 1)].mean() for a, b in zip(edges, edges[1:], strict=False)])
    places = np.arange(4, LINES - 2)
    drops = [np.median(bands[max(0, i - 8) : i]) - bands[i + 1 :].max() for i in places]
    best = int(np.argmax(drops))
    return float(places[best] / LINES), float(drops[best])


def _signature(mono: Float[np.ndarray, " T"], rate: int) -> tuple[np.ndarray | None, float]:
    """Pattern of the spectrogram between the first and last 2 % of the energy, of unit length, and how long that is.

    It does not depend on gain, on silence before and after, on the sample rate above 8 kHz, or on the mean spectrum
    (microphone, voice) and the course of the level, which takes of the same word by the same voice have in common.
    """
    energy = np.cumsum(np.square(mono, dtype=np.float64))
    first, last = np.searchsorted(energy, [TAIL * energy[-1], (1 - TAIL) * energy[-1]])
    window = _window(rate)
    padded = np.pad(mono[first : last + 1], (window // 2, window // 2))
    power = spectrogram(padded, rate, 8)
    if power is None or last - first < window:
        return None, float(last - first) / rate
    cells = _cells(power, rate, np.linspace(0, min(TOP_HZ, rate / 2), LINEAR + 2), PARTS)
    pattern = cells - cells.mean(1, keepdims=True) - cells.mean(0, keepdims=True) + cells.mean()
    unit = pattern.ravel() / max(float(np.linalg.norm(pattern)), 1e-6)
    return unit.astype(np.float16), float(last - first) / rate


def _window(rate: int) -> int:
    """Samples of a window of 32 ms, a multiple of 16."""
    return max(32, 16 * round(WINDOW_S * rate / 16))


def _mel(rate: int) -> np.ndarray:
    """Corners of `BANDS` bands that are equally wide in mel (O'Shaughnessy, 1987), in Hz."""
    return 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + rate / 2 / 700), BANDS + 2) / 2595) - 1)


def _cells(power: Float[np.ndarray, "F N"], rate: int, corners_hz: np.ndarray, parts: int) -> np.ndarray:
    """Level in dB in triangular bands and equal parts of the time."""
    centres = corners_hz / (rate / 2) * (len(power) - 1)
    bins = np.arange(len(power))[None]
    rise = (bins - centres[:-2, None]) / (centres[1:-1] - centres[:-2])[:, None]
    fall = (centres[2:, None] - bins) / (centres[2:] - centres[1:-1])[:, None]
    bands = np.clip(np.minimum(rise, fall), 0, None) @ power
    # shares of the frames at the borders of the parts count too
    total = np.concatenate([np.zeros((len(bands), 1)), np.cumsum(bands, 1)], 1)
    places = np.linspace(0, bands.shape[1], parts + 1)
    sums = np.stack([np.interp(places, np.arange(total.shape[1]), row) for row in total])
    cells = 10 * np.log10(np.maximum(np.diff(sums, axis=1), 1e-12))
    return np.maximum(cells, cells.max() - DEEPEST_DB)
