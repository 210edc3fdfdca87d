"""Codes against JPEG and WebP at equal bytes: whole files, headers and all, of emoji and of photographs.

The codec of the shipped model writes `.vqf` files; JPEG and WebP then get the quality whose file is the largest that is
not larger. Each is tried at full and at half size (enlarged again by bicubic interpolation); a budget that a codec
cannot meet is counted, and its smallest file taken all the same. Means over pictures of PSNR and SSIM in RGB.
Emoji: pictures of concepts that training never saw, 64 x 64. Photographs: four natural pictures of scikit-image, which
the tokenizer was not made for. Each with the nearest codes, and with those that ten rounds of search find.

    python benchmarks/codec.py
"""

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
from vqfusion.evaluate.metrics import psnr, ssim
from vqfusion.hub import find_model
from vqfusion.models.codec.codec import Codec
from vqfusion.types import Sample

RESULT = Path(__file__).parent / "results" / "codec.json"
SEARCHES = {"": 0, ", searched": 10}
PHOTOGRAPHS = ("astronaut", "coffee", "chelsea", "rocket")


def resized(picture: Tensor, height: int, width: int) -> Tensor:
    return interpolate(picture[None], (height, width), mode="bicubic", antialias=True, align_corners=False)[0].clamp(
        0, 1
    )


def classical(picture: Tensor, kind: str, budget: int) -> tuple[Tensor, int]:
    """The largest file of a quality from 0 or 1 to 95 within the budget, else the smallest, decoded."""
    image = Image.fromarray((picture * 255).round().byte().permute(1, 2, 0).numpy())
    options = {"JPEG": dict(optimize=True, subsampling=2), "WEBP": dict(method=6)}[kind]
    best, smallest = None, None
    low, high = 1, 95
    while low <= high:
        middle = (low + high) // 2
        buffer = io.BytesIO()
        image.save(buffer, kind, quality=middle, **options)
        size = len(buffer.getvalue())
        if smallest is None or size < len(smallest):
            smallest = buffer.getvalue()
        if size <= budget:
            best, low = buffer.getvalue(), middle + 1
        else:
            high = middle - 1
    chosen = best or smallest
    assert chosen is not None
    array = np.asarray(Image.open(io.BytesIO(chosen)).convert("RGB"), dtype=np.float32) / 255
    return torch.from_numpy(array).permute(2, 0, 1), len(chosen)


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


def main() -> None:
    torch.set_num_threads(1)
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
