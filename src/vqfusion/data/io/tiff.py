"""TIFF stacks: ImageJ, OME and plain, with their original axes, pixel sizes and tags."""

import html
import io
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vqfusion.data.io.decoding import decoding
from vqfusion.data.io.shape import MILLIMETRES, check_volume_shape, needed
from vqfusion.data.io.stored import Stored
from vqfusion.errors import UserError

# tags of the pixel layout, and tags that are written by name
RESOLUTION_UNITS = (1, 2, 3)  # none, inch, centimetre: TIFF 6.0, section 8
LAID_OUT = {254, 255, 256, 257, 258, 259, 262, 266, 270, 273, 277, 278, 279, 282, 283, 284, 296, 305, 306, 317, 320}
LAID_OUT |= {322, 323, 324, 325, 330, 338, 339, 34665, 34853, 50838, 50839}
OF_IMAGEJ = ("ImageJ", "images", "channels", "slices", "frames", "hyperstack")  # written anew from the axes
DEFLATE = (8, 32946)
IMAGEJ_TYPES = ("u1", "u2", "f4")


@dataclass(frozen=True)
class StoredTiff(Stored):
    """A file.

    Attributes:
        axes: Its axes.
        shape: Its shape.
        flavour: "imagej", "ome" or "plain".
        options: Arguments of `tifffile` for writing.
        known: Metadata of ImageJ or OME by name.
        description: Description tag.
        pixels_per_unit: Resolution along x and y, where the file has one.
    """

    axes: str = "ZYX"
    shape: tuple[int, ...] = ()
    flavour: str = "plain"
    options: dict[str, Any] = field(default_factory=dict)
    known: dict[str, Any] = field(default_factory=dict)
    description: str = ""
    pixels_per_unit: tuple[tuple[int, int], tuple[int, int]] | None = None

    def to_bytes(self, values: np.ndarray) -> bytes:
        """Bytes of the file with these values `[F, D, H, W]`; another size has another pixel size."""
        made = self.stored(values)
        depth = depth_of(self.axes)
        frames = [n for axis, n in zip(self.axes, self.shape, strict=True) if axis not in ("Y", "X", depth)]
        ordered = "".join(axis for axis in self.axes if axis not in ("Y", "X", depth)) + depth + "YX"
        sizes = made.shape[1:] if depth else made.shape[2:]
        array = made.reshape(*frames, *sizes).transpose([ordered.index(axis) for axis in self.axes])
        finer = [new / old for new, old in zip(made.shape[1:], self.raw_shape[1:], strict=True)]
        options = dict(self.options)
        if self.pixels_per_unit:
            (a, b), (c, d) = self.pixels_per_unit
            options["resolution"] = ((a, b), (c, d)) if finer[1:] == [1, 1] else (a / b * finer[2], c / d * finer[1])
        known, same = dict(self.known), made.shape == self.raw.shape and made.dtype == self.raw.dtype
        if self.flavour == "imagej":
            if "spacing" in known:
                known["spacing"] = float(known["spacing"]) / finer[0]
            options |= {"imagej": True, "metadata": known | {"axes": self.axes}}
            options.pop("byteorder", None)
        elif same:
            options |= {"metadata": None, "description": self.description.encode() or None}
        elif self.flavour == "ome":
            for axis, more in zip("ZYX", finer, strict=True):
                if f"PhysicalSize{axis}" in known:
                    known[f"PhysicalSize{axis}"] = float(known[f"PhysicalSize{axis}"]) / more
            options |= {"ome": True, "metadata": known | {"axes": self.axes}}
        else:
            options |= {"metadata": {"axes": self.axes}}
        return _written(array, options)

    @property
    def raw_shape(self) -> tuple[int, ...]:
        """Shape `[F, D, H, W]` of the file."""
        sizes = dict(zip(self.axes, self.shape, strict=True))
        depth = sizes.get(depth_of(self.axes), 1)
        frames = int(np.prod(self.shape)) // (depth * sizes["Y"] * sizes["X"])
        return frames, depth, sizes["Y"], sizes["X"]


def read_tiff(data: bytes, name: str) -> tuple[StoredTiff, dict[str, Any]]:
    """Voxels `[F, D, H, W]` of the first stack: depth is Z, or pages without a name; times and channels are F.

    A single picture has a depth of 1.

    The spacing is that of ImageJ or OME where it is known along all three axes.
    """
    tifffile = needed("tifffile")
    with decoding(name, "TIFF stack"), tifffile.TiffFile(io.BytesIO(data)) as file:
        stack, page = file.series[0], file.pages.first
        axes, shape = str(stack.axes), tuple(int(n) for n in stack.shape)
        if "S" in axes:
            raise UserError(f"{name}: is a stack in colour; give one channel")
        if len(shape) < 2 or not {"Y", "X"} <= set(axes) or len(set(axes)) < len(axes):
            check_volume_shape(shape if len(shape) != 3 else shape[:2], name)
        depth = depth_of(axes)
        inner = [axis for axis in axes if axis in ("Y", "X", depth)]
        sizes = dict(zip(axes, shape, strict=True))
        frames = int(np.prod([n for axis, n in sizes.items() if axis not in inner], dtype=object))
        check_volume_shape((sizes.get(depth, 1), sizes["Y"], sizes["X"]), name, frames)
        if np.dtype(stack.dtype).kind not in "biuf":
            raise UserError(f"{name}: holds {stack.dtype}, not real numbers")
        order = [axes.index(axis) for axis in [one for one in axes if one not in inner] + [*depth, "Y", "X"]]
        raw = np.ascontiguousarray(stack.asarray().transpose(order))
        raw = raw.reshape(frames, sizes.get(depth, 1), sizes["Y"], sizes["X"])
        flavour = "imagej" if file.is_imagej else "ome" if file.is_ome else "plain"
        known = {key: value for key, value in (file.imagej_metadata or {}).items() if key not in OF_IMAGEJ}
        if flavour == "ome":
            known = _of_ome(str(file.ome_metadata))
        tags = page.tags
        per_unit = tags.valueof("XResolution"), tags.valueof("YResolution")
        stored = StoredTiff(
            raw.astype(raw.dtype.newbyteorder(file.byteorder)),
            axes=axes,
            shape=shape,
            flavour=flavour,
            options=options_of(file, page),
            known=known,
            description=page.description or "",
            pixels_per_unit=per_unit if all(pair and 0 not in pair for pair in per_unit) else None,
        )
        more: dict[str, Any] = {"spacing_mm": spacing} if (spacing := _spacing(stored)) else {}
        if len(file.series) > 1:
            left = len(file.series) - 1
            more["notes"] = (f"its first stack is read; {left} other image{'s are' if left > 1 else ' is'} left out",)
    return stored, more


