"""WAV, FLAC, Ogg (Vorbis, Opus) and MP3 <-> `Sample("audio")`."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile
import torch

from vqfusion.data.io.file import check_target, name_of, read_bytes
from vqfusion.data.transforms import resample
from vqfusion.errors import UserError
from vqfusion.files import write_bytes
from vqfusion.types import Sample

MAX_SECONDS = 600.0
HOW = {".wav": ("WAV", "PCM_16"), ".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "VORBIS")}


def read_sound(
    source: str | Path | bytes, sample_rate_hz: int | None = None, max_seconds: float = MAX_SECONDS
) -> Sample:
    """A sound `[1, T]` float32 in [-1, 1] from a path, `"-"` for standard input, or bytes.

    Channels are averaged to one. `sample_rate_hz` resamples; None keeps the file's rate. A sound whose peak
    is over 1 (a float file can be) is divided by its peak.

    Raises UserError for a file that is missing, empty, broken, not a supported sound, holds no samples or
    NaN, or lasts longer than `max_seconds`.
    """
    data, name = read_bytes(source), name_of(source)
    try:
        with soundfile.SoundFile(BytesIO(data)) as file:
            rate, seconds = file.samplerate, file.frames / file.samplerate
            if seconds > max_seconds:
                raise UserError(
                    f"{name}: lasts {seconds:.0f} s, over the limit of {max_seconds:g} s; cut it or raise max_seconds"
                )
            sound = file.read(int(max_seconds * rate) + 1, dtype="float32", always_2d=True).mean(1)
    except soundfile.SoundFileError as error:
        reason = str(error).split(": ")[-1].strip().rstrip(".")
        raise UserError(f"{name}: is not a WAV, FLAC, Ogg or MP3 sound, or is broken ({reason})") from None
    if sound.size == 0:
        raise UserError(f"{name}: holds no samples")
    if not np.isfinite(sound).all():
        raise UserError(f"{name}: holds NaN or infinity at sample {int(np.argmin(np.isfinite(sound)))}")
    sample = Sample("audio", torch.from_numpy(sound)[None], sample_rate_hz=rate)
    sample = resample(sample, sample_rate_hz or rate)
    return replace(sample, data=sample.data / sample.data.abs().max().clamp(min=1))


def write_sound(sample: Sample, path: str | Path, force: bool = False) -> None:
    """Write `[1, T]` in [-1, 1]: WAV and FLAC with 16 bits, .ogg as Vorbis.

    Values outside [-1, 1] are clipped. The file appears whole or not at all. Raises UserError if the file
    exists and not `force`, for another suffix, NaN, no samples, or no sample rate.
    """
    path = check_target(path, tuple(HOW), force)
    if sample.data.ndim != 2 or sample.data.shape[0] != 1 or sample.data.numel() == 0:
        raise UserError(f"{path}: a sound is [1, T], not {list(sample.data.shape)}")
    if not sample.sample_rate_hz:
        raise UserError(f"{path}: the sound has no sample rate")
    if not torch.isfinite(sample.data).all():
        raise UserError(f"{path}: the sound holds NaN or infinity")
    sound = sample.data[0].detach().cpu().float().clamp(-1, 1).numpy()
    form, subtype = HOW[path.suffix.lower()]
    if form != "OGG":  # libsndfile reads 16 bits as n / 32768: write them so, rounded
        sound = np.clip(np.rint(sound * 32768), -32768, 32767).astype(np.int16)
    buffer = BytesIO()
    try:
        with soundfile.SoundFile(buffer, "w", sample.sample_rate_hz, 1, subtype, format=form) as file:
            for start in range(0, len(sound), 65536):  # libvorbis overflows its stack on one long write
                file.write(sound[start : start + 65536])
    except soundfile.SoundFileError as error:
        reason = str(error).split(": ")[-1].strip().rstrip(".")
        raise UserError(f"{path}: this format cannot hold the sound ({reason}); use .wav") from None
    write_bytes(path, buffer.getvalue(), force)
