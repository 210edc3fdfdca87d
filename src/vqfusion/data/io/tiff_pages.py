"""The chain of pages of a TIFF file, read without any library, so that the kind of a file is known at once.

TIFF 6.0 (Aldus 1992), section 2: a file is a chain of directories, one a page; BigTIFF has 64-bit offsets.
"""

import struct

HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
PAGES = 64  # directories that are looked at
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 16: 8}  # bytes of a value, of the types that the tags below have
SUBFILE, PHOTOMETRIC, DESCRIPTION, SAMPLES = 254, 262, 270, 277
RGB, PALETTE, CMYK, YCBCR, LAB = 2, 3, 5, 6, 8
COLOURS = (RGB, PALETTE, CMYK, YCBCR, LAB)


def is_colour_picture(data: bytes) -> bool:
    """Whether this is a TIFF file of one picture in colour; its reduced copies (thumbnails) do not count as pages.

    Pseudo-colours of ImageJ and OME files belong to numbers, not to a picture.
    """
    try:
        pages = [page for page in _directories(data) if not _number(page.get(SUBFILE)) & 1]
    except (struct.error, ValueError, OverflowError):
        return False
    if len(pages) != 1:
        return False
    page = pages[0]
    kind, described = _number(page.get(PHOTOMETRIC)), page.get(DESCRIPTION, b"")
    if kind == PALETTE:
        return not described.startswith(b"ImageJ=") and b"OME" not in described[:1000]
    return kind in COLOURS and _number(page.get(SAMPLES)) >= 3


def _directories(data: bytes) -> list[dict[int, bytes]]:
    """Every page as the bytes of the tags that are looked at; numbers with their lowest byte first."""
    if data[:4] not in HEADS:
        raise ValueError("no TIFF")
    order, big = (">" if data[:1] == b"M" else "<"), data[2:4] in (b"+\0", b"\0+")
    count, entry, offset, width = ("Q", "HHQ", "Q", 20) if big else ("H", "HHI", "I", 12)
    (place,) = struct.unpack_from(order + offset, data, 8 if big else 4)
    pages: list[dict[int, bytes]] = []
    while place and len(pages) < PAGES:
        (entries,) = struct.unpack_from(order + count, data, place)
        first = place + struct.calcsize(order + count)
        tags: dict[int, bytes] = {}
        for i in range(min(entries, 4096)):
            start = first + width * i
            tag, kind, number = struct.unpack_from(order + entry, data, start)
            if tag in (SUBFILE, PHOTOMETRIC, DESCRIPTION, SAMPLES) and kind in SIZES:
                inside = start + struct.calcsize(order + entry)
                room, length = struct.calcsize(offset), SIZES[kind] * number
                if length > room:
                    (inside,) = struct.unpack_from(order + offset, data, inside)
                held = data[inside : inside + min(length, 2000)]
                one = held[: SIZES[kind]]
                tags[tag] = held if kind == 2 else one[::-1] if order == ">" else one
        pages.append(tags)
        (place,) = struct.unpack_from(order + offset, data, first + width * entries)
    return pages


def _number(held: bytes | None) -> int:
    """The value of a tag of whole numbers; 0 where it is missing."""
    return int.from_bytes(held or b"", "little")
