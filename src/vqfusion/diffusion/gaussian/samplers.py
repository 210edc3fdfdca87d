"""Samplers of Gaussian diffusion: functions that take a denoiser from noise along a time grid to data.

All have the arguments of `Sampler`. Those that use earlier predictions are in `multistep`.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vqfusion.diffusion.gaussian.grids import time_grid
from vqfusion.diffusion.gaussian.multistep import dpmpp_2m, unipc
from vqfusion.diffusion.gaussian.path import GaussianPath
from vqfusion.diffusion.gaussian.walk import SampledSignal, Sampler, Walk, as_sampler
from vqfusion.diffusion.noise import Generators, draw_noise
from vqfusion.types import Denoiser
from vqfusion.watch import told


@as_sampler
def ddim(walk: Walk, eta: float = 0.0) -> Tensor:
    """DDIM, order 1: Song, Meng, Ermon (2021), eq. 12 and 16. Arguments as in `Sampler`.

    `eta` is the amount of fresh noise in each step: 0 is deterministic, 1 is ancestral sampling (DDPM). Raises
    ValueError where it is above 0 and there are no generators.
    """
    if eta and walk.generators is None:
        raise ValueError("a sampler that draws noise at every step needs generators, one for each item")
    x = walk.start
    for i in told(range(walk.steps)):
        x0 = walk.read(x, i, "x0")
        if not eta:
            x = walk.first_order(x, x0, i)
            continue
        (alpha_t, alpha_s), (sigma_t, sigma_s) = walk.alpha[i : i + 2], walk.sigma[i : i + 2]
        new = max(0.0, sigma_t**2 - (alpha_t / alpha_s * sigma_s) ** 2)  # noise variance added from time s to t
        fresh = eta * math.sqrt(new) * sigma_s / sigma_t
        eps = (x - alpha_t * x0) / sigma_t
        x = alpha_s * x0 + math.sqrt(max(0.0, sigma_s**2 - fresh**2)) * eps
        x = x + fresh * draw_noise(x.shape[1:], walk.generators or (), x.dtype, x.device)
    return x


ddpm = partial(ddim, eta=1.0)
"""Ancestral sampling with the variance of the exact posterior: Ho et al. (2020), eq. 6-7, algorithm 2."""


@as_sampler
def euler(walk: Walk) -> Tensor:
    """Euler's method on the probability flow, order 1. Arguments as in `Sampler`.

    Steps are taken in the clock of the path: t on the flow path, sigma on `edm`, else the angle of (alpha, sigma).
    """
    x = walk.start
    for i in told(range(walk.steps)):
        slope = walk.read(x, i, "velocity") / walk.d_clock[i]
        x = x + (walk.clock[i + 1] - walk.clock[i]) * slope
    return x


@as_sampler
def heun(walk: Walk) -> Tensor:
    """Heun's method on the probability flow, order 2, two evaluations per step: Karras et al. (2022), algorithm 1.

    A step to sigma = 0 is one of Euler's method. Arguments as in `Sampler`.
    """
    x = walk.start
    for i in told(range(walk.steps)):
        step = walk.clock[i + 1] - walk.clock[i]
        slope = walk.read(x, i, "velocity") / walk.d_clock[i]
        guess = x + step * slope
        if walk.sigma[i + 1] > 0:
            slope = (slope + walk.read(guess, i + 1, "velocity") / walk.d_clock[i + 1]) / 2
        x = x + step * slope
    return x


SAMPLERS: dict[str, Sampler] = {
    "ddpm": ddpm,
    "ddim": ddim,
    "euler": euler,
    "heun": heun,
    "dpmpp_2m": dpmpp_2m,
    "unipc": unipc,
}


def sample_signal(
    denoiser: Denoiser,
    path: GaussianPath,
    shape: Sequence[int],
    steps: int,
    generators: Generators,
    given: Any = None,
    sampler: str = "dpmpp_2m",
    grid: str = "uniform",
    device: torch.device | str | None = None,
) -> SampledSignal:
    """Draw samples from noise.

    Args:
        denoiser: The denoiser.
        path: The path that it was trained for.
        shape: Shape of one sample.
        steps: Number of steps.
        generators: One for each sample.
        given: Condition of the denoiser.
        sampler: Name in `SAMPLERS`.
        grid: Name of the time grid, see `time_grid`.
        device: Device of the samples; that of the generators by default.

    Returns:
        Samples `[len(generators), *shape]`.

    Raises:
        ValueError: Unknown sampler or grid, or no steps.
    """
    if sampler not in SAMPLERS:
        raise ValueError(f"sampler {sampler!r} is not one of {', '.join(SAMPLERS)}")
    times = time_grid(path, steps, grid)
    noise = draw_noise(shape, generators, device=device) * float(path.sigma(times[:1]))
    return SAMPLERS[sampler](denoiser, path, noise, times, given, generators)
