"""What the file of a picture holds beside its colours: transparency, profiles, metadata, texts."""

import warnings
from contextlib import suppress
from dataclasses import dataclass, replace

from jaxtyping import Float
from PIL import ExifTags, Image
from torch import Tensor
from torch.nn import functional

from vqfusion.data.io.animation import Animation
from vqfusion.data.io.colour_tiff import TiffTags
from vqfusion.data.io.picture_formats import (
    DEPTH,
    FRAMES,
    GAMMA,
    NOTES,
    PROFILE,
    TAGS,
    TEXTS,
    TRANSPARENCY,
    Format,
)
from vqfusion.data.io.png import COLOUR_SPACE, TEXT, Chunks

ORIENTATION = 0x0112
XMP = b"XML:com.adobe.xmp\0\0\0\0\0"  # keyword of a text chunk, uncompressed, of no language
MAX_DPI = 2**16  # of a JPEG


@dataclass(frozen=True)
class Extras:
    """What the file of a picture holds beside its colours, all upright.

    Attributes:
        alpha: Opacity in [0, 1].
        exif: EXIF metadata.
        icc: Colour profile.
        bits: Bits per channel, 8 or 16.
        dpi: Dots per inch (x, y).
        tables: Quantization tables of a JPEG whose pixels were not turned.
        chunks: Chunks of a PNG: colour space (gamma, primaries) and texts.
        xmp: XMP metadata.
        comment: Comment of a JPEG.
        tags: What a TIFF file says beside its pixels.
        animation: Frames after the first.
    """

    alpha: Float[Tensor, "1 H W"] | None = None
    exif: bytes | None = None
    icc: bytes | None = None
    bits: int = 8
    dpi: tuple[float, float] | None = None
    tables: dict[int, list[int]] | None = None
    chunks: Chunks = ()
    xmp: bytes | None = None
    comment: bytes | None = None
    tags: TiffTags | None = None
    animation: Animation | None = None

    @property
    def beside_colours(self) -> tuple[str, ...]:
        """What there is of it, in words for the user."""
        kinds = {kind for kind, _ in self.chunks}
        there = {
            TRANSPARENCY: self.alpha is not None,
            PROFILE: self.icc is not None,
            NOTES: self.exif is not None,
            GAMMA: bool(kinds & (COLOUR_SPACE.keys() - {b"sRGB"})),
            TEXTS: bool(kinds & set(TEXT) or self.comment),
            TAGS: bool(self.tags and self.tags.extra),
            FRAMES: self.animation is not None,
        }
        return tuple(name for name, held in there.items() if held)

    def gone(self, form: Format) -> tuple[str, ...]:
        """What a file of another format does not hold of it, in words for the user."""
        there = (*self.beside_colours, *(DEPTH,) * (self.bits == 16))
        comment_only = self.comment is not None and not self.chunks
        held = form.holds | ({TEXTS} if form.name == "JPEG" and comment_only else set())
        return tuple(name for name in there if name not in held)

    def resized(self, height: int, width: int) -> "Extras":
        """The same for another size of the picture; opacity is resized with bicubic interpolation."""
        if self.alpha is None or self.alpha.shape[1:] == (height, width):
            return self
        alpha = functional.interpolate(self.alpha[None], (height, width), mode="bicubic", antialias=True)[0]
        return replace(self, alpha=alpha.clamp(0, 1))


def notes_of(picture: Image.Image, keep: bool) -> tuple[int, bytes | None]:
    """EXIF orientation, 1 where there is none, and with `keep` the EXIF metadata, None where they are damaged."""
    orientation = 1
    with suppress(Exception):  # Pillow raises almost any exception on damaged EXIF
        notes = picture.getexif()
        told = notes.get(ORIENTATION)
        orientation = told if isinstance(told, int) else 1
        held = keep and notes and picture.format != "TIFF"  # there they are the layout of the file itself
        return orientation, notes.tobytes() if held else None
    return orientation, None


def extras_of(picture: Image.Image, deep: bool, exif: bytes | None, orientation: int) -> Extras:
    """Everything but the transparency; the colour profile only where it is one for the colours that are read."""
    icc, dpi = picture.info.get("icc_profile"), picture.info.get("dpi")
    space = b"GRAY" if picture.mode in ("1", "L", "LA") or picture.mode.startswith("I") else b"RGB "
    return Extras(
        exif=exif,
        icc=icc if icc and icc[16:20] == space else None,
        bits=16 if deep else 8,
        dpi=(float(dpi[0]), float(dpi[1])) if dpi and 0 < min(dpi) and max(dpi) < MAX_DPI else None,
        tables=getattr(picture, "quantization", None) if orientation == 1 else None,
        xmp=_xmp(picture),
        comment=picture.info.get("comment") if picture.format == "JPEG" else None,
    )


def _xmp(picture: Image.Image) -> bytes | None:
    """XMP metadata, unless they tell an orientation, which upright pixels do not have."""
    xmp = picture.info.get("xmp")
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    return xmp if isinstance(xmp, bytes) and b"tiff:Orientation" not in xmp else None


def upright(exif: bytes | None, height: int, width: int) -> bytes | None:
    """EXIF metadata of the written pixels: upright, with their size where the metadata have one."""
    if exif is None:
        return None
    notes = Image.Exif()
    with warnings.catch_warnings(action="ignore", category=UserWarning), suppress(Exception):  # as in notes_of
        notes.load(exif)
        if ORIENTATION in notes:
            notes[ORIENTATION] = 1
        inner = notes.get_ifd(ExifTags.IFD.Exif)
        for known, names in ((notes, ("ImageWidth", "ImageLength")), (inner, ("ExifImageWidth", "ExifImageHeight"))):
            for name, size in zip(names, (width, height), strict=True):
                if ExifTags.Base[name] in known:
                    known[ExifTags.Base[name]] = size
        return notes.tobytes()
    return None


def chunks_of(extras: Extras) -> Chunks:
    """Chunks of a PNG with these extras; "sRGB" has no place beside a colour profile."""
    kept = tuple((kind, held) for kind, held in extras.chunks if kind != b"sRGB" or not extras.icc)
    texts = {held.partition(b"\0")[0] for kind, held in kept if kind in TEXT}
    if extras.comment and b"Comment" not in texts:
        kept += ((b"tEXt", b"Comment\0" + extras.comment.replace(b"\0", b" ")),)
    if extras.xmp and XMP.partition(b"\0")[0] not in texts:
        kept += ((b"iTXt", XMP + extras.xmp),)
    return kept
