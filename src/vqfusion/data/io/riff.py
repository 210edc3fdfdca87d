"""Chunks of WAV files that libsndfile does not write: Broadcast Wave data, cues, loops, labels.

Multimedia Programming Interface and Data Specifications 1.0 (IBM, Microsoft, 1991); EBU Tech 3285.
"""

import struct
from collections.abc import Iterator

Chunks = tuple[tuple[bytes, bytes], ...]  # kind and content of each
WRITTEN = (b"fmt ", b"data", b"fact", b"PEAK", b"ds64")  # by libsndfile, for the samples that it writes
FILLERS = (b"JUNK", b"PAD ", b"FLLR", b"junk", b"fake")


def further_chunks(data: bytes) -> Chunks:
    """Chunks of a WAV file beside its samples, its tags and fillers; empty for other files."""
    kept = []
    for kind, content in _chunks(data):
        tags = kind == b"LIST" and content.startswith(b"INFO")
        if kind not in WRITTEN + FILLERS and not tags:
            kept.append((kind, content))
    return tuple(kept)


def with_chunks(data: bytes, chunks: Chunks) -> bytes:
    """A WAV file with further chunks at its end."""
    data += b"\0" * (len(data) % 2)
    for kind, content in chunks:
        data += kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of every whole chunk."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return
    place = 12
    while place + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, place)
        if place + 8 + length > len(data) or not (kind.isascii() and kind.decode().isprintable()):
            return
        yield kind, data[place + 8 : place + 8 + length]
        place += 8 + length + length % 2
