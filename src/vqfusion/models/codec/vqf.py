"""The .vqf format: the codes of one sample and all metadata needed to decode them with the model."""

import json
import math
import struct
import zlib
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, ValidationError

from vqfusion.config import Config
from vqfusion.config.base import Positive
from vqfusion.errors import UserError
from vqfusion.limits import CODES, MEMORY
from vqfusion.modalities import MODALITIES, FileName

MAGIC, VERSION = b"\x89VQF", 1
FRONT = struct.Struct("<4sBHII")  # magic, version, bytes of the header, bytes of the codes, CRC-32 of both
MOST_AXES = 5
CODES_PER_VALUE = 32  # more than any quantizer makes of a value: several codes a vector, and padding
LEAST_CODES = 4096  # any file may have as many: those of one vector, however small the sample
BYTES_PER_CODE = 16
BYTES_PER_VALUE = 16  # of memory that decoding needs: the network's own layers run in tiles
# preset dictionary of frequent header content, known to encoder and decoder, so that it costs no bytes
COMMON = (
    b'"spacing_mm":[1.0,1.0,1.0],"rate_hz":,"sample_rate_hz":16000,"offset":[0.],"scale":[1.],"affine":[[1.0,0.0,0.0,'
    b'{"modality":"series","modality":"volume","modality":"text","modality":"audio","modality":"image","model":"emoji"'
    b',"tokenizer":"text","tokenizer":"audio","tokenizer":"image","fingerprint":"","codebook_size":1000,'
    b'"codebook_size":512,"grid":[16,16],"size":[64,64],"coding":"packed"}"coding":"adaptive"}"coding":"model:'
)


Extent = Annotated[int, Field(ge=0, lt=2**40)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Row = tuple[Finite, Finite, Finite, Finite]


class VqfHeader(Config):
    """Header of a file, stored as JSON without null values.

    Attributes:
        modality: Modality of the sample.
        model: Name of the model.
        tokenizer: Name of the tokenizer in the model.
        fingerprint: Fingerprint of the tokenizer.
        codebook_size: Number of codes.
        grid: Shape of the codes.
        size: Size of the original: image `[C, H, W]`, audio `[T]` at `sample_rate_hz`, volume `[D, H, W]`, series `[C,
            T]`, text in bytes.
        sample_rate_hz: Sample rate of audio.
        rate_hz: Sampling rate of a series.
        dtype: Integer type of the values in their file, such as "<i2".
        spacing_mm: Voxel size of a volume.
        affine: Voxel coordinates to millimetres.
        channel_names: Names of the channels of a series.
        offset: As in `Tokens`.
        scale: As in `Tokens`; for audio the factor to the original loudness.
        coding: How codes are stored: "packed" (bits), "adaptive" (counts) or "model:..." (entropy model with this
            fingerprint).
    """

    modality: FileName
    model: str
    tokenizer: str
    fingerprint: str
    codebook_size: int = Field(ge=1, lt=2**31)
    grid: tuple[Extent, ...] = Field(min_length=1, max_length=MOST_AXES)
    size: tuple[Extent, ...] = Field(min_length=1, max_length=MOST_AXES)
    sample_rate_hz: int | None = Field(None, ge=1, lt=2**31)
    rate_hz: float | None = Field(None, gt=0, allow_inf_nan=False)
    dtype: str | None = Field(None, pattern=r"^[<>|][iu][1248]$")
    spacing_mm: tuple[Positive, Positive, Positive] | None = None
    affine: tuple[Row, Row, Row, Row] | None = None
    channel_names: tuple[str, ...] | None = None
    offset: tuple[Finite, ...] | None = None
    scale: tuple[Finite, ...] | None = None
    coding: str


@dataclass(frozen=True)
class VqfFile:
    """Header and encoded codes of a .vqf file."""

    header: VqfHeader
    payload: bytes

    @property
    def codes(self) -> int:
        """Number of codes."""
        return math.prod(self.header.grid)

    def to_bytes(self) -> bytes:
        """Bytes of the file: 15 bytes of prefix, the header as compressed JSON, the codes."""
        text = json.dumps(self.header.model_dump(mode="json", exclude_none=True), separators=(",", ":"))
        packer = zlib.compressobj(9, wbits=-15, zdict=COMMON)
        header = packer.compress(text.encode()) + packer.flush()
        check = zlib.crc32(header + self.payload)
        return FRONT.pack(MAGIC, VERSION, len(header), len(self.payload), check) + header + self.payload

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "this file") -> "VqfFile":
        """Inverse of `to_bytes`.

        Args:
            data: Bytes of the file.
            name: Name of the file in messages.

        Returns:
            Header and codes.

        Raises:
            UserError: Not a .vqf file, another version, truncated or damaged.
        """
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
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))[:80]
            raise UserError(f"{name}: is damaged (its header is wrong: {where}: {first['msg'][:80]})") from None
        except zlib.error as error:
            raise UserError(f"{name}: is damaged (its header is unreadable: {error})") from None
        file, values = cls(header, rest[header_bytes:]), math.prod(max(1, extent) for extent in header.size)
        if file.codes > LEAST_CODES + CODES_PER_VALUE * values:
            grid, size = (" x ".join(map(str, extents)) for extents in (header.grid, header.size))
            raise UserError(f"{name}: is damaged (a grid of {grid} codes for a size of {size})")
        CODES.require(math.prod(header.grid[: max(1, MODALITIES[header.modality].rank)]), name)
        MEMORY.require(BYTES_PER_VALUE * values + BYTES_PER_CODE * file.codes, name)
        return file
