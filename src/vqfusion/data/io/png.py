"""Chunks of PNG, and PNG with 16 bits per channel, which Pillow writes for grey only.

PNG specification, third edition (W3C, 2025).
"""

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from jaxtyping import UInt16

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by channels: grey, grey and alpha, RGB, RGBA
UP = 2  # the filter: each row minus the row above
ROWS = 64  # rows that are compressed at once
COLOUR_SPACE = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"cICP": 4}  # chunks, and the length of their content
TEXT = (b"tEXt", b"zTXt", b"iTXt")
Chunks = tuple[tuple[bytes, bytes], ...]  # kind and content of each


def encode_png16(
    pixels: UInt16[np.ndarray, "H W C"],
    icc: bytes | None = None,
    exif: bytes | None = None,
    per_metre: tuple[int, int] | None = None,
    more: Chunks = (),
) -> bytes:
    """Encode a PNG with 16 bits per channel.

    Args:
        pixels: The pixels; the last of 2 or 4 channels is alpha.
        icc: Colour profile.
        exif: EXIF metadata from their TIFF header on.
        per_metre: Resolution (x, y) in pixels per metre.
        more: Further chunks, as from `noted`.

    Returns:
        Bytes of the file.
    """
    height, width, channels = pixels.shape
    parts = [SIGNATURE]
    parts.append(_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, COLOUR_TYPES[channels], 0, 0, 0)))
    parts += [_chunk(kind, content) for kind, content in more]
    if icc:
        parts.append(_chunk(b"iCCP", b"icc\0\0" + zlib.compress(icc)))
    if per_metre:
        parts.append(_chunk(b"pHYs", struct.pack(">IIB", *per_metre, 1)))
    if exif:
        parts.append(_chunk(b"eXIf", exif))
    packer, packed = zlib.compressobj(6), []
    above = np.zeros((1, width * channels * 2), np.uint8)
    for start in range(0, height, ROWS):
        rows = pixels[start : start + ROWS].astype(">u2").reshape(-1, width * channels).view(np.uint8)
        filtered = rows - np.concatenate([above, rows[:-1]])  # modulo 256
        above = rows[-1:]
        packed.append(packer.compress(np.insert(filtered, 0, UP, axis=1).tobytes()))
    packed.append(packer.flush())
    parts += [_chunk(b"IDAT", b"".join(packed)), _chunk(b"IEND", b"")]
    return b"".join(parts)


def compressed_rows(data: bytes) -> tuple[tuple[int, int], int, bytes]:
    """Width and height, whether rows are interlaced (0 or 1), and the compressed rows of a PNG."""
    width, height, *_, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    return (width, height), interlaced, b"".join(content for kind, content in _chunks(data) if kind == b"IDAT")


def noted(data: bytes) -> Chunks:
    """Chunks of a PNG that describe its colour space, one of each kind, and those of text; empty for other files."""
    if not data.startswith(SIGNATURE):
        return ()
    colour: dict[bytes, bytes] = {}
    texts: list[tuple[bytes, bytes]] = []
    for kind, content in _chunks(data):
        if COLOUR_SPACE.get(kind) == len(content):
            colour.setdefault(kind, content)
        elif kind in TEXT and b"\0" in content:
            texts.append((kind, content))
    return (*colour.items(), *texts)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of every chunk."""
    place = len(SIGNATURE)
    while place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        yield kind, data[place + 8 : place + 8 + length]
        place += 12 + length


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
