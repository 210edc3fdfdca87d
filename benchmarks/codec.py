"""Codes against JPEG and WebP at equal bytes: whole files, headers and all, of emoji and of photographs.

The codec of the shipped model writes `.vqf` files; JPEG and WebP then get the quality whose file is the largest that is
not larger. Each is tried at full and at half size (enlarged again by bicubic interpolation); a budget that a codec
cannot meet is counted, and its smallest file taken all the same. Means over pictures of PSNR and SSIM in RGB.
Emoji: pictures of concepts that training never saw, 64 x 64. Photographs: four natural pictures of scikit-image, which
the tokenizer was not made for. Each with the nearest codes, and with those that ten rounds of search find.

`--kodak`: the tokenizer of photographs on Kodak24 at 0.1 to 0.3 bits a pixel, against the best files of JPEG (halved
colours, optimised tables), WebP (method 6) and AVIF (speed 6) that are not larger, all at full size; PSNR in RGB.

    python benchmarks/codec.py
    VQFUSION_DATA=... python benchmarks/codec.py --kodak
"""

import argparse
import io
import itertools
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from skimage import data as photographs
from torch import Tensor
from torch.nn.functional import interpolate

from vqfusion.data import open_dataset
from vqfusion.data.standard import grey_pictures
from vqfusion.evaluate.metrics import psnr, ssim
from vqfusion.hub import find_model
from vqfusion.models.codec.codec import Codec
from vqfusion.types import Sample

RESULT = Path(__file__).parent / "results" / "codec.json"
SEARCHES = {"": 0, ", searched": 10}
PHOTOGRAPHS = ("astronaut", "coffee", "chelsea", "rocket")
KODAK = RESULT.with_name("codec_kodak.json")
RATES = (0.1, 0.15, 0.2, 0.3)
KINDS = {
    "JPEG": dict(optimize=True, subsampling=2),
    "WEBP": dict(method=6),
    "AVIF": dict(speed=6, subsampling="4:2:0"),
}


def resized(picture: Tensor, height: int, width: int) -> Tensor:
    return interpolate(picture[None], (height, width), mode="bicubic", antialias=True, align_corners=False)[0].clamp(
        0, 1
    )


def classical(
    picture: Tensor, kind: str, budget: int, known: dict[tuple[str, int], bytes] | None = None
) -> tuple[Tensor, int]:
    """The largest file of a quality from 0 or 1 to 95 within the budget, else the smallest, decoded.

    `known` keeps the files of a picture for the next budget.
    """
    image = Image.fromarray((picture * 255).round().byte().permute(1, 2, 0).numpy())
    files = {} if known is None else known
    best, smallest = None, None
    low, high = 1, 95
    while low <= high:
        middle = (low + high) // 2
        if (kind, middle) not in files:
            buffer = io.BytesIO()
            image.save(buffer, kind, quality=middle, **KINDS[kind])
            files[kind, middle] = buffer.getvalue()
        file = files[kind, middle]
        if smallest is None or len(file) < len(smallest):
            smallest = file
        if len(file) <= budget:
            best, low = file, middle + 1
        else:
            high = middle - 1
    chosen = best or smallest
    assert chosen is not None
    return as_tensor(Image.open(io.BytesIO(chosen))), len(chosen)


