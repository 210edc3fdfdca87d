"""What a camera and a file do to a picture, in order: light, photons, filters, white balance, a curve, sharpening,
another size, grain, JPEG. Everything is drawn at random; the reference goes through what is no damage."""

import io
import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vqfusion.train.restoration.holes import uniform

MARGIN = 12  # pixels around the crop: for filters that look there and for blocks of JPEG that begin anywhere
LARGEST = 1.8  # times as many pixels a side as are asked for, before another size

# Malvar, He, Cutler (2004), figure 2, in eighths: what is missing at a place from the mosaic around it
_GREEN = [[0, 0, -1, 0, 0], [0, 0, 2, 0, 0], [-1, 2, 4, 2, -1], [0, 0, 2, 0, 0], [0, 0, -1, 0, 0]]
_ALONG = [[0, 0, 0.5, 0, 0], [0, -1, 0, -1, 0], [-1, 4, 5, 4, -1], [0, -1, 0, -1, 0], [0, 0, 0.5, 0, 0]]
_DIAGONAL = [[0, 0, -1.5, 0, 0], [0, 2, 0, 2, 0], [-1.5, 0, 6, 0, -1.5], [0, 2, 0, 2, 0], [0, 0, -1.5, 0, 0]]
FILTERS = torch.tensor([_GREEN, _ALONG, [list(row) for row in zip(*_ALONG, strict=True)], _DIAGONAL])[:, None] / 8


def source_side(crop: int, generator: torch.Generator) -> int:
    """Pixels a side that `photographed` needs for a crop of so many, with a size drawn at random."""
    ratio = 1 + (LARGEST - 1) * uniform(generator) if uniform(generator) < 0.3 else 1.0
    return round((crop + 2 * MARGIN) * ratio)


def photographed(
    clean: Float[Tensor, "3 H W"], crop: int, generator: torch.Generator
) -> tuple[Float[Tensor, "3 h w"], Float[Tensor, "3 h w"]]:
    """A reference of `crop` pixels a side, and what a camera or a file made of it; both in [0, 1].

    A third has the noise of a sensor and mostly JPEG, a third of it grain of film, half of the rest JPEG alone, and so
    on: see the draws. `clean` is larger by a margin and by the ratio of sizes, see `source_side`.
    """
    kind, damaged = uniform(generator), clean
    if kind < 0.55:
        damaged = developed(clean, generator)
    elif kind < 0.7:
        damaged = grained(clean, generator)
    if kind < 0.7 and uniform(generator) < 0.4:
        amount, width = uniform(generator), 0.5 + uniform(generator)
        clean, damaged = (sharpened(x, amount, width) for x in (clean, damaged))
    side = crop + 2 * MARGIN
    if clean.shape[-1] != side:
        pair = torch.stack([clean, damaged])
        clean, damaged = F.interpolate(pair, (side, side), mode="bicubic", antialias=True).clamp(0, 1)
    top, left = torch.randint(MARGIN + 1, (2,), generator=generator).tolist()
    clean, damaged = (x[:, top:, left:] for x in (clean, damaged))
    if kind >= 0.7 or uniform(generator) < 0.6:
        lowest = 8 if kind >= 0.7 else 40
        quality = round(lowest + (97 - lowest) * uniform(generator))
        damaged = jpeg(damaged, quality, int(3 * uniform(generator)))
    bottom, right = MARGIN + crop - top, MARGIN + crop - left
    clean, damaged = (x[:, bottom - crop : bottom, right - crop : right] for x in (clean, damaged))
    return clean, (damaged * 255).round() / 255


def developed(clean: Float[Tensor, "3 H W"], generator: torch.Generator) -> Float[Tensor, "3 H W"]:
    """Photons and their reading in linear light, behind colour filters three times of four, developed again."""
    gains = torch.tensor([1.2 + 1.2 * uniform(generator), 1.0, 1.2 + uniform(generator)])[:, None, None]
    mixed = 0.25 * uniform(generator)
    matrix = (1 - mixed) * torch.eye(3) + mixed / 3
    light = torch.einsum("dc,chw->dhw", matrix, to_linear(clean)) / gains
    photons, read = 10 ** (-4.3 + 2.3 * uniform(generator)), 10 ** (-3.7 + 1.9 * uniform(generator))
    deviation = (photons * light + read**2).sqrt()
    light = (light + deviation * torch.randn(light.shape, generator=generator)).clamp(0, 1)
    if uniform(generator) < 0.75:
        light = demosaiced(light, smooth=uniform(generator) < 0.25)
    light = torch.einsum("dc,chw->dhw", torch.linalg.inv(matrix), light * gains)
    return from_linear(light.clamp(0, 1))


