"""Rarer files and what goes beside an input: depths of pictures, chunks of sounds, tables, costs, zips."""

import io
import json
import struct
import wave
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import tifffile
from fuzz_seed import Seed
from PIL import Image

from vqfusion.data.io.png import encode_png16
from vqfusion.nn.archive import pack

CHANCE = np.random.default_rng(3)
MODEL, PICTURE = "m", "a.png"  # names within the folder of a run, as in `fuzz_models`


def further_seeds(models: Path, damaged: Path) -> Iterator[Seed]:
    """Seeds; `models` holds the priors of `make_models`, `damaged` the folders of `model_seeds`."""
    yield from _pictures(models / "image")
    yield from _sounds(models / "audio")
    yield from _series(models / "audio")
    yield from _volumes(models / "volume")
    yield from _beside(models, damaged)


def _pictures(model: Path) -> Iterator[Seed]:
    colours = CHANCE.integers(0, 256, (16, 18, 4), np.uint8)
    frames = [Image.fromarray(np.roll(colours, k, 1)) for k in range(3)]
    moving = {"save_all": True, "append_images": frames[1:], "duration": 40, "loop": 0}
    palette = frames[0].convert("P")
    palette.info["transparency"] = 3
    made = {
        ".png": [
            ("1-bit", _saved(frames[0].convert("1"), "PNG")),
            ("palette", _saved(palette, "PNG", transparency=3)),
            ("grey-alpha", _saved(frames[0].convert("LA"), "PNG")),
            ("16-bit", encode_png16(CHANCE.integers(0, 65536, (16, 18, 4), np.uint16))),
            ("moving", _saved(frames[0], "PNG", **moving)),
        ],
        ".jpg": [("cmyk", _saved(frames[0].convert("CMYK"), "JPEG"))],
        ".gif": [("moving", _saved(frames[0].convert("P"), "GIF", **moving))],
        ".webp": [("moving", _saved(frames[0], "WEBP", **moving))],
        ".pgm": [("16-bit", b"P5 18 16 65535\n" + CHANCE.integers(0, 256, 2 * 16 * 18, np.uint8).tobytes())],
        ".ppm": [("text", b"P3\n# made by hand\n2 2 99\n" + b" ".join(b"%d" % k for k in range(12)) + b"\n")],
        ".tif": [
            ("colour-16", _tiff(CHANCE.integers(0, 65536, (16, 18, 3), np.uint16), photometric="rgb")),
            ("colour-big", _tiff(colours[..., :3], photometric="rgb", bigtiff=True, compression="zlib")),
            ("cmyk", _tiff(colours, photometric="separated")),
        ],
    }
    commands = (f"denoise {{}} --sigma 0.1 --model {model}", f"upscale {{}} --model {model}")
    blurs = (f"deblur {{}} --blur disk:1.5 --model {model}", f"denoise {{}} --explain --model {model}")
    for suffix, kinds in made.items():
        for name, data in kinds:
            yield Seed(f"{name}{suffix}", suffix, data, commands[:2] + blurs, ".png")


def _sounds(model: Path) -> Iterator[Seed]:
    commands = (
        f"denoise {{}} --model {model}",
        f"enhance {{}} --model {model}",
        f"denoise {{}} --model {model} --interval 0.8",
    )
    tones = 0.3 * np.sin(np.arange(1500)[:, None] / np.arange(7, 13))
    for name, sound, subtype in (("8-bit", tones[:, :1], "PCM_U8"), ("5.1", tones, "PCM_24"), ("law", tones, "ULAW")):
        buffer = io.BytesIO()
        soundfile.write(buffer, sound, 8000, subtype, format="WAV")
        yield Seed(f"wav-{name}", ".wav", buffer.getvalue(), commands, ".wav")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes((tones[:, 0] * 32767).astype("<i2").tobytes())
    cue = struct.pack("<IIIIIII", 1, 1, 0, int.from_bytes(b"data", "little"), 0, 0, 700)
    chunks = b"".join(
        kind + struct.pack("<I", len(held)) + held for kind, held in ((b"bext", bytes(602)), (b"cue ", cue))
    )
    data = buffer.getvalue() + chunks
    yield Seed("wav-chunks", ".wav", data[:4] + struct.pack("<I", len(data) - 8) + data[8:], commands, ".wav")


def _series(model: Path) -> Iterator[Seed]:
    commands = (
        f"denoise {{}} --sigma 0.1 --model {model}",
        f"inpaint {{}} --model {model}",
        f"denoise {{}} --model {model}",
    )
    rows = [f'2024-01-{k // 4 + 1:02}T{6 * (k % 4):02}:00:00+01:00;"{k % 7},{k}";{1000 * k}' for k in range(70)]
    sheet = "\ufeffsep=;\r\n" + "\r\n".join(["when;a;b", *rows, ""])
    yield Seed("csv-sheet", ".csv", sheet.encode(), commands[::2], ".csv", True)
    spaced = "\n".join(["time,a,note", *(f"{k}, {k}e-3 ,x" if k % 5 else f"{k},NA,y" for k in range(70)), ""])
    yield Seed("csv-words", ".csv", spaced.encode("utf-16"), commands[1:2], ".csv", True)
    archive = io.BytesIO()
    np.savez(
        archive,
        data=np.sin(np.arange(140.0)).reshape(2, 70),
        rate_hz=np.array(50.0),
        channel_names=np.array(["a", "b"]),
    )
    yield Seed("npz-series", ".npz", archive.getvalue(), commands[::2], ".npz")


