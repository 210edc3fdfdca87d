"""Formats of pictures: how each is written, and what it can hold beside the colours."""

from dataclasses import dataclass, field
from typing import Any

TRANSPARENCY, PROFILE, NOTES, GAMMA, TEXTS, DEPTH = (
    "transparency", "colour profile", "EXIF notes", "gamma or colour space", "texts", "16 bits"
)  # fmt: skip
TAGS, FRAMES = "TIFF tags", "further frames"


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        name: Its name in Pillow.
        holds: What it holds beside 8-bit colours, in words for the user.
        options: Arguments for writing.
    """

    name: str
    holds: frozenset[str] = frozenset()
    options: dict[str, Any] = field(default_factory=dict)


_PNG = Format("PNG", frozenset((TRANSPARENCY, PROFILE, NOTES, GAMMA, TEXTS, DEPTH, FRAMES)))
_JPEG = Format("JPEG", frozenset((PROFILE, NOTES)), {"quality": 95, "subsampling": 0})
_PPM = Format("PPM", frozenset((DEPTH,)))
_TIFF = Format("TIFF", frozenset((TRANSPARENCY, PROFILE, DEPTH, TAGS)))

WRITTEN = {
    ".png": _PNG,
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".webp": Format("WEBP", frozenset((TRANSPARENCY, PROFILE, NOTES, FRAMES)), {"lossless": True}),
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".bmp": Format("BMP"),
    ".avif": Format("AVIF", frozenset((TRANSPARENCY, PROFILE, NOTES)), {"quality": 95, "subsampling": "4:4:4"}),
    ".jp2": Format("JPEG2000", frozenset((TRANSPARENCY,))),
    ".ppm": _PPM,
}
READ = (*dict.fromkeys(form.name for form in WRITTEN.values()), "GIF")  # in the words of Pillow
