"""T1 volumes of heads: an average of 152, one person, and a macaque, also with thick slices.

What the shipped volume prior learned from.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from torch import Tensor
from torch.nn import functional as F

from vqfusion.data.io.volume import read_volume
from vqfusion.data.mni152 import SLAB, mni152_file
from vqfusion.data.photos import shared_folder
from vqfusion.data.record import Dataset, Record
from vqfusion.types import Sample

PACKAGE = "mricron-data"
PERSON, MACAQUE = "ch2.nii.gz", "inia19-t1-brain.nii.gz"
PERSON_SLAB = (54, 126)  # axial slices of 181 that are for tests
THICK = (1, 2, 3)  # slices averaged along one axis


def open_brains() -> Dataset:
    """Slot `volume` `[1, D, H, W]` in [0, 1]: an axial slab of each human head is test, the rest train.

    The average of 152 is that of `mni152`. One person scanned 27 times (Holmes et al., 1998) and a macaque (Rohlfing
    et al., 2012) are from the Debian package mricron-data, looked for where it is installed and, unpacked, in
    `$VQFUSION_DATA/debian/mricron-data`. Those for training also appear with 2 and 3 slices averaged along each axis,
    as scanners make them. UserError names what is missing.
    """
    records = []
    for name, file, slab in (
        ("mni152", mni152_file, SLAB),
        ("person", partial(_packaged, PERSON), PERSON_SLAB),
        ("macaque", partial(_packaged, MACAQUE), None),
    ):
        parts = {"": (0, None)} if slab is None else {"-below": (0, slab[0]), "-above": (slab[1], None)}
        for part, (start, stop) in parts.items():
            for axis in range(3):
                for thick in THICK if axis == 0 else THICK[1:]:
                    key = f"{name}{part}" + (f"-{'zyx'[axis]}{thick}" if thick > 1 else "")
                    source = partial(_part, file, start, stop, axis, thick)
                    records.append(Record(key, "train", sources={"volume": source}))
        if slab is not None:
            records.append(Record(f"{name}-slab", "test", sources={"volume": partial(_part, file, *slab, 0, 1)}))
    return Dataset("brains", records, licence="MNI: free with notice; mricron-data: BSD-3-Clause")


def _packaged(file: str) -> Path:
    return shared_folder(PACKAGE) / "mricron/templates" / file


def _part(file: Callable[[], Path], start: int, stop: int | None, axis: int, thick: int) -> Sample:
    whole = read_volume(file())
    data = whole.data[:, start:stop] / whole.data.max()
    return Sample("volume", thicker(data, axis, thick))


def thicker(volume: Tensor, axis: int, thick: int) -> Tensor:
    """A volume `[1, D, H, W]` with so many slices along a spatial axis averaged to one; what remains is cut off."""
    size = [1, 1, 1]
    size[axis] = thick
    return F.avg_pool3d(volume[None], size)[0]
