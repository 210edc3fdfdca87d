"""WAV, FLAC, Ogg (Vorbis, Opus), MP3, AIFF, W64, AU and CAF <-> `Sample("audio")`."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile
import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.data.io.file import check_target, name_of, read_bytes
from vqfusion.data.io.quiet import quiet
from vqfusion.data.io.riff import Chunks, further_chunks, with_chunks
from vqfusion.data.transforms import resample
from vqfusion.errors import UserError
from vqfusion.files import write_bytes
from vqfusion.types import Sample

MOST_VALUES = 2**27  # 46 minutes at 48 kHz, 2.3 hours at 16 kHz
CHUNK = 65536  # samples per write; libvorbis overflows its stack on long ones
FORMATS = {
    ".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".opus": "OGG", ".mp3": "MP3", ".aiff": "AIFF", ".aif": "AIFF",
    ".w64": "W64", ".au": "AU", ".caf": "CAF",
}  # fmt: skip
USUAL = {".ogg": "VORBIS", ".opus": "OPUS", ".mp3": "MPEG_LAYER_III"}  # else PCM_16
NEAREST = {"FLOAT": "PCM_24", "DOUBLE": "PCM_24", "PCM_32": "PCM_24", "PCM_U8": "PCM_S8", "PCM_S8": "PCM_U8"}
BITS = {"PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "PCM_U8": 8, "PCM_S8": 8, "ULAW": 16, "ALAW": 16}
BITS |= {f"ALAC_{bits}": bits for bits in (16, 20, 24, 32)}
FLOATS = ("FLOAT", "DOUBLE")
HOLDS = {"VORBIS": (200_000, 255), "OPUS": (48_000, 64)}  # most Hz and channels: libvorbis crashes beyond them


@dataclass(frozen=True)
class SoundExtras:
    """Format of the file of a sound, in the terms of libsndfile.

    Attributes:
        format: Container, such as "WAV".
        subtype: Sample format, such as "PCM_24".
        endian: Byte order.
        tags: Title, artist and so on.
        chunks: Further chunks of a WAV file.
    """

    format: str = ""
    subtype: str = ""
    endian: str = "FILE"
    tags: Mapping[str, str] = field(default_factory=dict)
    chunks: Chunks = ()


class _Steady(BytesIO):
    """Bytes in which a damaged file may ask for a place before the start: it gets the start.

    The library calls `seek` from C, where an exception prints a traceback and goes on.
    """

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return super().seek(0)


def read_sound(source: str | Path | bytes, sample_rate_hz: int | None = None, keep: bool = False) -> Sample:
    """Read a sound `[C, T]` at the level of the file: full scale is 1, which float files may exceed.

    Args:
        source: Path, `"-"` for standard input, or bytes.
        sample_rate_hz: Resample to this rate; None keeps that of the file.
        keep: Keep all channels, in float64 where the file has more than 24 bits, and give the sample `extras`;
            otherwise channels are mixed into one (see `mixed`), float32.

    Returns:
        The sample.

    Raises:
        UserError: The file is missing, empty, damaged, not a supported sound, has no samples, NaN, or more than 2^27
            values.
    """
    data, name = read_bytes(source), name_of(source)
    try:
        with quiet(data.startswith((b"ID3", b"\xff"))), soundfile.SoundFile(_Steady(data)) as file:
            rate, values = file.samplerate, file.frames * file.channels
            if values > MOST_VALUES:
                raise UserError(
                    f"{name}: lasts {file.frames / rate:.0f} s, {values // 10**6} million values; up to "
                    f"{MOST_VALUES // 10**6} million are taken: cut it into pieces"
                )
            exact = keep and file.subtype in ("PCM_32", "DOUBLE")
            sound = file.read(dtype="float64" if exact else "float32", always_2d=True).T
            extras = None
            if keep:
                tags, chunks = file.copy_metadata(), further_chunks(data)
                extras = SoundExtras(file.format, file.subtype, file.endian, tags, chunks)
    except soundfile.SoundFileError as error:
        reason = str(error).split(": ")[-1].strip().rstrip(".")
        raise UserError(f"{name}: is not a WAV, FLAC, Ogg or MP3 sound, or is broken ({reason})") from None
    if sound.size == 0:
        raise UserError(f"{name}: holds no samples")
    finite = np.isfinite(sound).all(0)
    if not finite.all():
        raise UserError(f"{name}: holds NaN or infinity at sample {int(np.argmin(finite))}")
    sample = Sample("audio", torch.from_numpy(np.ascontiguousarray(sound)), sample_rate_hz=rate, extras=extras)
    sample = sample if keep else mixed(sample)
    return resample(sample, sample_rate_hz or rate)


def mixed(sample: Sample) -> Sample:
    """Mix the channels of a sound: the mean of those that are not silent.

    A channel in opposite phase to the loudest one (their product is negative on average) is inverted first, so that
    they do not cancel. Where channels differ, `notes` says that they were mixed.
    """
    data = sample.data
    if len(data) == 1:
        return sample
    heard = data[(data != 0).any(1)]
    if len(heard) == 0 or bool((heard == heard[:1]).all()):
        one = data[:1] if len(heard) == 0 else heard[:1]
    else:
        loudest = heard[heard.square().sum(1).argmax()]
        signs = torch.where(heard @ loudest < 0, -1.0, 1.0)
        one = (heard * signs[:, None]).mean(0, keepdim=True)
    differ = not bool((data == data[:1]).all())
    line = (f"its {len(data)} channels were mixed into one",) if differ else ()
    return replace(sample, data=one, notes=(*sample.notes, *line))


def write_sound(sample: Sample, path: str | Path, force: bool = False) -> tuple[str, ...]:
    """Write a sound `[C, T]` with full scale 1 in the format of the suffix.

    Samples are stored as in the `extras` where the format can, else in the nearest way; without extras with 16 bits
    (.ogg as Vorbis). Floats keep their level, other formats are clipped at full scale. The file is written atomically.

    Args:
        sample: The sample.
        path: File to write.
        force: Overwrite an existing file.

    Returns:
        One line for everything that the format cannot hold.

    Raises:
        UserError: The file exists and `force` is not set, another suffix, NaN, no samples, or no sample rate.
    """
    path = check_target(path, tuple(FORMATS), force)
    if sample.data.ndim != 2 or sample.data.numel() == 0:
        raise UserError(f"{path}: a sound is [C, T], not {list(sample.data.shape)}")
    if not sample.sample_rate_hz:
        raise UserError(f"{path}: the sound has no sample rate")
    if not torch.isfinite(sample.data).all():
        raise UserError(f"{path}: the sound holds NaN or infinity")
    sound, extras = sample.data.detach().cpu(), sample.extras or SoundExtras()
    failed: soundfile.SoundFileError | None = None
    for subtype, endian in _ways(path, extras):
        most_hz, most_channels = HOLDS.get(subtype, (2**31, 1024))
        if sample.sample_rate_hz > most_hz or len(sound) > most_channels:
            has = f"{len(sound)} channels at {sample.sample_rate_hz} Hz"
            limit = f"up to {most_channels} channels at up to {most_hz} Hz"
            raise UserError(f"{path}: this format holds {limit}, the sound has {has}; use .wav")
        try:
            content = _encoded(sound, sample.sample_rate_hz, FORMATS[path.suffix.lower()], subtype, endian, extras.tags)
        except soundfile.SoundFileError as error:
            failed = failed or error
            continue
        if extras.chunks and content.startswith(b"RIFF"):
            content = with_chunks(content, extras.chunks)
        write_bytes(path, content, force)
        return _lost(sound, subtype, content, extras)
    reason = str(failed).split(": ")[-1].strip().rstrip(".")
    raise UserError(f"{path}: this format cannot hold the sound ({reason}); use .wav")


def _ways(path: Path, extras: SoundExtras) -> Iterator[tuple[str, str]]:
    """Possible sample formats of this file, the best first."""
    suffix = path.suffix.lower()
    form, usual = FORMATS[suffix], USUAL.get(suffix, "PCM_16")
    known = soundfile.available_subtypes(form)
    own = () if suffix in (".opus", ".mp3") else (extras.subtype, NEAREST.get(extras.subtype))
    for subtype in dict.fromkeys((*own, usual)):
        if subtype in known:
            if form == extras.format and extras.endian != "FILE":
                yield subtype, extras.endian
            yield subtype, "FILE"


def _encoded(
    sound: Float[Tensor, "C T"], rate: int, form: str, subtype: str, endian: str, tags: Mapping[str, str]
) -> bytes:
    """Bytes of a file; integers n of b bits stand for n / 2^(b - 1), as libsndfile reads them."""
    values = sound.T.contiguous().numpy()
    if subtype in BITS:
        half = 2.0 ** (BITS[subtype] - 1)
        whole = np.clip(np.rint(values.astype(np.float64) * half), -half, half - 1).astype(np.int64)
        values = (whole << (32 - BITS[subtype])).astype(np.int32)
    elif subtype not in FLOATS:
        values = np.clip(values, -1, 1)
    buffer = BytesIO()
    with soundfile.SoundFile(buffer, "w", rate, len(sound), subtype, endian, form) as file:
        for name, text in tags.items():
            if name != "software":  # libsndfile puts its own name there
                with suppress(soundfile.SoundFileError):  # a format without tags, see _lost
                    setattr(file, name, text)
        for start in range(0, len(values), CHUNK):
            file.write(values[start : start + CHUNK])
    return buffer.getvalue()


def _lost(sound: Float[Tensor, "C T"], subtype: str, content: bytes, extras: SoundExtras) -> tuple[str, ...]:
    """Warnings about samples beyond full scale, and about tags and chunks that the written file does not hold."""
    lines = []
    beyond = int((sound.abs() > 1).sum()) if subtype not in FLOATS else 0
    if beyond and extras.subtype in FLOATS:
        lines.append(f"{beyond} samples beyond full scale were clipped; .wav keeps them")
    if extras.tags:
        with soundfile.SoundFile(BytesIO(content)) as file:
            kept = file.copy_metadata()
        gone = [name for name in extras.tags if name != "software" and name not in kept]
        lines += [f"this format holds no {', '.join(gone)}"] if gone else []
    if extras.chunks and not content.startswith(b"RIFF"):
        kinds = dict.fromkeys(kind.decode().strip() for kind, _ in extras.chunks)
        lines.append(f"this format holds none of the chunks {', '.join(kinds)}; .wav does")
    return tuple(lines)
