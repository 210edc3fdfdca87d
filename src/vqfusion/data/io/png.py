"""PNG with 16 bits per channel, which Pillow writes for grey only: PNG specification, third edition (W3C, 2025)."""

import struct
import zlib

import numpy as np
from jaxtyping import UInt16

COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by channels: grey, grey and alpha, RGB, RGBA
UP = 2  # the filter: each row minus the row above
ROWS = 64  # rows that are compressed at once


def encode_png16(
    pixels: UInt16[np.ndarray, "H W C"],
    icc: bytes | None = None,
    exif: bytes | None = None,
    per_metre: tuple[int, int] | None = None,
) -> bytes:
    """Encode a PNG with 16 bits per channel.

    Args:
        pixels: The pixels; the last of 2 or 4 channels is alpha.
        icc: Colour profile.
        exif: EXIF metadata from their TIFF header on.
        per_metre: Resolution (x, y) in pixels per metre.

    Returns:
        Bytes of the file.
    """
    height, width, channels = pixels.shape
    parts = [b"\x89PNG\r\n\x1a\n"]
    parts.append(_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, COLOUR_TYPES[channels], 0, 0, 0)))
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
    rows, place = [], 8
    while place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        if kind == b"IDAT":
            rows.append(data[place + 8 : place + 8 + length])
        place += 12 + length
    return (width, height), interlaced, b"".join(rows)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
