"""Random patterns of missing values: scattered, boxes, lines, strokes, colour filter mosaics."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vqfusion.nn.windows import local_mean

BLOCK = 2  # side of the smallest colour filter mosaic


def lost_values(shape: tuple[int, ...], generator: torch.Generator) -> Bool[Tensor, "C ..."]:
    """Random mask of missing values (True) of a signal `[C, *size]`.

    Scattered values (a fraction of 0.2 to 0.9, log-uniform in what is left), boxes and lines along an axis occur at
    every rank; for pictures also strokes, as of a pen or of writing, and colour filter mosaics with one colour per
    pixel.
    """
    channels, size = shape[0], shape[1:]
    kind = uniform(generator)
    if kind < 0.45:
        left = 0.8 * 0.125 ** uniform(generator)
        own = channels > 1 and uniform(generator) < 0.25
        return (torch.rand(channels if own else 1, *size, generator=generator) >= left).expand(shape)
    if kind < 0.55 and channels == 3 and len(size) == 2:
        return mosaic(size, generator)
    if kind < 0.75 and len(size) == 2:
        return strokes(size, generator).expand(shape)
    return boxes(size, generator).expand(shape)


def boxes(size: tuple[int, ...], generator: torch.Generator) -> Bool[Tensor, "1 ..."]:
    """One to five boxes, some of which span the signal and some of which are lines."""
    lost = torch.zeros(1, *size, dtype=torch.bool)
    for _ in range(1 + int(5 * uniform(generator))):
        place: list[slice] = [slice(None)]
        for length in size:
            side = max(1, round((length / 2) ** uniform(generator)))
            through = uniform(generator) < 0.15
            start = int(uniform(generator) * (length - side + 1))
            place.append(slice(None) if through else slice(start, start + side))
        if lost[tuple(place)].numel() < lost.numel() // 2:
            lost[tuple(place)] = True
    return lost


def strokes(size: tuple[int, ...], generator: torch.Generator) -> Bool[Tensor, "1 H W"]:
    """Broken curves, few and thick or many and thin, or short and in rows as in writing."""
    from PIL import Image, ImageDraw

    height, width = size
    page = Image.new("L", (width, height))
    pen = ImageDraw.Draw(page)
    if uniform(generator) < 0.5:
        letter = 5 + 11 * uniform(generator)
        thick = max(1, round(letter * (0.1 + 0.15 * uniform(generator))))
        for row in range(int(height / (1.5 * letter))):
            for column in range(int(width / (0.8 * letter))):
                if uniform(generator) < 0.2:
                    continue
                corners = torch.rand(2 + int(3 * uniform(generator)), 2, generator=generator)
                places = [((column + 0.7 * x) * 0.8 * letter, (row + y) * 1.5 * letter) for x, y in corners.tolist()]
                pen.line(places, fill=255, width=thick)
    else:
        for _ in range(1 + int(5 * uniform(generator))):
            x, y, turn = (scale * uniform(generator) for scale in (width, height, 2 * math.pi))
            places = [(x, y)]
            for bend in torch.randn(2 + int(6 * uniform(generator)), generator=generator).tolist():
                turn += 0.6 * bend
                x, y = x + 10 * math.cos(turn), y + 10 * math.sin(turn)
                places.append((x, y))
            pen.line(places, fill=255, width=1 + int(7 * uniform(generator) ** 2), joint="curve")
    drawn = torch.frombuffer(bytearray(page.tobytes()), dtype=torch.uint8)
    return drawn.reshape(1, height, width) > 0


def mosaic(size: tuple[int, ...], generator: torch.Generator) -> Bool[Tensor, "3 H W"]:
    """Everything but one colour per pixel, in the pattern of Bayer with a random offset."""
    seen = torch.zeros(3, BLOCK, BLOCK, dtype=torch.bool)
    seen[0, 0, 0] = seen[1, 0, 1] = seen[1, 1, 0] = seen[2, 1, 1] = True
    turned = seen.flip([axis for axis in (1, 2) if uniform(generator) < 0.5])
    repeats = [-(-length // BLOCK) for length in size]
    return ~turned.repeat(1, *repeats)[:, : size[0], : size[1]]


def error_of_lost(lost: Bool[Tensor, "C ..."], slope: float) -> Float[Tensor, "C ..."]:
    """Squared error to be expected of missing values, smaller where more values are known nearby.

    On photographs the PSNR of values lost at random is 33 dB for 50 % and 28 dB for 80 %, and within a hole 24 dB.
    """
    left = local_mean((~lost).float()[None], 5)[0]
    return 0.56 * slope * 10 ** (-1.83 * left)


def uniform(generator: torch.Generator) -> float:
    """Random number in [0, 1)."""
    return float(torch.rand(1, generator=generator))