def demosaiced(light: Float[Tensor, "3 H W"], smooth: bool = False) -> Float[Tensor, "3 H W"]:
    """Three colours everywhere from one at each pixel: the linear filters of Malvar, He, Cutler (2004), or, `smooth`,
    straight lines between neighbours of the same colour."""
    red = torch.zeros(light.shape[1:], dtype=torch.bool)
    red[::2, ::2] = True
    blue = red.roll((1, 1), (0, 1))
    across = red.roll(1, 1)  # green in a row of red
    seen = torch.stack([red, ~(red | blue), blue])
    if smooth:
        around = torch.tensor([[0.25, 0.5, 0.25], [0.5, 1.0, 0.5], [0.25, 0.5, 0.25]]).expand(3, 1, 3, 3)
        totals = F.conv2d((light * seen)[None], around, padding=1, groups=3)[0]
        made = totals / F.conv2d(seen[None].float(), around, padding=1, groups=3)[0]
        return torch.where(seen, light, made)
    raw = (light * seen).sum(0)
    padded = F.pad(raw[None, None], (2, 2, 2, 2), mode="reflect")
    green, along, upright, diagonal = F.conv2d(padded, FILTERS)[0]
    down = ~(red | blue | across)
    first = torch.where(red, raw, torch.where(across, along, torch.where(down, upright, diagonal)))
    last = torch.where(blue, raw, torch.where(across, upright, torch.where(down, along, diagonal)))
    return torch.stack([first, torch.where(red | blue, green, raw), last]).clamp(0, 1)


def grained(clean: Float[Tensor, "3 H W"], generator: torch.Generator) -> Float[Tensor, "3 H W"]:
    """Grain of film: noise of some width, strongest in the middle tones, mostly the same in all colours."""
    shared, width = uniform(generator), 0.3 + 0.9 * uniform(generator)
    own = torch.randn(clean.shape, generator=generator)
    noise = shared**0.5 * own[:1] + (1 - shared) ** 0.5 * torch.randn(clean.shape, generator=generator)
    noise = blurred(noise, width)
    luma = clean.mean(0, keepdim=True)
    strength = 0.01 + 0.09 * uniform(generator)
    noise = strength * noise / noise.std().clamp(min=1e-6)
    return (clean + noise * (0.4 + 2.4 * luma * (1 - luma))).clamp(0, 1)


def sharpened(x: Float[Tensor, "C H W"], amount: float, width: float) -> Float[Tensor, "C H W"]:
    """An unsharp mask: the picture and `amount` of what a Gaussian of `width` pixels takes away."""
    return (x + amount * (x - blurred(x, width))).clamp(0, 1)


def blurred(x: Float[Tensor, "C H W"], width: float) -> Float[Tensor, "C H W"]:
    """Smoothed by a Gaussian of a standard deviation of `width` pixels."""
    reach = math.ceil(3 * width)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / width).square())
    weights = (weights / weights.sum()).expand(len(x), 1, 1, -1)
    wide = F.pad(x[None], (reach,) * 4, mode="reflect")
    return F.conv2d(F.conv2d(wide, weights, groups=len(x)), weights.mT, groups=len(x))[0]


def jpeg(x: Float[Tensor, "3 H W"], quality: int, subsampling: int) -> Float[Tensor, "3 H W"]:
    """A picture in [0, 1] stored as JPEG and read again; subsampling 0, 1, 2: colours whole, halved across, halved."""
    import numpy as np
    from PIL import Image

    stored = io.BytesIO()
    values = (x * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    Image.fromarray(values).save(stored, "JPEG", quality=quality, subsampling=subsampling)
    read = np.array(Image.open(stored).convert("RGB"))
    return torch.from_numpy(read).permute(2, 0, 1).float() / 255


def to_linear(x: Tensor) -> Tensor:
    """sRGB values as light (IEC 61966-2-1)."""
    return torch.where(x <= 0.04045, x / 12.92, ((x.clamp(min=0) + 0.055) / 1.055) ** 2.4)


def from_linear(x: Tensor) -> Tensor:
    """Light as sRGB values (IEC 61966-2-1)."""
    return torch.where(x <= 0.0031308, 12.92 * x, 1.055 * x.clamp(min=1e-8) ** (1 / 2.4) - 0.055)
