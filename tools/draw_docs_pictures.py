"""Draws the pictures of the documentation with the models that ship: `python tools/draw_docs_pictures.py [NAME ...]`.

Photographs are chelsea and coffee of scikit-image (CC0), sounds and drawings come from the built-in emoji set, the
volume from the built-in set of solids. Noise has seed 0. Each picture is a row of panels with captions.
"""

import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

import vqfusion
from vqfusion import Sample, Sampling, restore
from vqfusion.diffusion.operators import Denoise, Downsample, Mask, ValidBlur
from vqfusion.hub import find_model
from vqfusion.models.codec import Codec
from vqfusion.tasks import TASKS
from vqfusion.tasks.deblurring import Deblur

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
LINE, GAP = 22, 6


def row(name: str, panels: list[tuple[str, np.ndarray]], height: int = 192, quality: int = 82) -> None:
    """Write panels, [H, W] or [H, W, 3] in [0, 1], side by side with captions."""
    tiles = []
    for caption, values in panels:
        values = np.repeat(values[..., None], 3, axis=2) if values.ndim == 2 else values
        tile = Image.fromarray((255 * values.clip(0, 1)).round().astype(np.uint8))
        width = round(tile.width * height / tile.height)
        method = Image.Resampling.NEAREST if tile.height < height else Image.Resampling.LANCZOS
        tiles.append((caption, tile.resize((width, height), method)))
    total = sum(tile.width + GAP for _, tile in tiles) - GAP
    page = Image.new("RGB", (total, height + LINE), "white")
    draw, font, x = ImageDraw.Draw(page), ImageFont.load_default(13), 0
    for caption, tile in tiles:
        page.paste(tile, (x, LINE))
        draw.text((x + 2, 3), caption, fill="black", font=font)
        x += tile.width + GAP
    FOLDER.mkdir(exist_ok=True)
    page.save(FOLDER / f"{name}.webp", quality=quality, method=6)
    print(name, (FOLDER / f"{name}.webp").stat().st_size)


def shown(x: torch.Tensor) -> np.ndarray:
    """Picture [C, H, W] as [H, W, C]."""
    return x.detach().permute(1, 2, 0).numpy()


def photograph(name: str, top: int, left: int, size: int) -> torch.Tensor:
    """Crop of a photograph of scikit-image, [1, 3, size, size] in [0, 1]."""
    from skimage import data

    values = getattr(data, name)()[top : top + size, left : left + size, :3]
    return torch.from_numpy(np.ascontiguousarray(values)).permute(2, 0, 1)[None].float() / 255


def noise(x: torch.Tensor, sigma: float) -> torch.Tensor:
    return x + sigma * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))


def heat(width: torch.Tensor) -> np.ndarray:
    """Width of intervals as dark (narrow) to light (wide)."""
    flat = width.mean(0)
    return (flat / flat.quantile(0.995)).numpy()


def denoise() -> None:
    prior, x = vqfusion.load("photo", "cpu"), photograph("chelsea", 50, 120, 192)
    y = noise(x, 25 / 255)
    made = restore(prior, y, Denoise(25 / 255), mode="interval", coverage=0.9, samples=8, steps=10)
    row(
        "denoise",
        [
            ("noisy, 25/255", shown(y[0])),
            ("best estimate", shown(made.mean[0])),
            ("where it is unsure", heat((made.upper - made.lower)[0])),
            ("the truth", shown(x[0])),
        ],
    )


def upscale() -> None:
    prior, x = vqfusion.load("photo", "cpu"), photograph("coffee", 150, 180, 192)
    operator = Downsample(4)
    y = operator.A(x)
    made = restore(prior, y, operator)
    drawn = restore(prior, y, operator, mode="sample", samples=1)
    row(
        "upscale",
        [
            ("48 x 48 pixels", shown(y[0])),
            ("best estimate", shown(made.mean[0])),
            ("one sample", shown(drawn.samples[0][0])),
            ("the truth", shown(x[0])),
        ],
    )


def inpaint() -> None:
    prior, x = vqfusion.load("photo", "cpu"), photograph("chelsea", 50, 120, 192)
    known = torch.ones(192, 192, dtype=torch.bool)
    page = Image.new("L", (192, 192), 0)
    draw = ImageDraw.Draw(page)
    for k in range(5):
        draw.line([(0, 20 + 38 * k), (192, 34 + 34 * k)], fill=255, width=4)
    known &= torch.from_numpy(np.asarray(page) == 0)
    made = restore(prior, x * known, Mask(known))
    row(
        "inpaint",
        [("scratched", shown((x * known)[0])), ("filled in", shown(made.mean[0])), ("the truth", shown(x[0]))],
    )