def measure(codec: Codec, pictures: list[Tensor], halved: bool, search: int) -> dict[str, Any]:
    """Means for the codes, at full or half size, and for each classical codec at its better size."""
    rows: dict[str, list[tuple[float, float, float, bool]]] = {}
    spent = 0.0

    def add(name: str, picture: Tensor, back: Tensor, size: int, budget: int) -> None:
        bits = 8 * size / picture[0].numel()
        rows.setdefault(name, []).append((float(psnr(back, picture)), float(ssim(back, picture)), bits, size <= budget))

    for picture in pictures:
        height, width = picture.shape[1:]
        source = resized(picture, height // 2, width // 2) if halved else picture
        started = time.process_time()
        file = codec.encode(Sample("image", source), search)
        spent += time.process_time() - started
        budget = len(file.to_bytes())
        add("codes", picture, resized(codec.decode(file).data, height, width), budget, budget)
        for kind in ("JPEG", "WEBP"):
            full, full_size = classical(picture, kind, budget)
            half, half_size = classical(resized(picture, height // 2, width // 2), kind, budget)
            half = resized(half, height, width)
            fits = [(float(ssim(b, picture)), s, b) for b, s in ((full, full_size), (half, half_size)) if s <= budget]
            _, size, back = max(fits, key=lambda one: one[0]) if fits else (0.0, half_size, half)
            add(kind, picture, back, size, budget)
    means: dict[str, Any] = {
        name: {
            "psnr_db": round(sum(v[0] for v in values) / len(values), 2),
            "ssim": round(sum(v[1] for v in values) / len(values), 4),
            "bits_per_pixel": round(sum(v[2] for v in values) / len(values), 3),
            "within_budget": sum(v[3] for v in values),
        }
        for name, values in rows.items()
    }
    return {"cpu_s_to_encode": round(spent / len(pictures), 3), **means}


def kodak(search: int) -> dict[str, Any]:
    """Means over Kodak24 at each rate: PSNR, bits a pixel of whole files, files within the budget, seconds."""
    codec = Codec.from_pretrained(find_model("photo-codec"))
    rows: dict[str, dict[str, list[tuple[float, float, bool, float]]]] = {}
    for path in grey_pictures("kodak24"):
        picture, known = as_tensor(Image.open(path)), dict[tuple[str, int], bytes]()
        for rate in RATES:
            started = time.process_time()
            file = codec.encode(Sample("image", picture), search, bits=rate)
            encoding, budget = time.process_time() - started, len(file.to_bytes())
            started = time.process_time()
            back = codec.decode(file).data
            made = {"codes": (back, budget, encoding), "decoding": (back, budget, time.process_time() - started)}
            made |= {kind: (*classical(picture, kind, budget, known), 0.0) for kind in KINDS}
            for name, (back, size, spent) in made.items():
                quality = float(psnr((back * 255).round() / 255, picture))
                found = (quality, 8 * size / picture[0].numel(), size <= budget, spent)
                rows.setdefault(str(rate), {}).setdefault(name, []).append(found)
        print(path.name, {rate: round(found["codes"][-1][0], 2) for rate, found in rows.items()}, flush=True)
    return {rate: {name: means(every) for name, every in found.items()} for rate, found in rows.items()}


def means(rows: list[tuple[float, float, bool, float]]) -> dict[str, float]:
    quality, bits, within, spent = (sum(column) for column in zip(*rows, strict=True))
    count = len(rows)
    return {
        "psnr_db": round(quality / count, 3),
        "bits_per_pixel": round(bits / count, 4),
        "within_budget": int(within),
        **({"cpu_s": round(spent / count, 3)} if spent else {}),
    }


def as_tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(image.convert("RGB"), dtype=np.float32) / 255).permute(2, 0, 1)


def main() -> None:
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kodak", action="store_true", help="photographs at several rates")
    parser.add_argument("--search", type=int, default=0, help="rounds of search, with --kodak")
    given = parser.parse_args()
    if given.kodak:
        KODAK.write_text(json.dumps(kodak(given.search), indent=1) + "\n")
        return
    codec = Codec.from_pretrained(find_model("emoji"))
    emoji = [r.load("image").data for r in open_dataset("emoji").select("test", "concept", ("image",))]
    photos = []
    for name in PHOTOGRAPHS:
        photo = torch.from_numpy(getattr(photographs, name)().astype(np.float32) / 255).permute(2, 0, 1)
        photos.append(photo[:, : photo.shape[1] // 16 * 16, : photo.shape[2] // 16 * 16])
    results = {}
    for name, pictures in (("emoji, unseen concepts", emoji), ("photographs", photos)):
        for halved, (searched, search) in itertools.product((False, True), SEARCHES.items()):
            key = f"{name}, codes of the picture at {'half' if halved else 'full'} size{searched}"
            results[key] = {"pictures": len(pictures), **measure(codec, pictures, halved, search)}
            print(key, json.dumps(results[key]), flush=True)
    RESULT.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
