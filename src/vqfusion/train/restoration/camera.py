"""Simulated damage of cameras and files, in order of the imaging process.

The steps are light, photons, colour filters, white balance, tone curve, sharpening, resizing, film grain and JPEG, with
random parameters; the reference goes through those that are not damage.
"""

import io
import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vqfusion.train.restoration.holes import uniform

MARGIN = 12  # pixels around the crop, for the support of filters and random offsets of JPEG blocks
LARGEST = 1.8  # largest ratio of the side before resizing to the side of the crop

# Malvar, He, Cutler (2004), figure 2, in eighths: filters that interpolate a missing colour from the mosaic
_GREEN = [[0, 0, -1, 0, 0], [0, 0, 2, 0, 0], [-1, 2, 4, 2, -1], [0, 0, 2, 0, 0], [0, 0, -1, 0, 0]]
_ALONG = [[0, 0, 0.5, 0, 0], [0, -1, 0, -1, 0], [-1, 4, 5, 4, -1], [0, -1, 0, -1, 0], [0, 0, 0.5, 0, 0]]
_DIAGONAL = [[0, 0, -1.5, 0, 0], [0, 2, 0, 2, 0], [-1.5, 0, 6, 0, -1.5], [0, 2, 0, 2, 0], [0, 0, -1.5, 0, 0]]
FILTERS = torch.tensor([_GREEN, _ALONG, [list(row) for row in zip(*_ALONG, strict=True)], _DIAGONAL])[:, None] / 8


def source_side(crop: int, generator: torch.Generator) -> int:
    """Side in pixels that `photographed` needs for a crop, with a random scale."""
    ratio = 1 + (LARGEST - 1) * uniform(generator) if uniform(generator) < 0.3 else 1.0
    return round((crop + 2 * MARGIN) * ratio)


def photographed(
    clean: Float[Tensor, "3 H W"], crop: int, generator: torch.Generator
) -> tuple[Float[Tensor, "3 h w"], Float[Tensor, "3 h w"]]:
    """Reference of `crop` pixels a side, and the picture as a camera or file would have it; both in [0, 1].

    A third has sensor noise and mostly JPEG, a third of it film grain, half of the rest JPEG alone, and so on: see the
    draws.

    Args:
        clean: Source, larger than the crop by a margin and a scale, see `source_side`.
        crop: Side of the crop in pixels.
        generator: Random generator.

    Returns:
        The reference and the damaged picture.
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
    """Add photon and read-out noise in linear light, usually through a colour filter array, and develop."""
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
    """Interpolate three colours at every pixel from one.

    With the linear filters of Malvar, He, Cutler (2004), or with `smooth` bilinearly.
    """
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
    """Add film grain: correlated noise, strongest in the middle tones, mostly equal in all colours."""
    shared, width = uniform(generator), 0.3 + 0.9 * uniform(generator)
    own = torch.randn(clean.shape, generator=generator)
    noise = shared**0.5 * own[:1] + (1 - shared) ** 0.5 * torch.randn(clean.shape, generator=generator)
    noise = blurred(noise, width)
    luma = clean.mean(0, keepdim=True)
    strength = 0.01 + 0.09 * uniform(generator)
    noise = strength * noise / noise.std().clamp(min=1e-6)
    return (clean + noise * (0.4 + 2.4 * luma * (1 - luma))).clamp(0, 1)


def sharpened(x: Float[Tensor, "C H W"], amount: float, width: float) -> Float[Tensor, "C H W"]:
    """Unsharp mask: add `amount` times what a Gaussian of `width` pixels removes."""
    return (x + amount * (x - blurred(x, width))).clamp(0, 1)


def blurred(x: Float[Tensor, "C H W"], width: float) -> Float[Tensor, "C H W"]:
    """Gaussian blur with a standard deviation of `width` pixels."""
    reach = math.ceil(3 * width)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / width).square())
    weights = (weights / weights.sum()).expand(len(x), 1, 1, -1)
    wide = F.pad(x[None], (reach,) * 4, mode="reflect")
    return F.conv2d(F.conv2d(wide, weights, groups=len(x)), weights.mT, groups=len(x))[0]


def jpeg(x: Float[Tensor, "3 H W"], quality: int, subsampling: int) -> Float[Tensor, "3 H W"]:
    """Encode a picture in [0, 1] as JPEG and decode it.

    Args:
        x: The picture.
        quality: Quality, 1 to 100.
        subsampling: Chroma subsampling: 0 none, 1 horizontal, 2 both.

    Returns:
        The picture.
    """
    import numpy as np
    from PIL import Image

    stored = io.BytesIO()
    values = (x * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    Image.fromarray(values).save(stored, "JPEG", quality=quality, subsampling=subsampling)
    read = np.array(Image.open(stored).convert("RGB"))
    return torch.from_numpy(read).permute(2, 0, 1).float() / 255


def to_linear(x: Tensor) -> Tensor:
    """Convert sRGB values `[...]` to linear light (IEC 61966-2-1)."""
    return torch.where(x <= 0.04045, x / 12.92, ((x.clamp(min=0) + 0.055) / 1.055) ** 2.4)


def from_linear(x: Tensor) -> Tensor:
    """Convert linear light `[...]` to sRGB values (IEC 61966-2-1)."""
    return torch.where(x <= 0.0031308, 12.92 * x, 1.055 * x.clamp(min=1e-8) ** (1 / 2.4) - 0.055)
