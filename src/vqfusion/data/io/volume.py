"""NIfTI, TIFF stacks and NumPy arrays <-> `Sample("volume")`."""

import gzip
import io
import logging
import zipfile
import zlib
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vqfusion.data.io.file import check_target, name_of, read_bytes, suffix_of
from vqfusion.errors import UserError
from vqfusion.files import write_bytes
from vqfusion.types import Sample

MAX_VOXELS = 2**28
WRITTEN = (".nii.gz", ".nii", ".tif", ".tiff", ".npy", ".npz")
MILLIMETRES = {"mm": 1.0, "millimeter": 1.0, "meter": 1000.0, "m": 1000.0, "cm": 10.0, "inch": 25.4, "nm": 1e-6} | {
    unit: 1e-3 for unit in ("micron", "um", "µm", "μm", "\\u00B5m", "micrometer")
}


def read_volume(source: str | Path | bytes, keep: bool = False) -> Sample:
    """A volume `[1, D, H, W]` float32 in the units of the file (Hounsfield, counts, ...) from a path or bytes.

    NIfTI axes (x, y, z) become (W, H, D); its affine is kept as it is, in millimetres. TIFF pages are D; their
    spacing is read where ImageJ wrote one. Arrays are `[D, H, W]`; a .npz may hold `data`, `spacing_mm`, `affine`.
    With `keep` NaN voxels stay, as voxels that are missing.

    Raises UserError for a file that is missing, empty, broken or cut short, NaN or infinite voxels, more or fewer
    axes than three (a time series of volumes, a single picture, colour), over 268 million voxels, or where the
    package for the format is not installed.
    """
    data, name = read_bytes(source), name_of(source)
    try:
        if data.startswith((b"II*\0", b"MM\0*")):
            voxels, more = _read_tiff(data, name)
        elif data.startswith((b"\x93NUMPY", b"PK\x03\x04")):
            voxels, more = _read_array(data, name)
        else:
            voxels, more = _read_nifti(data, name)
    except UserError:
        raise
    except (ValueError, TypeError, KeyError, OSError, EOFError, IndexError, zlib.error, zipfile.BadZipFile) as error:
        raise UserError(f"{name}: is no NIfTI, TIFF or NumPy volume, or is broken ({_short(error)})") from None
    usable = np.isfinite(voxels) | (np.isnan(voxels) & keep)
    if not usable.all():
        place = tuple(int(i) for i in np.unravel_index(usable.argmin(), voxels.shape))
        mend = "replace such voxels, e.g. by 0" + ("" if keep else ", or fill them in with `vqfusion inpaint`")
        raise UserError(f"{name}: holds {'' if keep else 'NaN or '}infinity, first at voxel {place}; {mend}")
    return Sample("volume", torch.from_numpy(np.ascontiguousarray(voxels))[None], **more)


def write_volume(sample: Sample, path: str | Path, force: bool = False) -> None:
    """Write `[1, D, H, W]` as float32: .nii.gz .nii .tif (ImageJ) with the spacing, .npz with all, .npy bare.

    NIfTI also keeps the affine. The file appears whole or not at all. Raises UserError if the file exists and not
    `force`, for another suffix, NaN, no voxels, several channels, or where the package is not installed.
    """
    path = check_target(path, WRITTEN, force)
    if sample.data.ndim != 4 or len(sample.data) != 1 or sample.data.numel() == 0:
        raise UserError(f"{path}: a volume is [1, D, H, W], not {list(sample.data.shape)}")
    if not torch.isfinite(sample.data).all():
        raise UserError(f"{path}: the volume holds NaN or infinity")
    voxels = sample.data[0].detach().cpu().float().numpy()
    spacing = sample.spacing_mm or (1.0, 1.0, 1.0)
    buffer = io.BytesIO()
    suffix = suffix_of(path)
    if suffix in (".nii", ".nii.gz"):
        nibabel = needed("nibabel")
        affine = np.array(sample.affine) if sample.affine else np.diag([*spacing[::-1], 1.0])
        image = nibabel.Nifti1Image(voxels.transpose(2, 1, 0), affine)
        image.header.set_xyzt_units("mm")
        raw = image.to_bytes()
        buffer.write(gzip.compress(raw, mtime=0) if suffix == ".nii.gz" else raw)
    elif suffix in (".tif", ".tiff"):
        depth, height, width = spacing
        needed("tifffile").imwrite(
            buffer,
            voxels,
            imagej=True,
            resolution=(1 / width, 1 / height),
            metadata={"axes": "ZYX", "spacing": depth, "unit": "mm"},
        )
    elif suffix == ".npy":
        np.save(buffer, voxels)
    else:
        known: dict[str, Any] = {"spacing_mm": sample.spacing_mm, "affine": sample.affine}
        np.savez(buffer, data=voxels, **{key: value for key, value in known.items() if value is not None})
    write_bytes(path, buffer.getvalue(), force)