def _volumes(model: Path) -> Iterator[Seed]:
    import nibabel

    commands = (f"denoise {{}} --model {model}", f"upscale {{}} --model {model}", "denoise {} --model photo")
    voxels = CHANCE.integers(-900, 900, (9, 16, 18, 2), np.int16)
    image = nibabel.Nifti1Image(voxels, np.diag([2.0, 2, 3, 1]))
    image.header.set_slope_inter(0.5, -100)
    yield Seed("nifti-4d", ".nii", image.to_bytes(), commands, ".nii")
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    yield Seed("nifti-gz", ".nii.gz", packer.compress(image.to_bytes()) + packer.flush(), commands[:2], ".nii.gz")
    levels = CHANCE.normal(size=(8, 9, 10)).astype(np.float32)
    levels[1, 2, 3] = np.nan
    yield Seed("tiff-nan", ".tif", _tiff(levels), (f"inpaint {{}} --model {model}",), ".tif")
    ome = {"axes": "TCYX", "PhysicalSizeX": 0.3, "PhysicalSizeY": 0.3, "Channel": {"Name": ["a", "b"]}}
    counts = CHANCE.integers(0, 900, (2, 2, 16, 18), np.uint16)
    yield Seed(
        "ome-channels", ".tif", _tiff(counts, ome=True, photometric="minisblack", metadata=ome), commands[2:], ".tif"
    )


def _beside(models: Path, damaged: Path) -> Iterator[Seed]:
    """Masks, kernels, costs, cases, zips, and tables of records."""
    import pyarrow
    import pyarrow.parquet

    system, prior = damaged / "system", damaged / "prior"
    mask = np.zeros((16, 18), np.uint8)
    mask[4:9, 5:9] = 255
    fill = (f"inpaint {PICTURE} --mask {{}} --model {MODEL} -o out.png",)
    yield Seed("mask.png", ".png", _saved(Image.fromarray(mask), "PNG"), fill, beside=prior)
    buffer = io.BytesIO()
    np.save(buffer, mask / 255)
    sharpen = (f"deblur {PICTURE} --kernel {{}} --model {MODEL} -o out.png",)
    yield Seed("mask.npy", ".npy", buffer.getvalue(), fill + sharpen, beside=prior)
    yield Seed("kernel.tif", ".tif", _tiff(np.ones((3, 5), np.float32)), sharpen, beside=prior)
    cases = "image,label,group\n" + "".join(f"{PICTURE},{name},{k}\n" for k in range(15) for name in ("cat", "dog"))
    costs = "action,cat,dog\nkeep,0,5\ncall,1,1\n"
    for name, text, told in (("calibration.csv", cases, costs), ("costs.csv", costs, cases)):
        other = "cases.csv" if name == "costs.csv" else "actions.csv"
        if not (system / other).exists():
            (system / other).write_text(told)
        files = ("cases.csv", "{}") if name == "costs.csv" else ("{}", "actions.csv")
        decide = f"decide --calibration {files[0]} --costs {files[1]} --given image={PICTURE} --model {MODEL} --json"
        yield Seed(name, ".csv", text.encode(), (decide,), is_text=True, beside=system)
    archive = damaged / "prior.zip"
    pack(prior / MODEL, archive)
    use = (f"denoise {PICTURE} --sigma 0.1 --model {{}} -o out.png", "load {}")
    yield Seed("model.zip", ".zip", archive.read_bytes(), use, beside=prior)
    table = pyarrow.table({"text:en": [f"word {k}" for k in range(12)], "label": ["a", "b"] * 6})
    sink = io.BytesIO()
    pyarrow.parquet.write_table(table, sink)
    look = ("data {}", "data check {} --json")
    yield Seed("parquet", ".parquet", sink.getvalue(), look)
    lines = [json.dumps({"text:en": f"word {k}", "label": "ab"[k % 2]}) for k in range(12)]
    yield Seed("records.jsonl", ".jsonl", "\n".join(lines).encode(), look, is_text=True)
    rows = "\n".join(["text:en\tlabel", *(f"word {k}\t{'ab'[k % 2]}" for k in range(12)), ""])
    yield Seed("records.tsv", ".tsv", rows.encode(), look, is_text=True)


def _saved(picture: Image.Image, form: str, **how) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **how)
    return buffer.getvalue()


def _tiff(array: np.ndarray, **how) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **how)
    return buffer.getvalue()
