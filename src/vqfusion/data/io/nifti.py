"""NIfTI volumes and series of volumes, with their original header."""

import gzip
import io
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from vqfusion.data.io.decoding import decoding
from vqfusion.data.io.shape import MILLIMETRES, check_volume_shape, needed
from vqfusion.data.io.stored import Stored
from vqfusion.errors import UserError
from vqfusion.types import Sample

LONGEST_HEADER = 540  # of version 2
WRITABLE = {"?": "u1", "e": "f4", "g": "f8"}  # types that the format lacks, and what holds them


@dataclass(frozen=True)
class StoredNifti(Stored):
    """A file: `front` is everything before its voxels, `unit` the millimetres in its unit of length."""

    front: bytes = b""
    trailing: tuple[int, ...] = ()
    unit: float = 1.0

    def to_bytes(self, values: np.ndarray, sample: Sample) -> bytes:
        """Bytes of the file with values `[F, D, H, W]`; a new size gets spacing and affine of the sample."""
        made = self.stored(values)
        front = self.front
        if (made.shape, made.dtype) != (self.raw.shape, self.raw.dtype):
            nibabel = needed("nibabel")
            kind = nibabel.Nifti2Header if _is_second(front) else nibabel.Nifti1Header
            header = kind(front[: kind.sizeof_hdr])
            header.set_data_dtype(made.dtype)
            header.set_data_shape(made.shape[:0:-1] + self.trailing)
            header["scl_slope"], header["scl_inter"] = self.slope, self.intercept
            if sample.spacing_mm:
                rest = header.get_zooms()[3:]
                header.set_zooms([size / self.unit for size in sample.spacing_mm[::-1]] + list(rest))
            if sample.affine:
                affine = np.array(sample.affine)
                affine[:3] /= self.unit
                for get, put in ((header.get_sform, header.set_sform), (header.get_qform, header.set_qform)):
                    code = int(get(coded=True)[1])
                    if code:
                        put(affine, code)
            front = header.binaryblock + front[kind.sizeof_hdr :]
        return front + made.tobytes()


def read_nifti(data: bytes, name: str) -> tuple[StoredNifti, dict[str, Any]]:
    """Voxels `[F, D, H, W]` of a file, F the volumes of a series, with spacing and affine in millimetres."""
    nibabel = needed("nibabel")
    spatial = import_module("nibabel.imageglobals")
    with decoding(name, "NIfTI volume"), spatial.LoggingOutputSuppressor():
        packed = gzip.GzipFile(fileobj=io.BytesIO(data)) if data.startswith(b"\x1f\x8b") else None
        front = packed.read(LONGEST_HEADER) if packed else data[:LONGEST_HEADER]
        kind = nibabel.Nifti2Header if _is_second(front) else nibabel.Nifti1Header
        header = kind(front[: kind.sizeof_hdr])
        if bytes(header["magic"])[:2] == b"ni":
            raise UserError(f"{name}: is the header of a pair (.hdr and .img); save it as one .nii")
        kept, shape, begin = header.get_data_dtype(), header.get_data_shape(), header.get_data_offset()
        if kept.fields:
            raise UserError(f"{name}: is a colour volume; give one value a voxel")
        if kept.kind not in "iuf":
            raise UserError(f"{name}: holds {kept}, not real numbers")
        trailing, shape = tuple(int(n) for n in shape[3:]), tuple(int(n) for n in shape[:3])
        frames = int(np.prod(trailing, dtype=object)) if trailing else 1
        check_volume_shape(shape[::-1], name, frames)
        end = begin + frames * int(np.prod(shape)) * kept.itemsize
        content = front + packed.read(max(0, end - len(front))) if packed else data
        if len(content) < end:
            raise UserError(
                f"{name}: is no NIfTI volume, or is broken (it is cut short: {len(content)} of {end} bytes)"
            )
        raw = np.frombuffer(content, kept, frames * int(np.prod(shape)), begin).reshape(frames, *shape[::-1])
        scaling = [float(header[key]) for key in ("scl_slope", "scl_inter")]
        if not np.isfinite(scaling).all():
            raise UserError(f"{name}: its scl_slope or scl_inter is not finite; write 1 and 0 where nothing is scaled")
        slope, intercept = header.get_slope_inter()
        affine = np.array(header.get_best_affine(), np.float64)
        zooms, said = header.get_zooms(), header.get_xyzt_units()[0]
    if not np.isfinite(affine).all() or not np.isfinite(zooms).all():
        raise UserError(f"{name}: its affine or the size of its voxels is not finite; mend its header")
    unit = MILLIMETRES.get(said, 1.0)  # millimetres where the file does not say
    stored = StoredNifti(raw, 1.0 if slope is None else slope, intercept or 0.0, content[:begin], trailing, unit)
    placed = int(header["sform_code"]) or int(header["qform_code"])
    if said == "unknown" and not placed and all(size == 1 for size in zooms[:3]):
        return stored, {}
    affine[:3] *= unit
    spacing = tuple(float(abs(size)) * unit or 1.0 for size in zooms[2::-1])
    return stored, {"spacing_mm": spacing, "affine": tuple(tuple(row) for row in affine.tolist())}


def new_nifti(voxels: np.ndarray, sample: Sample) -> bytes:
    """New file with voxels `[F, D, H, W]`; unknown positions are left out of its header."""
    nibabel = needed("nibabel")
    voxels = voxels.astype(WRITABLE.get(voxels.dtype.char, voxels.dtype.newbyteorder("=")))
    spacing = sample.spacing_mm
    affine = np.array(sample.affine) if sample.affine else np.diag([*spacing[::-1], 1.0]) if spacing else None
    ordered = voxels.transpose(3, 2, 1, 0)
    image = nibabel.Nifti1Image(ordered if len(voxels) > 1 else ordered[..., 0], affine, dtype=voxels.dtype)
    if affine is not None:
        image.header.set_xyzt_units("mm")
    return image.to_bytes()


def _is_second(front: bytes) -> bool:
    return front[4:8] in (b"n+2\0", b"ni2\0")
