"""Bits per channel that files of JPEG 2000 and AVIF say they hold; Pillow reads 8 of them, where in colour.

JPEG 2000: ITU-T T.800, annex A.5.1 (image and tile size). AVIF: the box `pixi` of ISO/IEC 23008-12, 6.5.6.
"""

CODESTREAM = b"\xff\x4f\xff\x51"  # start of a JPEG 2000 codestream and its first segment
COMPONENTS = 40  # bytes from there to the number of components, 3 bytes of each of which follow


def bits_of(data: bytes) -> int:
    """Most bits of a channel of a JPEG 2000 or AVIF file; 8 for other files, and where it does not say."""
    if data[4:8] == b"jP  " and (place := data.find(CODESTREAM)) >= 0:
        place += COMPONENTS
        count = int.from_bytes(data[place : place + 2])
        depths = data[place + 2 : place + 2 + 3 * min(count, 4) : 3]
        return max((1 + (depth & 0x7F) for depth in depths), default=8)
    if data[4:8] == b"ftyp" and (place := data.find(b"pixi\0\0\0\0")) >= 0:
        channels = int.from_bytes(data[place + 8 : place + 9])
        return max(data[place + 9 : place + 9 + min(4, channels)], default=8)
    return 8
