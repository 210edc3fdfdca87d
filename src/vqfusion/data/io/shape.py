"""What the formats of volumes share: size limits, units, optional packages."""

import logging
from importlib import import_module
from typing import Any

import numpy as np

from vqfusion.errors import UserError, needs_extra

MAX_VOXELS = 2**28
MILLIMETRES = {"mm": 1.0, "millimeter": 1.0, "meter": 1000.0, "m": 1000.0, "cm": 10.0, "inch": 25.4, "nm": 1e-6} | {
    unit: 1e-3 for unit in ("micron", "um", "µm", "μm", "\\u00B5m", "micrometer")
}


def needed(package: str) -> Any:
    """Import a package of the extra `volume`; UserError where it is not installed."""
    try:
        module = import_module(package)
    except ImportError:
        raise needs_extra(package, "volume", "this format (.npy needs nothing)") from None
    logging.getLogger(package).addHandler(logging.NullHandler())  # errors are reported in our one line
    return module


def check_volume_shape(shape: tuple[int, ...], name: str, frames: int = 1) -> None:
    """Raise UserError where a shape is not that of a volume, is empty, or `frames` of it exceed the limit."""
    size = " x ".join(map(str, shape))
    if len(shape) != 3:
        mend = "give one volume of a series" if len(shape) > 3 else "give a stack, or a picture as .png"
        raise UserError(f"{name}: has {len(shape)} axes ({size}), a volume has three; {mend}")
    if 0 in shape or frames < 1:
        raise UserError(f"{name}: has no voxels ({size})")
    if min(shape) < 0 or frames * np.prod(shape, dtype=float) > MAX_VOXELS:
        many = f"{frames} volumes of " if frames > 1 else ""
        raise UserError(f"{name}: has {many}{size} voxels, over the limit of {MAX_VOXELS // 10**6} million; cut it")
