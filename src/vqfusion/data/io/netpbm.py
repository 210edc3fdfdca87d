"""PGM and PPM files with 16 bits per channel, which Pillow reads and writes with 8.

Formats of netpbm: https://netpbm.sourceforge.net/doc/ppm.html
"""

import re

import numpy as np
from jaxtyping import Float, UInt16

from vqfusion.errors import UserError

CHANNELS = {b"P2": 1, b"P3": 3, b"P5": 1, b"P6": 3}  # P2 and P3 in decimal digits
SPACE = rb"(?:\s|#[^\r\n]*[\r\n])+"
HEADER = re.compile(rb"(P[2356])" + SPACE + rb"(\d{1,9})" + SPACE + rb"(\d{1,9})" + SPACE + rb"(\d{1,5})\s")
COMMENT = re.compile(rb"#[^\r\n]*")


def size_of(data: bytes) -> tuple[int, int, int] | None:
    """Height, width and channels of a file with more than 8 bits per channel; None for other files."""
    found = HEADER.match(data)
    if found is None or not 255 < int(found[4]) <= 65535:
        return None
    return int(found[3]), int(found[2]), CHANNELS[found[1]]


def read_netpbm(data: bytes, name: str) -> Float[np.ndarray, "H W C"]:
    """Pixels in [0, 1] of a file with more than 8 bits per channel; UserError where it is cut short."""
    found, size = HEADER.match(data), size_of(data)
    assert found is not None and size is not None
    count, body = size[0] * size[1] * size[2], data[found.end() :]
    if found[1] in (b"P5", b"P6"):
        if len(body) < 2 * count:
            raise UserError(f"{name}: is a broken or cut-off picture ({len(body)} of {2 * count} bytes)")
        values = np.frombuffer(body, ">u2", count)
    else:
        words = COMMENT.sub(b"", body).split()[:count]
        if len(words) < count or not all(word.isdigit() and len(word) < 6 for word in words):
            raise UserError(f"{name}: is a broken or cut-off picture ({len(words)} of {count} numbers)")
        values = np.array([int(word) for word in words])
    pixels: np.ndarray = np.minimum(values.astype(np.float32) / int(found[4]), 1).reshape(size)
    return pixels


def encode_netpbm(pixels: UInt16[np.ndarray, "H W C"]) -> bytes:
    """Bytes of a PGM (one channel) or PPM with 16 bits per channel."""
    height, width, channels = pixels.shape
    kind = b"P5" if channels == 1 else b"P6"
    return b"%s\n%d %d\n65535\n" % (kind, width, height) + pixels.astype(">u2").tobytes()
