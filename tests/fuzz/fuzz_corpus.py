"""Tiny valid files of every kind that vqfusion reads, made by code, and the commands that read them."""

import io
import json
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import torch
from fuzz_kinds import further_seeds
from fuzz_models import model_seeds
from fuzz_seed import Seed
from PIL import Image

from vqfusion.config import PriorConfig
from vqfusion.hub import ZOO
from vqfusion.models.codec.codec import Codec
from vqfusion.models.restoration.prior import Prior
from vqfusion.types import Sample

RESTORE = ("denoise --sigma 0.1", "denoise", "upscale --scale 2", "inpaint", "denoise --interval 0.8")


def seeds(models: Path) -> list[Seed]:
    """One or more inputs of every kind; `models` is the folder of `make_models`."""
    files = [*_pictures(models), *_sounds(models), *_tables(models), *_volumes(models), *_codes(), *_configs()]
    damaged = models.with_name("damaged")
    return [*files, *model_seeds(damaged), *further_seeds(models, damaged)]


def make_models(folder: Path) -> None:
    """Tiny untrained priors, whose weights do not matter here."""
    torch.manual_seed(0)
    for modality, channels in (("image", 3), ("audio", 1), ("volume", 1)):
        config = PriorConfig(modality=modality, channels=channels, widths=(4,), depths=(1,))
        Prior(config).save_pretrained(folder / modality)


def _restored(model: Path) -> tuple[str, ...]:
    return tuple(f"{command} {{}} --model {model}" for command in RESTORE)


def _pictures(models: Path) -> Iterator[Seed]:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 4), np.uint8)
    commands = (*_restored(models / "image"), f"inpaint {{}} --mask {{}} --model {models / 'image'}")
    for name, mode, form in (
        ("png", "RGB", "PNG"), ("png-alpha", "RGBA", "PNG"), ("png-grey", "L", "PNG"), ("jpeg", "RGB", "JPEG"),
        ("webp", "RGBA", "WEBP"), ("tif", "RGB", "TIFF"), ("tif-alpha", "RGBA", "TIFF"), ("bmp", "RGB", "BMP"),
        ("gif", "P", "GIF"), ("avif", "RGBA", "AVIF"), ("jp2", "RGB", "JPEG2000"), ("ppm", "RGB", "PPM"),
    ):  # fmt: skip
        buffer = io.BytesIO()
        picture = Image.fromarray(pixels).convert(mode)
        exif = Image.Exif()
        exif[0x0112] = 6
        picture.save(buffer, form, **({"exif": exif} if form not in ("GIF", "TIFF") else {}), dpi=(72, 72))
        yield Seed(name, "." + name.partition("-")[0], buffer.getvalue(), commands, ".png")


def _sounds(models: Path) -> Iterator[Seed]:
    wave = 0.3 * np.sin(np.arange(2000)[:, None] / np.array([9, 13]))
    for form, subtype, suffix in (
        ("WAV", "PCM_16", ".wav"), ("WAV", "FLOAT", ".wav"), ("FLAC", "PCM_24", ".flac"), ("OGG", "VORBIS", ".ogg"),
        ("OGG", "OPUS", ".opus"), ("MP3", "MPEG_LAYER_III", ".mp3"), ("AIFF", "PCM_16", ".aiff"),
        ("W64", "PCM_16", ".w64"), ("AU", "PCM_16", ".au"), ("CAF", "PCM_16", ".caf"),
    ):  # fmt: skip
        buffer = io.BytesIO()
        soundfile.write(buffer, wave, 16000, subtype, format=form)
        yield Seed(f"{form}-{subtype}", suffix, buffer.getvalue(), _restored(models / "audio"), suffix)


