"""The .vqf format: the codes of one sample and all metadata needed to decode them with the model."""

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
# preset dictionary of frequent header content, known to encoder and decoder, so that it costs no bytes
COMMON = (
    b'"spacing_mm":[1.0,1.0,1.0],"rate_hz":,"sample_rate_hz":16000,"offset":[0.],"scale":[1.],"affine":[[1.0,0.0,0.0,'
    b'{"modality":"series","modality":"volume","modality":"text","modality":"audio","modality":"image","model":"emoji"'
    b',"tokenizer":"text","tokenizer":"audio","tokenizer":"image","fingerprint":"","codebook_size":1000,'
    b'"codebook_size":512,"grid":[16,16],"size":[64,64],"coding":"packed"}"coding":"adaptive"}"coding":"model:'
)


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
        except (zlib.error, ValidationError) as error:
            raise UserError(f"{name}: is damaged (its header is unreadable: {str(error).splitlines()[0]})") from None
        if not header.grid or min(header.grid + header.size) < 0 or not 0 <= math.prod(header.grid) <= MOST_CODES:
            raise UserError(f"{name}: is damaged (a grid of {' x '.join(map(str, header.grid))} codes)")
        return cls(header, rest[header_bytes:])
