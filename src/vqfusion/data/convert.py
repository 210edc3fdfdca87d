"""Pictures, arrays, tensors and paths -> `Sample`, as people have them."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vqfusion.errors import UserError
from vqfusion.modalities import MODALITIES
from vqfusion.types import Sample

COLOURS = (1, 3, 4)  # channels of pictures in arrays; four: transparency last
FULL = {torch.uint8: 255, torch.uint16: 65535}


def as_sample(value: Any, modality: str | None = None, **units: Any) -> Sample:
    """Make a `Sample` of what people have: a picture, an array, a tensor, a path or a text.

    Args:
        value: A `Sample` (returned as it is); a path to a file, as `Path` or `str`; a picture of Pillow; an array or
            tensor. Pictures are `[H, W]`, `[H, W, C]` or `[C, H, W]` with integers or with floats in [0, 1]; sounds
            `[T]` or `[C, T]`; volumes `[D, H, W]` or `[C, D, H, W]`; series `[T]` or `[C, T]`. For texts and labels a
            `str` is the text or the name.
        modality: "image", "audio", "volume", "series", "text" or "label"; None reads it off a file, and takes arrays
            of two or three axes for pictures.
        **units: Further fields of the `Sample`, such as `sample_rate_hz=16000`.

    Returns:
        The sample, with data as tensors.

    Raises:
        UserError: The value cannot be a sample of this modality, or could be two.
    """
    kind = MODALITIES.get(modality or "")
    if isinstance(value, Sample):
        return value
    if kind is not None and not kind.rank:
        if isinstance(value, str):
            return Sample(kind.name, value, **units)
        if not isinstance(value, Path):
            raise UserError(f"{kind.noun} is given as a str, not as {_a(value)}")
    if isinstance(value, str | os.PathLike):
        from vqfusion.data.io import read

        return read(os.fspath(value), modality)
    pillow = sys.modules.get("PIL.Image")
    if pillow is not None and isinstance(value, pillow.Image):
        from vqfusion.data.io.picture import pixels_of

        return _picture(torch.from_numpy(pixels_of(value)), units, last=True)
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(np.ascontiguousarray(value.astype(value.dtype.newbyteorder("="), copy=False)))
        return _from_tensor(value, modality, units, named=False)
    if isinstance(value, Tensor):
        return _from_tensor(value.detach(), modality, units, named=True)
    raise UserError(f"cannot make a sample of {_a(value)}: give a path, a picture, an array, a tensor or a Sample")


def as_samples(value: Any, modality: str | None = None) -> Any:
    """`as_sample` of one value, or the list of it for each of a list or tuple."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [as_sample(one, modality) for one in value]
    return as_sample(value, modality)


def _from_tensor(data: Tensor, modality: str | None, units: dict[str, Any], named: bool) -> Sample:
    """A sample of a tensor; `named` says that three axes are `[C, H, W]` where they could be either."""
    if modality is None and data.ndim not in (2, 3):
        known = "an audio, volume or series has its own modality: as_sample(data, 'audio', sample_rate_hz=16000)"
        raise UserError(f"{list(data.shape)} is no picture; {known}")
    kind = MODALITIES[modality or "image"]
    if kind.pictured:
        if data.ndim == 3 and data.shape[0] in COLOURS and data.shape[2] in COLOURS and not named:
            raise UserError(
                f"an array {list(data.shape)} may be [C, H, W] or [H, W, C]: say which by a tensor [C, H, W], "
                "torch.from_numpy(array), with .permute(2, 0, 1) if the colours come last"
            )
        return _picture(data, units, last=data.ndim == 3 and data.shape[0] not in COLOURS and data.shape[2] in COLOURS)
    if data.ndim == kind.rank:
        data = data[None]
    if kind.heard and not data.is_floating_point():
        half = 2 ** (torch.iinfo(data.dtype).bits - 1)
        data = (data.double() / half - float(data.dtype == torch.uint8)).float()  # 8 bits are unsigned, as in WAV
    return Sample(kind.name, data, **units)


def _picture(data: Tensor, units: dict[str, Any], last: bool) -> Sample:
    data = data[None] if data.ndim == 2 else data.permute(2, 0, 1) if last else data
    if data.dtype == torch.bool:
        data = data.float()
    elif not data.is_floating_point():
        data = data.float() / FULL.get(data.dtype, 255)
    if data.shape[0] == 4:  # transparency over white, as files are read
        data = data[:3] * data[3:] + (1 - data[3:])
    return Sample("image", data.contiguous(), **units)


def _a(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