def _tables(models: Path) -> Iterator[Seed]:
    commands = _restored(models / "audio")
    rows = [f"{i / 4},{i % 5},{3 * i}" for i in range(24) if i != 7]
    dates = [f"2024-03-{i + 1:02};{i % 4},5;word" for i in range(20)]
    yield Seed("csv", ".csv", "\n".join(["time_s,a,b", *rows, ""]).encode(), commands, ".csv", True)
    yield Seed("csv-dates", ".csv", "\n".join(["date;a;note", *dates, ""]).encode(), commands, ".csv", True)
    yield Seed("edf", ".edf", _edf(), commands, ".csv")
    yield Seed("npy-series", ".npy", _npy(np.arange(40, dtype=np.float32).reshape(2, 20)), commands, ".npy")


def _volumes(models: Path) -> Iterator[Seed]:
    import nibabel
    import tifffile

    voxels = np.random.default_rng(1).integers(0, 900, (4, 5, 6), np.int16)
    commands = _restored(models / "volume")
    nifti = nibabel.Nifti1Image(voxels, np.diag([2.0, 2, 3, 1])).to_bytes()
    second = nibabel.Nifti2Image(voxels, np.diag([2.0, 2, 3, 1])).to_bytes()
    yield Seed("nifti", ".nii", nifti, commands, ".nii")
    yield Seed("nifti2", ".nii", second, commands, ".nii.gz")
    for name, options in (("tiff-imagej", {"imagej": True}), ("tiff-ome", {"ome": True}), ("tiff", {})):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, voxels.astype(np.uint16), **options)
        yield Seed(name, ".tif", buffer.getvalue(), commands, ".tif")
    yield Seed("npy", ".npy", _npy(voxels), commands, ".npy")
    archive = io.BytesIO()
    np.savez(archive, data=voxels, spacing_mm=np.array([1.0, 2, 3]), affine=np.eye(4))
    yield Seed("npz", ".npz", archive.getvalue(), commands, ".npz")


def _codes() -> Iterator[Seed]:
    codec = Codec.from_pretrained(ZOO / "emoji")
    picture = torch.rand(3, 20, 30, generator=torch.Generator().manual_seed(0))
    sound = torch.sin(torch.arange(4000) / 9)[None] * 0.2
    samples = {".png": Sample("image", picture), ".wav": Sample("audio", sound, sample_rate_hz=16000)}
    samples[".txt"] = Sample("text", "a red apple")
    for suffix, sample in samples.items():
        if sample.modality in codec.modalities:
            yield Seed(f"vqf-{sample.modality}", ".vqf", codec.encode(sample).to_bytes(), ("decode {}",), suffix)


def _configs() -> Iterator[Seed]:
    short = "name: mine\ndata: digits\nimage_size: 32\nbatch: 8\nseed: 1\n"
    prior = (
        "name: p\ndata: digits\ncrop: 16\nprior: {modality: image, channels: 1, widths: [8, 8], depths: [1, 1]}\n"
        "stage: {steps: 4, batch: 2, learning_rate: 1.0e-3}\n"
    )
    manifest = json.dumps({"image": "missing.png", "text:en": "a cat", "label": "cat"}) + "\n"
    yield Seed("yaml", ".yaml", short.encode(), ("train {} --dry-run",), "", True)
    yield Seed("yaml-prior", ".yaml", prior.encode(), ("train {} --dry-run",), "", True)
    yield Seed("jsonl", ".jsonl", (manifest * 3).encode(), ("data {}", "data {} --json"), "", True)
    yield Seed("text", ".txt", b"a red apple", ("encode {}",), ".vqf", True)


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _edf() -> bytes:
    """Two channels of 8 samples in each of 4 records."""

    def cells(*texts: str, width: int) -> bytes:
        return b"".join(text.encode().ljust(width) for text in texts)

    front = cells("0", width=8) + cells("X", "X", width=80) + cells("01.01.24", "00.00.00", "768", width=8)
    front += cells("", width=44) + cells("4", "1", width=8) + cells("2", width=4)
    front += cells("a", "b", width=16) + cells("", "", width=80) + cells("uV", "uV", width=8)
    for low, high in (("-100", "100"), ("-32768", "32767")):
        front += cells(low, low, width=8) + cells(high, high, width=8)
    front += cells("", "", width=80) + cells("8", "8", width=8) + cells("", "", width=32)
    return front + struct.pack("<64h", *range(64))
