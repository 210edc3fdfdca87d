"""Masks of pictures: which pixels are marked, in whatever way."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vqfusion.data.io.arrays import load_arrays
from vqfusion.data.io.file import guarded, read_bytes
from vqfusion.data.io.picture import read_picture
from vqfusion.errors import UserError

NUMPY = b"\x93NUMPY"
MOST_BYTES = 2**30  # of a mask


def read_picture_mask(path: str | Path) -> tuple[Bool[Tensor, "H W"], tuple[str, ...]]:
    """Marked pixels (True) of a mask in a picture or a .npy array `[H, W]`, and warnings for the user.

    The lighter of two values is the mark: white on black, 1 on 0 or red on black. On a transparent layer of one
    brightness everything painted is a mark, whatever its colour; where both dark and light are painted, transparent
    pixels count as dark. A warning says when transparency decided, and when most of the picture is marked, as with an
    inverted mask.

    Raises:
        UserError: The mask has one value only.
    """
    data = read_bytes(path)
    lines: list[str] = []
    if data.startswith(NUMPY):
        marked = _lighter(_array(data, path))
    else:
        with guarded(path, "a picture"):
            sample = read_picture(data, keep=True)
        grey, alpha = sample.data.mean(0), sample.extras.alpha
        painted = None if alpha is None else alpha[0] >= 0.5
        if painted is None or bool(painted.all()):
            marked = _lighter(grey)
        elif bool(painted.any()) and _contrast(grey[painted]):
            marked = _lighter(grey * painted)
        else:
            marked = painted
            lines.append("the mask is a transparent layer: what is painted on it is filled in")
    if not bool(marked.any()):
        raise UserError(f"{path}: the mask marks nothing; paint white where to fill in")
    share = float(marked.float().mean())
    if share > 0.5:
        lines.append(f"the mask marks {100 * share:.0f} % to be filled in; white is filled in and black is kept")
    return marked, tuple(lines)


def _lighter(values: Float[Tensor, "H W"]) -> Bool[Tensor, "H W"]:
    """True for values in the upper half of their range; for a constant, whether it is above one half."""
    low, high = float(values.min()), float(values.max())
    return values >= (low / 2 + high / 2 if high > low else 0.5)


def _contrast(values: Float[Tensor, " N"]) -> bool:
    """Whether there are both dark and light values."""
    return float(values.min()) < 0.5 <= float(values.max())


def _array(data: bytes, path: str | Path) -> Float[Tensor, "H W"]:
    key, arrays = load_arrays(data, str(path), MOST_BYTES)
    values = np.squeeze(arrays[key])
    if values.ndim != 2 or values.dtype.kind not in "biuf" or not np.isfinite(values).all():
        raise UserError(f"{path}: a mask of a picture is [height, width] of finite numbers, not {list(values.shape)}")
    return torch.from_numpy(values.astype(np.float64))
