"""Synthetic series: oscillations, pulses, steps, impulses and noise."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from vqfusion.data.record import Dataset, Record, split_of_key
from vqfusion.types import Sample

COUNT, LENGTH, RATE_HZ = 600, 1000, 100.0


def _tones(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    """Sum of a few sines."""
    parts = [rng.uniform(0.2, 1) * np.sin(2 * np.pi * rng.uniform(0.3, 8) * t + rng.uniform(0, 6.3)) for _ in range(3)]
    return np.sum(parts, axis=0)


def _beats(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    """Pulses at a slightly irregular rate, like a heartbeat: Gaussians as in McSharry et al. (2003)."""
    period = rng.uniform(0.6, 1.2)
    starts = np.cumsum(period * rng.normal(1, 0.04, int(t[-1] / period) + 3)) - period
    bumps = [(0.0, 0.025, 1.0), (-0.17, 0.04, 0.15), (0.04, 0.02, -0.25), (0.28, 0.06, rng.uniform(0.2, 0.4))]
    return np.sum([h * np.exp(-(((t - s - at) / w) ** 2) / 2) for s in starts for at, w, h in bumps], axis=0)


def _steps(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    """A level that jumps now and then."""
    jumps = np.sort(rng.uniform(0, t[-1], int(rng.integers(4, 12))))
    return rng.standard_normal(len(jumps) + 1)[np.searchsorted(jumps, t)]


def _swings(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    """Impulses with decaying oscillations."""
    out = np.zeros_like(t)
    for start in rng.uniform(0, t[-1], int(rng.integers(3, 7))):
        late = np.clip(t - start, 0, None)
        out += (t >= start) * np.exp(-late * rng.uniform(1, 4)) * np.sin(2 * np.pi * rng.uniform(1, 10) * late)
    return out


def _drift(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    """Smoothed random walk."""
    return np.convolve(np.cumsum(rng.standard_normal(len(t) + 15)), np.hanning(16) / 7.5, "valid")


KINDS: dict[str, Callable[[np.random.Generator, np.ndarray], np.ndarray]] = {
    "tones": _tones,
    "beats": _beats,
    "steps": _steps,
    "swings": _swings,
    "drift": _drift,
}


def _wave(kind: str, index: int) -> Sample:
    rng = np.random.default_rng(index)
    t = np.arange(LENGTH) / RATE_HZ
    channels = [rng.uniform(0.5, 20) * KINDS[kind](rng, t) + rng.uniform(-10, 10) for _ in range(1 + index % 3)]
    return Sample("series", torch.from_numpy(np.stack(channels).astype(np.float32)), rate_hz=RATE_HZ)


def open_waves() -> Dataset:
    """600 series `[1 to 3, 1000]` at 100 Hz in slot `series`, with their kind as `label`.

    The split is 80/10/10 by a hash of the key. They serve for trials and tests.
    """
    records = []
    for index in range(COUNT):
        key, kind = f"wave-{index:03d}", list(KINDS)[index % len(KINDS)]
        sources = {"series": partial(_wave, kind, index), "label": partial(Sample, "label", kind)}
        records.append(Record(key, split_of_key(key), sources=sources))
    return Dataset("waves", records, licence="computed, nobody's")