def new_tiff(voxels: np.ndarray, spacing_mm: tuple[float, ...] | None) -> bytes:
    """New file with voxels `[F, D, H, W]`: ImageJ, or OME for types that ImageJ lacks."""
    kind = voxels.dtype
    voxels = voxels.astype({"?": "u1", "e": "f4", "g": "f8"}.get(kind.char, kind.newbyteorder("=")))
    axes, array = ("TZYX", voxels) if len(voxels) > 1 else ("ZYX", voxels[0])
    if voxels.dtype.str[1:] in IMAGEJ_TYPES:
        options: dict[str, Any] = {"imagej": True, "metadata": {"axes": axes}}
        if spacing_mm:
            depth, height, width = spacing_mm
            options["resolution"] = (1 / width, 1 / height)
            options["metadata"] |= {"spacing": depth, "unit": "mm"}
        return _written(array, options)
    sizes = {f"PhysicalSize{axis}": size for axis, size in zip("ZYX", spacing_mm or (), strict=bool(spacing_mm))}
    units = {f"{key}Unit": "mm" for key in sizes}
    is_ome = voxels.dtype.itemsize < 8 or voxels.dtype.kind == "f"
    return _written(array, {"ome": is_ome, "photometric": "minisblack", "metadata": {"axes": axes} | sizes | units})


def _written(array: np.ndarray, options: dict[str, Any]) -> bytes:
    """The bytes of a file; without its tags where they are damaged so that no writer takes them."""
    tifffile, buffer = needed("tifffile"), io.BytesIO()
    try:
        tifffile.imwrite(buffer, array, **options)
    except Exception:  # what a damaged file says of itself fails in ways that no list can name
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, array, photometric="minisblack")
    return buffer.getvalue()


def depth_of(axes: str) -> str:
    """Axis of depth: Z, or an unnamed one; none where all axes are times or channels."""
    return "Z" if "Z" in axes else next((axis for axis in axes if axis not in "TCYX"), "")


def options_of(file: Any, page: Any) -> dict[str, Any]:
    """Arguments with which `tifffile` writes pixels as in this file: compression, colours, tags."""
    white = int(page.photometric) == 0
    options: dict[str, Any] = {"photometric": "miniswhite" if white else "minisblack", "byteorder": file.byteorder}
    options |= {"bigtiff": bool(file.is_bigtiff), "software": page.software or False}
    if int(page.compression) in DEFLATE:
        options["compression"] = "zlib"
    if page.tags.valueof("ResolutionUnit") in RESOLUTION_UNITS:
        options["resolutionunit"] = int(page.tags.valueof("ResolutionUnit"))
    if isinstance(stamp := page.tags.valueof("DateTime"), str):
        options["datetime"] = stamp
    plain = (int, float, str, bytes, tuple)
    own = [tag for tag in page.tags if tag.code not in LAID_OUT and isinstance(tag.value, plain)]
    options["extratags"] = [(tag.code, int(tag.dtype), tag.count, tag.value, True) for tag in own]
    return options


def _of_ome(text: str) -> dict[str, Any]:
    """Pixel sizes and their units in an OME description."""
    found = re.search(r"<(?:\w+:)?Pixels\b[^>]*>", text)
    pairs = re.findall(r'\b(PhysicalSize[XYZ](?:Unit)?|TimeIncrement(?:Unit)?)="([^"]*)"', found[0] if found else "")
    return {key: html.unescape(value) for key, value in pairs}


def _spacing(stored: StoredTiff) -> tuple[float, float, float] | None:
    """Voxel size in millimetres along depth, height and width, where the file has all of them."""
    known = stored.known
    try:
        if stored.flavour == "ome":
            units = [MILLIMETRES[known.get(f"PhysicalSize{axis}Unit", "µm")] for axis in "ZYX"]
            sizes = [float(known[f"PhysicalSize{axis}"]) * unit for axis, unit in zip("ZYX", units, strict=True)]
        elif stored.pixels_per_unit and "spacing" in known:
            unit = MILLIMETRES[str(known.get("unit", "")).lower()]
            (a, b), (c, d) = stored.pixels_per_unit
            sizes = [float(known["spacing"]) * unit, d / c * unit, b / a * unit]
        else:
            return None
    except (KeyError, ValueError):
        return None
    return (sizes[0], sizes[1], sizes[2]) if all(0 < size < float("inf") for size in sizes) else None