def needed(package: str) -> Any:
    """A package of the extra `volume`; UserError where it is not installed."""
    try:
        module = import_module(package)
    except ImportError:
        raise UserError(f"this format needs {package}: pip install 'vqfusion[volume]', or use .npy") from None
    logging.getLogger(package).addHandler(logging.NullHandler())  # what is wrong is said in our one line
    return module


def _read_nifti(data: bytes, name: str) -> tuple[np.ndarray, dict[str, Any]]:
    nibabel = needed("nibabel")
    if data.startswith(b"\x1f\x8b"):
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            data = file.read(8 * MAX_VOXELS + 1)
    kind = nibabel.Nifti2Image if data[4:8] in (b"n+2\0", b"ni2\0") else nibabel.Nifti1Image
    try:
        with nibabel.imageglobals.LoggingOutputSuppressor():
            image = kind.from_bytes(data)
    except (nibabel.filebasedimages.ImageFileError, nibabel.spatialimages.HeaderDataError) as error:
        raise ValueError(error) from None
    shape = image.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if image.get_data_dtype().fields:
        raise UserError(f"{name}: is a colour volume; give one value a voxel")
    _check_shape(shape[::-1], name)
    voxels = np.asarray(image.dataobj, np.float32).reshape(shape).transpose(2, 1, 0)
    unit = MILLIMETRES.get(image.header.get_xyzt_units()[0], 1.0)  # files that do not say are in millimetres
    affine = np.array(image.affine, np.float64)
    affine[:3] *= unit
    spacing = tuple(float(abs(size)) * unit or 1.0 for size in image.header.get_zooms()[2::-1])
    return voxels, {"spacing_mm": spacing, "affine": tuple(tuple(row) for row in affine.tolist())}


def _read_tiff(data: bytes, name: str) -> tuple[np.ndarray, dict[str, Any]]:
    tifffile = needed("tifffile")
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            stack = file.series[0]
            if stack.axes.endswith("S") or stack.axes.startswith("S"):
                raise UserError(f"{name}: is a stack in colour; give one channel")
            _check_shape(stack.shape, name)
            voxels = stack.asarray().astype(np.float32)
            tags, known = file.pages.first.tags, file.imagej_metadata or {}
            unit = MILLIMETRES.get(str(known.get("unit", "")).lower())
            more = {}
            if unit and "spacing" in known and "XResolution" in tags and "YResolution" in tags:
                (a, b), (c, d) = tags["XResolution"].value, tags["YResolution"].value
                more["spacing_mm"] = (float(known["spacing"]) * unit, d / c * unit, b / a * unit)
    except (tifffile.TiffFileError, ZeroDivisionError) as error:
        raise ValueError(error) from None
    return voxels, more


def _read_array(data: bytes, name: str) -> tuple[np.ndarray, dict[str, Any]]:
    arrays = load_arrays(data, name, 8 * MAX_VOXELS)
    voxels = arrays["data"]
    _check_shape(voxels.shape, name)
    more: dict[str, Any] = {}
    if "spacing_mm" in arrays:
        more["spacing_mm"] = tuple(float(value) for value in arrays["spacing_mm"].reshape(3))
    if "affine" in arrays:
        more["affine"] = tuple(tuple(row) for row in arrays["affine"].astype(float).reshape(4, 4).tolist())
    return voxels.astype(np.float32), more


def load_arrays(data: bytes, name: str, most_bytes: int) -> dict[str, np.ndarray]:
    """The arrays of a .npy (as `data`) or .npz; the only one is `data` whatever it is called. Never pickle.

    UserError where there is no `data`, it is not of real numbers, or the arrays unpack to over `most_bytes`.
    """
    if data.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(member.file_size for member in archive.infolist()) > most_bytes:
                raise UserError(f"{name}: is over the limit of {most_bytes >> 20} MiB; cut it into parts")
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
        if "data" not in arrays and len(arrays) == 1:
            arrays = {"data": next(iter(arrays.values()))}
    else:
        arrays = {"data": np.load(io.BytesIO(data), allow_pickle=False)}
    if "data" not in arrays:
        raise UserError(f"{name}: holds several arrays ({', '.join(arrays)}); call the one to read `data`")
    if arrays["data"].dtype.kind not in "biuf":
        raise UserError(f"{name}: holds {arrays['data'].dtype}, not real numbers")
    return arrays


def _check_shape(shape: tuple[int, ...], name: str) -> None:
    size = " x ".join(map(str, shape))
    if len(shape) != 3:
        mend = "give one volume of a series" if len(shape) > 3 else "give a stack, or a picture as .png"
        raise UserError(f"{name}: has {len(shape)} axes ({size}), a volume has three; {mend}")
    if 0 in shape:
        raise UserError(f"{name}: has no voxels ({size})")
    if np.prod(shape, dtype=float) > MAX_VOXELS:
        raise UserError(f"{name}: has {size} voxels, over the limit of {MAX_VOXELS // 10**6} million; cut it")


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
