"""The .vqf file: the codes of one sample, with everything that is needed to read them but the model."""

import json
import math
import struct
import zlib
from dataclasses import dataclass

from pydantic import Field, ValidationError

from vqfusion.config import Config
from vqfusion.errors import UserError
from vqfusion.modalities import FileName

MAGIC, VERSION = b"\x89VQF", 1
FRONT = struct.Struct("<4sBHII")  # magic, version, bytes of the header, bytes of the codes, CRC-32 of both
MOST_CODES = 2**27
# what most headers of version 1 hold: known to both sides, so that it costs no bytes
COMMON = (
    b'"spacing_mm":[1.0,1.0,1.0],"rate_hz":,"sample_rate_hz":16000,"offset":[0.],"scale":[1.],"affine":[[1.0,0.0,0.0,'
    b'{"modality":"series","modality":"volume","modality":"text","modality":"audio","modality":"image","model":"emoji"'
    b',"tokenizer":"text","tokenizer":"audio","tokenizer":"image","fingerprint":"","codebook_size":1000,'
    b'"codebook_size":512,"grid":[16,16],"size":[64,64],"coding":"packed"}"coding":"adaptive"}"coding":"model:'
)


class VqfHeader(Config):
    """What stands in the header of a file, as JSON without the keys that are null.

    `size` is the extent of the original: image `[C, H, W]`, audio `[T]` at `sample_rate_hz`, volume `[D, H, W]`,
    series `[C, T]`, text in bytes. `grid` is the shape of the codes. `coding` is how they are packed: "packed"
    (bits), "adaptive" (counts) or "model:..." (the entropy model of that fingerprint). `offset` and `scale` are those
    of `Tokens`; `dtype` is the type of integers that values had in their file, such as "<i2".
    """

    modality: FileName
    model: str
    tokenizer: str
    fingerprint: str
    codebook_size: int
    grid: tuple[int, ...]
    size: tuple[int, ...]
    sample_rate_hz: int | None = None
    rate_hz: float | None = None
    dtype: str | None = Field(None, pattern=r"^[<>|][iu][1248]$")
    spacing_mm: tuple[float, ...] | None = None
    affine: tuple[tuple[float, ...], ...] | None = None
    channel_names: tuple[str, ...] | None = None
    offset: tuple[float, ...] | None = None
    scale: tuple[float, ...] | None = None
    coding: str


@dataclass(frozen=True)
class VqfFile:
    """A header and the coded indices."""

    header: VqfHeader
    payload: bytes

    @property
    def codes(self) -> int:
        """Number of codes."""
        return math.prod(self.header.grid)

    def to_bytes(self) -> bytes:
        """The file: 15 bytes in front, the header as deflated JSON, the codes."""
        text = json.dumps(self.header.model_dump(mode="json", exclude_none=True), separators=(",", ":"))
        packer = zlib.compressobj(9, wbits=-15, zdict=COMMON)
        header = packer.compress(text.encode()) + packer.flush()
        check = zlib.crc32(header + self.payload)
        return FRONT.pack(MAGIC, VERSION, len(header), len(self.payload), check) + header + self.payload

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "this file") -> "VqfFile":
        """Inverse of `to_bytes`; UserError in which `name` is foreign, of another version, cut short or damaged."""
        if data[:4] != MAGIC[: len(data)] or not data:
            raise UserError(f"{name}: is not a .vqf file; make one with vqfusion encode")
        if len(data) > 4 and data[4] != VERSION:
            raise UserError(f"{name}: is of version {data[4]} of the format, this vqfusion reads version {VERSION}")
        if len(data) < FRONT.size:
            raise UserError(f"{name}: is cut short ({len(data)} bytes)")
        _, _, header_bytes, payload_bytes, check = FRONT.unpack_from(data)
        rest, expected = data[FRONT.size :], header_bytes + payload_bytes
        if len(rest) < expected:
            raise UserError(f"{name}: is cut short ({len(data)} of {expected + FRONT.size} bytes)")
        if len(rest) > expected:
            raise UserError(f"{name}: is damaged ({len(rest) - expected} bytes too many)")
        if zlib.crc32(rest) != check:
            raise UserError(f"{name}: is damaged (its checksum is wrong)")
        try:
            unpacker = zlib.decompressobj(-15, zdict=COMMON)
            text = unpacker.decompress(rest[:header_bytes], 2**20)
            header = VqfHeader.model_validate_json(text)
        except (zlib.error, ValidationError) as error:
            raise UserError(f"{name}: is damaged (its header is unreadable: {str(error).splitlines()[0]})") from None
        if not header.grid or min(header.grid + header.size) < 0 or not 0 <= math.prod(header.grid) <= MOST_CODES:
            raise UserError(f"{name}: is damaged (a grid of {' x '.join(map(str, header.grid))} codes)")
        return cls(header, rest[header_bytes:])
