"""TIFF files of one colour picture, as scanners and photo editors write them; stacks of numbers are in `tiff.py`."""

import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vqfusion.data.io.decoding import decoding
from vqfusion.data.io.shape import needed
from vqfusion.data.io.tiff import options_of
from vqfusion.data.io.tiff_pages import RGB
from vqfusion.errors import UserError

ORIENTATION, PROFILE = 274, 34675  # pixels are turned upright when they are read; the profile is written by name
ASSOCIATED, UNASSOCIATED = 1, 2  # alpha that the colours were multiplied by, or not


@dataclass(frozen=True)
class TiffTags:
    """What a TIFF file says beside its pixels.

    Attributes:
        options: Arguments with which `tifffile` writes it again.
    """

    options: dict[str, Any] = field(default_factory=dict)

    @property
    def extra(self) -> bool:
        """Whether there are tags that no other format holds."""
        return bool(self.options.get("extratags") or self.options.get("description") or self.options.get("datetime"))


def read_deep(data: bytes, name: str) -> np.ndarray | None:
    """Pixels `[H, W, C]` float32 of a file with 16 bits per channel, alpha last; None with 8 bits, which Pillow reads.

    Raises:
        UserError: Damaged, or a colour space or type of values other than RGB in unsigned integers.
    """
    tifffile = needed("tifffile")
    with decoding(name, "colour TIFF"), tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        if page.dtype == np.uint8 or page.bitspersample in (1, 2, 4):
            return None
        if page.dtype != np.uint16 or page.photometric != RGB:
            raise UserError(
                f"{name}: holds colours as {page.dtype} {page.photometric.name}; save it as RGB with 8 or 16 bits"
            )
        axes, pixels = str(page.axes), page.asarray()
        if sorted(axes) != ["S", "X", "Y"]:
            raise UserError(f"{name}: is a stack in colour; give one picture")
        pixels = pixels.transpose([axes.index(axis) for axis in "YXS"]).astype(np.float32) / 65535
        kind = int(page.extrasamples[0]) if page.extrasamples else 0
        if pixels.shape[2] < 4 or kind not in (ASSOCIATED, UNASSOCIATED):
            return pixels[..., :3]
        if kind == ASSOCIATED:
            alpha = pixels[..., 3:4]
            pixels[..., :3] = np.divide(pixels[..., :3], alpha, out=pixels[..., :3].copy(), where=alpha > 0).clip(0, 1)
        return pixels[..., :4]


def tags_of(data: bytes, name: str) -> TiffTags:
    """What a file says beside its pixels."""
    tifffile = needed("tifffile")
    with decoding(name, "colour TIFF"), tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        options = options_of(file, page)
        del options["photometric"]
        options["extratags"] = [tag for tag in options["extratags"] if tag[0] not in (ORIENTATION, PROFILE)]
        if not page.description.startswith('{"shape"'):  # else tifffile wrote it for itself
            options["description"] = page.description
        return TiffTags({key: value for key, value in options.items() if value})


def encode_tiff(pixels: np.ndarray, icc: bytes | None, dpi: tuple[float, float] | None, tags: TiffTags | None) -> bytes:
    """Bytes of a file with these pixels `[H, W, C]` in 8 or 16 bits; the last of 2 or 4 channels is alpha."""
    tifffile = needed("tifffile")
    colour, alpha = pixels.shape[2] > 2, pixels.shape[2] in (2, 4)
    options: dict[str, Any] = {"compression": "zlib"} | (tags.options if tags else {})
    if dpi:
        options |= {"resolution": dpi, "resolutionunit": 2}
    made = {
        "photometric": "rgb" if colour else "minisblack",
        "extrasamples": ["unassalpha"] if alpha else None,
        "planarconfig": "contig" if pixels.shape[2] > 1 else None,
        "iccprofile": icc,
        "metadata": None,
    }
    shown = pixels if pixels.shape[2] > 1 else pixels[..., 0]
    for told in (options, {"compression": "zlib"}):  # what a damaged file says of itself may be refused
        buffer = io.BytesIO()
        try:
            tifffile.imwrite(buffer, shown, **told, **made)
            return buffer.getvalue()
        except Exception as error:  # in ways that no list can name
            failure = error
    raise failure
