"""Regions of a restored signal whose errors differ: clipped, dark, bright, flat, edge and texture, by noise level."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from vqfusion.models.restoration.residual_band import local_gradients
from vqfusion.nn.windows import local_mean

REGIONS = ("clipped", "dark", "bright", "flat", "edge", "texture")
LEVELS = (12 / 255, 30 / 255)  # noise levels between which signals are told apart
LEVEL_NAMES = ("low noise", "medium noise", "high noise")
CLASSES = len(REGIONS) * len(LEVEL_NAMES)
DARK, BRIGHT = 0.12, 0.88
FLAT = 6 / 255  # standard deviation of the estimate in a window below which it is flat
WINDOW = 7
ALONG = 0.7  # squared share of the structure tensor in one direction above which details are an edge


def region_classes(mean: Float[Tensor, "B C ..."], sigma: Float[Tensor, "..."]) -> Int64[Tensor, "B C ..."]:
    """Class of each element of an estimate: the index of its region times 3 plus that of its noise level.

    An element is clipped where its estimate lies within one noise level of 0 or 1, so that noise was cut off there;
    else dark or bright by its value; else flat, edge or texture by what surrounds it. An edge has most of its
    structure tensor (the mean product of gradients; Förstner, Gülch, 1987) in one direction.

    Args:
        mean: The estimate, with values in [0, 1].
        sigma: Noise level, one for each item or a map.

    Returns:
        Indices below `CLASSES`; `class_names` has their names.
    """
    level = (sigma.reshape(-1, *[1] * (mean.ndim - 1)) if sigma.ndim <= 1 else sigma).to(mean).expand(mean.shape)
    spread = local_mean((mean - local_mean(mean, WINDOW)).square(), WINDOW).sqrt()
    steps = local_gradients(mean)
    tensor = [[local_mean(a * b, WINDOW) for b in steps] for a in steps]
    total = sum((tensor[i][i] for i in range(len(steps))), torch.zeros_like(mean))
    along = sum((one.square() for row in tensor for one in row), torch.zeros_like(mean)) / total.square().clamp(
        min=1e-20
    )
    conditions = {
        "clipped": (mean < level) | (mean > 1 - level),
        "dark": mean < DARK,
        "bright": mean > BRIGHT,
        "flat": spread < FLAT,
        "edge": along > ALONG,
    }
    found = torch.full_like(mean, REGIONS.index("texture"), dtype=torch.int64)
    for name, where in reversed(conditions.items()):
        found = found.masked_fill(where, REGIONS.index(name))
    return found * len(LEVEL_NAMES) + torch.bucketize(level.contiguous(), level.new_tensor(LEVELS))


def class_names(number: int) -> tuple[str, str]:
    """Region and noise level of a class."""
    return REGIONS[number // len(LEVEL_NAMES)], LEVEL_NAMES[number % len(LEVEL_NAMES)]
