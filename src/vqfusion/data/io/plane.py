"""Whether a file of a volume holds one plane only, told by its header."""

from pathlib import Path

import numpy as np

from vqfusion.data.io.file import suffix_of
from vqfusion.data.io.shape import needed
from vqfusion.data.io.tiff import depth_of
from vqfusion.data.io.tiff_pages import HEADS


def is_plane(path: str | Path) -> bool:
    """Whether the volume in a file has a depth of 1; False where the header does not tell, or is damaged."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(4)
        if head in HEADS:
            with needed("tifffile").TiffFile(path) as tiff:
                stack = tiff.series[0]
                depth = depth_of(str(stack.axes))
                return not depth or stack.shape[str(stack.axes).index(depth)] == 1
        if head == b"\x93NUM":
            return len(shape := np.load(path, mmap_mode="r", allow_pickle=False).shape) == 3 and shape[0] == 1
        if suffix_of(path) in (".nii", ".nii.gz"):
            shape = needed("nibabel").load(path).shape
            return len(shape) == 2 or (len(shape) > 2 and shape[2] == 1)
    except Exception:  # the reader reports what is wrong with the file
        return False
    return False
