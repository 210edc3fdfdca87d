"""NIfTI, TIFF stacks and NumPy arrays <-> `Sample("volume")`."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vqfusion.data.io.arrays import StoredArray, load_arrays, saved_array, saved_arrays
from vqfusion.data.io.file import check_target, holds_none_of, name_of, read_bytes, suffix_of
from vqfusion.data.io.nifti import StoredNifti, new_nifti, read_nifti
from vqfusion.data.io.shape import MAX_VOXELS, check_volume_shape
from vqfusion.data.io.stored import Stored
from vqfusion.data.io.tiff import StoredTiff, new_tiff, read_tiff
from vqfusion.data.io.tiff_pages import HEADS
from vqfusion.errors import UserError
from vqfusion.files import write_bytes
from vqfusion.modalities import MODALITIES
from vqfusion.types import Sample


def read_volume(source: str | Path | bytes, keep: bool = False) -> Sample:
    """Read a volume `[F, D, H, W]` in the units of the file (Hounsfield, counts, ...).

    F is 1, or the number of volumes of a NIfTI series, or of times and channels of a TIFF. Values are float32 where
    that holds them exactly, else float64; `extras` hold the original file. NIfTI axes (x, y, z) become (W, H, D); its
    affine is kept, in millimetres. TIFF pages are D unless the file says that they are times or channels; their spacing
    is read where ImageJ or OME wrote one. Arrays are `[D, H, W]`; a .npz may hold `data`, `spacing_mm`, `affine`.

    Args:
        source: Path, `"-"` or bytes.
        keep: Keep NaN voxels, as missing ones; otherwise they are an error.

    Returns:
        The sample.

    Raises:
        UserError: The file is missing, empty, damaged or truncated; NaN or infinite voxels; fewer than three axes;
            colour; more than 268 million voxels; or the package for the format is not installed.
    """
    data, name = read_bytes(source), name_of(source)
    stored: Stored
    if data.startswith(HEADS):
        stored, more = read_tiff(data, name)
    elif data.startswith((b"\x93NUMPY", b"PK\x03\x04")):
        stored, more = _read_array(data, name)
    else:
        stored, more = read_nifti(data, name)
    voxels = stored.values()
    usable = np.isfinite(voxels) | (np.isnan(voxels) & keep)
    if not usable.all():
        place = tuple(int(i) for i in np.unravel_index(usable.argmin(), voxels.shape))
        place = place if len(voxels) > 1 else place[1:]
        mend = "replace such voxels, e.g. by 0" + ("" if keep else ", or fill them in with `vqfusion inpaint`")
        raise UserError(f"{name}: holds {'' if keep else 'NaN or '}infinity, first at voxel {place}; {mend}")
    return Sample("volume", torch.from_numpy(voxels), extras=stored, **more)


def write_volume(sample: Sample, path: str | Path, force: bool = False) -> tuple[str, ...]:
    """Write a volume `[F, D, H, W]`: .nii.gz .nii .tif with voxel positions, .npz with all metadata, .npy values only.

    A volume from a file is written in the type of that file, rounded and clipped for integers, and to the same format
    with its other content; others as float32 (float64 data as float64). Unknown metadata are left out. The file is
    written atomically.

    Args:
        sample: The sample.
        path: File to write.
        force: Overwrite an existing file.

    Returns:
        One line for what the format cannot hold.

    Raises:
        UserError: The file exists and `force` is not set, another suffix, NaN where the file had none, no voxels, or a
            missing package.
    """
    path = check_target(path, MODALITIES["volume"].written, force)
    if sample.data.ndim != 4 or sample.data.numel() == 0:
        raise UserError(f"{path}: a volume is [F, D, H, W], not {list(sample.data.shape)}")
    values, known = sample.data.detach().cpu().numpy(), sample.extras
    known = known if isinstance(known, Stored) else None
    empty = np.isnan(values).all(axis=(1, 2, 3), keepdims=True) & (known is not None)
    if not (np.isfinite(values) | empty).all():
        raise UserError(f"{path}: the volume holds NaN or infinity")
    if known is None:
        values = values if values.dtype == np.float64 else values.astype(np.float32)
    suffix = suffix_of(path)
    if suffix in (".nii", ".nii.gz"):
        nifti = known if isinstance(known, StoredNifti) else None
        content = nifti.to_bytes(values, sample) if nifti else new_nifti(_kept(values, known), sample)
        write_bytes(path, gzip.compress(content, mtime=0) if suffix == ".nii.gz" else content, force)
        return _gone(sample, known, suffix)
    if suffix in (".tif", ".tiff"):
        tiff = known if isinstance(known, StoredTiff) else None
        content = tiff.to_bytes(values) if tiff else new_tiff(_kept(values, known), sample.spacing_mm)
        write_bytes(path, content, force)
        return _gone(sample, known, suffix)
    voxels = _kept(values, known)
    voxels = voxels if len(voxels) > 1 else voxels[0]
    if suffix == ".npy":
        write_bytes(path, saved_array(voxels), force)
        return _gone(sample, known, suffix)
    places: dict[str, Any] = {"spacing_mm": sample.spacing_mm, "affine": sample.affine}
    others = {key: np.array(value) for key, value in places.items() if value is not None}
    key = "data"
    if isinstance(known, StoredArray) and known.is_archive:
        key, others = known.key, known.others | (others if known.shape != voxels.shape else {})
    write_bytes(path, saved_arrays({key: voxels} | others), force)
    return _gone(sample, known, suffix)


def _gone(sample: Sample, known: Stored | None, suffix: str) -> tuple[str, ...]:
    """A line about what the original file held and one with this suffix does not."""
    own, gone = {StoredNifti: ".nii.gz", StoredTiff: ".tif"}.get(type(known), ".npz"), []
    if suffix == ".npy" and sample.spacing_mm:
        gone.append("spacing")
    if suffix in (".npy", ".tif", ".tiff") and sample.affine:
        gone.append("affine")
    if isinstance(known, StoredNifti) and suffix not in (".nii", ".nii.gz"):
        gone.append("header")
    if isinstance(known, StoredTiff) and suffix not in (".tif", ".tiff"):
        gone += ["TIFF tags"] if known.known or known.options.get("extratags") else []
    if isinstance(known, StoredArray) and suffix != ".npz":
        gone += [f"array {name}" for name in known.others if name not in ("spacing_mm", "affine")]
    return holds_none_of(gone, own)


def _kept(values: np.ndarray, known: Stored | None) -> np.ndarray:
    """Values in the type of the original file, where that stored them unscaled."""
    return values if known is None or (known.slope, known.intercept) != (1.0, 0.0) else known.stored(values)


def _read_array(data: bytes, name: str) -> tuple[StoredArray, dict[str, Any]]:
    key, arrays = load_arrays(data, name, 8 * MAX_VOXELS)
    raw = arrays.pop(key)
    check_volume_shape(raw.shape, name)
    more: dict[str, Any] = {}
    for what, shape in (("spacing_mm", (3,)), ("affine", (4, 4))):
        if what not in arrays:
            continue
        numbers = arrays[what]
        if numbers.shape != shape or numbers.dtype.kind not in "iuf" or not np.isfinite(numbers).all():
            size = " x ".join(map(str, shape))
            raise UserError(f"{name}: its {what} is not {size} finite numbers; mend it or leave it out")
        rows = numbers.astype(float).tolist()
        more[what] = tuple(rows) if what == "spacing_mm" else tuple(tuple(row) for row in rows)
    stored = StoredArray(raw[None], shape=raw.shape, key=key, others=arrays, is_archive=data.startswith(b"PK"))
    return stored, more