def deblur() -> None:
    prior, x = vqfusion.load("photo", "cpu"), photograph("coffee", 130, 180, 208)
    blur = "motion:15:30"
    operator = ValidBlur(Deblur(blur=blur)._kernel(2))
    y = noise(operator.A(x), 2 / 255).clamp(0, 1)
    made = TASKS["deblur"](blur=blur)(prior, Sample("image", y[0])).samples[0][0]
    row(
        "deblur",
        [("smeared", shown(y[0])), ("sharpened", shown(made.data)), ("the truth", shown(operator.under(x)[0]))],
    )


def spectrogram(sound: torch.Tensor) -> np.ndarray:
    """Log magnitudes of a sound [1, T], low frequencies at the bottom, in [0, 1]."""
    window = torch.hann_window(400)
    bins = torch.stft(sound[0], 400, 100, window=window, return_complex=True).abs()
    level = 20 * torch.log10(bins + 1e-4)
    return ((level.flip(0) + 60) / 80).clamp(0, 1).numpy()


def enhance() -> None:
    prior = vqfusion.load("sound", "cpu")
    records = vqfusion.open_dataset("emoji").select(split="test")
    sound = next(one for one in records if "audio" in one.slots).load("audio").data
    y = noise(sound, 0.05)
    made = restore(prior, y[None], Denoise(0.05))
    row(
        "enhance",
        [("noisy", spectrogram(y)), ("cleaned", spectrogram(made.mean[0])), ("the truth", spectrogram(sound))],
        height=150,
    )


def volume() -> None:
    prior = vqfusion.load("volume", "cpu")
    records = vqfusion.open_dataset("solids").records
    x = next(one for one in records if "volume" in one.slots).load("volume").data
    x = x / x.max()
    y = noise(x, 0.1)
    made = restore(prior, y[None], Denoise(0.1))
    middle = x.shape[1] // 2
    row(
        "volume",
        [
            ("noisy slice", y[0, middle].numpy()),
            ("best estimate", made.mean[0, 0, middle].numpy()),
            ("the truth", x[0, middle].numpy()),
        ],
        height=160,
    )


def imagine() -> None:
    system, panels = vqfusion.load("emoji", "cpu"), []
    for name in ("broccoli", "hamburger", "owl", "polar bear", "guitar", "sailboat"):
        answer = vqfusion.TASKS["imagine"]()(system, [vqfusion.Sample("text", name)], Sampling(seed=1))
        panels.append((name, shown(answer.samples[0][0].data)))
    row("imagine", panels, height=112)


def anything() -> None:
    system = vqfusion.load("emoji", "cpu")
    drawn = system.generate({"text:en": "broccoli", "style": "noto"}, "image", Sampling(seed=1)).samples[0][0]
    named = system.generate({"image": drawn}, "text:de").samples[0][0].data
    sound = system.generate({"text:en": "broccoli", "speaker": "clara"}, "audio", Sampling(seed=1)).samples[0][0]
    heard = system.generate({"audio": sound}, "text:en").samples[0][0].data
    wide = np.asarray(Image.fromarray((255 * spectrogram(sound.data)).astype(np.uint8)).resize((260, 150))) / 255
    row("any", [(f'named "{named}"', shown(drawn.data)), (f'heard as "{heard}"', wide)], 160)


def codes() -> None:
    codec, x = Codec.from_pretrained(find_model("photo-codec")), photograph("chelsea", 0, 0, 288)[0]
    panels = [("original", shown(x))]
    for bits in (0.3, 0.1):
        file = codec.encode(vqfusion.Sample("image", x), bits=bits)
        panels.append((f"from {len(file.to_bytes()):,} bytes", shown(codec.decode(file).data)))
    buffer = BytesIO()
    Image.fromarray((255 * shown(x)).round().astype(np.uint8)).save(buffer, "JPEG", quality=5, optimize=True)
    panels.append((f"JPEG, {buffer.tell():,} bytes", np.asarray(Image.open(buffer)) / 255))
    row("codes", panels)


PICTURES: dict[str, Callable[[], None]] = {
    "denoise": denoise,
    "upscale": upscale,
    "deblur": deblur,
    "inpaint": inpaint,
    "enhance": enhance,
    "volume": volume,
    "imagine": imagine,
    "any": anything,
    "codes": codes,
}


if __name__ == "__main__":
    for one in sys.argv[1:] or PICTURES:
        PICTURES[one]()
