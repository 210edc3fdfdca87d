"""Whether the end of a file is missing, by what its format says of its own length."""

import struct
import zlib
from collections.abc import Callable

STREAMED = 0x7FFFF000  # programs that write to a pipe put 0 or a number like this, since they do not know the length


def cut_off(data: bytes) -> str:
    """Why the end of a file is missing; "" where it is there, or the format does not tell."""
    for begins, reason in FORMATS:
        if data.startswith(begins):
            return reason(data)
    return ""


def _jpeg(data: bytes) -> str:
    """The end-of-image marker follows the last scan; that of a thumbnail stands before it."""
    return "" if data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda") else "has no end marker"


def _png(data: bytes) -> str:
    return "" if b"IEND" in data[-1024:] or data.rfind(b"IEND") > 0 else "has no end marker"


def _chunked(data: bytes, order: str) -> str:
    """RIFF and AIFF: four letters, then the number of bytes that follow."""
    if len(data) < 12:
        return "ends in its header"
    (size,) = struct.unpack(order, data[4:8])
    known = 0 < size < STREAMED
    missing = size + 8 - len(data)
    return f"lacks {missing} of {size + 8} bytes" if known and missing > 1 else ""  # a pad byte may be left out


def _ogg(data: bytes) -> str:
    """The last page is whole and flagged as the last of its stream (RFC 3533)."""
    page = data.rfind(b"OggS")
    head = data[page : page + 27]
    if len(head) < 27:
        return "ends in the header of a page"
    lengths = data[page + 27 : page + 27 + head[26]]
    if len(lengths) < head[26] or page + 27 + head[26] + sum(lengths) > len(data):
        return "ends within a page"
    return "" if head[5] & 4 else "has no last page"


def _gzip(data: bytes) -> str:
    unpacker, step = zlib.decompressobj(31), 2**20
    try:
        for start in range(0, len(data), step):
            rest = data[start : start + step]
            while rest:  # unpacked piece by piece, so that memory is bounded
                unpacker.decompress(rest, step)
                rest = unpacker.unconsumed_tail
            if unpacker.eof:
                return ""
    except zlib.error:
        return ""
    return "ends within its compressed content"


FORMATS: tuple[tuple[bytes, Callable[[bytes], str]], ...] = (
    (b"\xff\xd8\xff", _jpeg),
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"RIFF", lambda data: _chunked(data, "<I")),
    (b"FORM", lambda data: _chunked(data, ">I")),
    (b"OggS", _ogg),
    (b"\x1f\x8b", _gzip),
)
