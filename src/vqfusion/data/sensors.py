"""Openly licensed recordings of sensors: air quality of Beijing and an electrocardiogram."""

from functools import partial

import numpy as np
import torch

from vqfusion.data.record import Dataset, Record
from vqfusion.data.standard import beijing_air, electrocardiogram
from vqfusion.types import Sample

TRAIN_HOURS, DEV_HOURS = 24864, 29232  # until the end of 2015, and of June 2016
TEST_STATIONS = (10, 11)
SHORTEST = 512  # values of a piece without a gap
DEVIATION = 0.1  # standard deviation of every signal, in half the range of a prior
HOUR_HZ, ECG_HZ = 1 / 3600, 360.0
LICENCE = (
    "Beijing multi-site air quality (Zhang et al., 2017; UCI 501), CC BY 4.0; MIT-BIH arrhythmia database, record 100 "
    "(Moody, Mark, 2001; PhysioNet), ODC-By 1.0"
)


def open_sensors() -> Dataset:
    """Pieces of single channels without gaps in slot `series` `[1, T]`, with mean 0 and standard deviation 0.1.

    Air quality: train until 2015, val until June 2016, test after it; two of the twelve stations are test only.
    Electrocardiogram: 20, 5 and 5 minutes, at 360 Hz and at a quarter of it. Means and deviations are those of the
    training part. UserError where the files are missing.
    """
    records = []
    for station, table in enumerate(beijing_air()):
        bounds = {"train": (0, TRAIN_HOURS), "val": (TRAIN_HOURS, DEV_HOURS), "test": (DEV_HOURS, None)}
        for channel, values in enumerate(table.T):
            scaled = _scaled(values, TRAIN_HOURS)
            for split, (begin, end) in bounds.items():
                held = split if station not in TEST_STATIONS else "test"
                for i, piece in enumerate(_pieces(scaled[begin:end])):
                    records.append(_record(f"air-{station}-{channel}-{split}-{i}", held, piece, HOUR_HZ))
    for lead, volts in enumerate(electrocardiogram()):
        third = len(volts) * 2 // 3
        scaled = _scaled(volts, third)
        halves = np.array_split(scaled[third:], 2)
        for split, part in zip(("train", "val", "test"), (scaled[:third], *halves), strict=True):
            slow = part[: len(part) // 4 * 4].reshape(-1, 4).mean(1)
            for name, piece, rate in (("fast", part, ECG_HZ), ("slow", slow, ECG_HZ / 4)):
                records.append(_record(f"heart-{lead}-{split}-{name}", split, piece, rate))
    return Dataset("sensors", records, licence=LICENCE)


def _scaled(values: np.ndarray, train: int) -> np.ndarray:
    """Values with the mean and deviation of the first `train` ones at 0 and `DEVIATION`, within [-1, 1]."""
    first = values[:train].astype(np.float64)
    mean, deviation = np.nanmean(first), np.nanstd(first)
    return np.clip(DEVIATION * (values - mean) / deviation, -1, 1).astype(np.float32)


def _pieces(values: np.ndarray) -> list[np.ndarray]:
    """Pieces without a gap, of `SHORTEST` values or more."""
    known = np.flatnonzero(np.isfinite(values))
    runs = np.split(known, np.flatnonzero(np.diff(known) > 1) + 1)
    return [values[run] for run in runs if len(run) >= SHORTEST]


def _record(key: str, split: str, piece: np.ndarray, rate_hz: float) -> Record:
    return Record(key, split, sources={"series": partial(_sample, piece, rate_hz)})


def _sample(piece: np.ndarray, rate_hz: float) -> Sample:
    return Sample("series", torch.from_numpy(np.ascontiguousarray(piece))[None], rate_hz=rate_hz)
