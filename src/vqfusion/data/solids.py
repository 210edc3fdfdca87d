"""Synthetic volumes: bodies of ellipsoids, as in the head phantom of Shepp and Logan (1974)."""

from functools import partial

import numpy as np
import torch

from vqfusion.data.record import Dataset, Record, split_of_key
from vqfusion.types import Sample

COUNT, SIDE = 400, 32
SPACING_MM = (6.0, 6.0, 6.0)


def _ellipsoid(rng: np.random.Generator, axes: np.ndarray, reach: float) -> np.ndarray:
    """Fraction of each voxel inside a randomly rotated ellipsoid with its centre within `reach` of the middle."""
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    centre = rng.uniform(-reach, reach, 3)
    place = np.linspace(-1, 1, SIDE)
    grid = np.stack(np.meshgrid(place, place, place, indexing="ij"), axis=-1) - centre
    distance = np.linalg.norm(grid @ turn / axes, axis=-1) - 1
    return np.clip(0.5 - distance * axes.min() * SIDE / 2, 0, 1)  # the edge is one voxel wide


def _solid(index: int) -> Sample:
    rng = np.random.default_rng(index)
    body = _ellipsoid(rng, rng.uniform(0.6, 0.9, 3), 0.1)
    voxels = 1000 * body
    for _ in range(int(rng.integers(3, 8))):
        part = _ellipsoid(rng, rng.uniform(0.1, 0.4, 3), 0.45)
        voxels += rng.uniform(-900, 900) * part * body
    return Sample("volume", torch.from_numpy(voxels.astype(np.float32))[None], spacing_mm=SPACING_MM)


def open_solids() -> Dataset:
    """400 volumes `[1, 32, 32, 32]` with 6 mm voxels: a body of density 1,000 with three to seven parts in it.

    The split is 80/10/10 by a hash of the key. They look like no organ, and serve for trials and tests.
    """
    records = []
    for index in range(COUNT):
        key = f"solid-{index:03d}"
        records.append(Record(key, split_of_key(key), sources={"volume": partial(_solid, index)}))
    return Dataset("solids", records, licence="computed, nobody's")
