"""Average of 152 brains from the package nilearn: one T1 volume with 1 mm voxels (Fonov et al., 2011)."""

from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from vqfusion.data.io.volume import read_volume
from vqfusion.data.record import Dataset, Record
from vqfusion.errors import UserError
from vqfusion.types import Sample

FILE = "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
SLAB = (58, 130)  # axial slices of 189, from below: the 64 in the middle and some on each side


def open_mni152() -> Dataset:
    """Slot `volume` `[1, D, H, W]` in [0, 1]: an axial slab is test, the parts below and above it are train.

    Left and right are mirror images, so that the split is by height. UserError where nilearn is not installed.
    """
    low, high = SLAB
    parts = {"below": (0, low, "train"), "slab": (low, high, "test"), "above": (high, None, "train")}
    records = [
        Record(name, split, sources={"volume": partial(_part, start, stop)})
        for name, (start, stop, split) in parts.items()
    ]
    licence = (
        "Copyright (C) 1993-2004 Louis Collins, McConnell Brain Imaging Centre, McGill University; free with notice"
    )
    return Dataset("mni152", records, licence=licence)


def _part(start: int, stop: int | None) -> Sample:
    whole = read_volume(mni152_file())
    return replace(whole, data=whole.data[:, start:stop] / whole.data.max())


def mni152_file() -> Path:
    """The file in the package nilearn; UserError where that is not installed."""
    spec = find_spec("nilearn")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("the MNI152 volume comes with the package nilearn: pip install --no-deps nilearn")
    return Path(spec.submodule_search_locations[0]) / FILE
