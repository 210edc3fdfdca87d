"""Masks of pictures: which pixels are marked, however they were marked."""

from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vqfusion.data.io.file import read_bytes
from vqfusion.data.io.picture import read_picture
from vqfusion.errors import UserError

NUMPY = b"\x93NUMPY"


def read_picture_mask(path: str | Path) -> tuple[Bool[Tensor, "H W"], tuple[str, ...]]:
    """The marked pixels (True) of a mask in a picture or a .npy array `[H, W]`, and lines for the user.

    Marks are the lighter of the two ends of its brightness: white on black as well as 1 on 0 or red on black. On a
    transparent layer, marks of one end are what is painted, whatever their colour; where both dark and light are
    painted, transparent pixels count as dark. A line says when transparency decided, and when most of the picture is
    marked, as it is by a mask that is meant the other way round. Raises UserError for a mask of one value.
    """
    data = read_bytes(path)
    lines: list[str] = []
    if data.startswith(NUMPY):
        marked = _lighter(_array(data, path))
    else:
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
    """Which values are in the lighter half of their range; of one value alone: whether that is over a half."""
    low, high = float(values.min()), float(values.max())
    return values >= ((low + high) / 2 if high > low else 0.5)


def _contrast(values: Float[Tensor, " N"]) -> bool:
    """Whether both dark and light values are there."""
    return float(values.min()) < 0.5 <= float(values.max())


def _array(data: bytes, path: str | Path) -> Float[Tensor, "H W"]:
    try:
        values = np.load(BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{path}: is a broken .npy file ({error})") from None
    values = np.squeeze(values)
    if values.ndim != 2 or values.dtype.kind not in "biuf" or not np.isfinite(values).all():
        raise UserError(f"{path}: a mask of a picture is [height, width] of finite numbers, not {list(values.shape)}")
    return torch.from_numpy(values.astype(np.float32))
