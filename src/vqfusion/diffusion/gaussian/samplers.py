"""Samplers of Gaussian diffusion: functions that take a denoiser from noise along a time grid to data.

All take `(denoiser, path, noise, times, given, generators)`: `noise` `[B, *shape]` is x at `times[0]`, the times
decrease, and item i draws only from generator i, so that a result does not depend on the rest of the batch.
Coefficients are float64 numbers. The denoiser receives the dtype of `noise`, and the result has it; between the steps
half precision is widened to float32, because large coefficients that cancel would lose accuracy. With lambda =
log(alpha / sigma) the exact solution from time t to s is

    x_s = (sigma_s / sigma_t) x_t + alpha_s int_0^h e^-u x_0(lambda_s - u) du,   h = lambda_s - lambda_t

(Lu et al., 2022, "DPM-Solver++", proposition 4.1), which DDIM, DPM-Solver++ and UniPC approximate.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.diffusion.gaussian.grids import time_grid
from vqfusion.diffusion.gaussian.path import GaussianPath, at_least_float32
from vqfusion.diffusion.noise import Generators, draw_noise
from vqfusion.types import Denoiser, Prediction, PredictionKind

LONGEST_STRETCH = 2.0  # a step longer than this times the one before does not use earlier predictions


@dataclass(frozen=True)
class SampledSignal:
    """Result of a sampler.

    Attributes:
        signal: Samples `[B, *shape]`.
        nfe: Network evaluations for each item.
    """

    signal: Tensor
    nfe: int


class _Walk:
    """Coefficients of a path on a time grid, and evaluation of the denoiser there."""

    def __init__(self, denoiser: Denoiser, path: GaussianPath, noise: Tensor, times: Tensor, given: Any):
        self.start, self.dtype = at_least_float32(noise), noise.dtype
        self.denoiser, self.path, self.given = denoiser, path, given
        self.times = times.detach().cpu().double()
        self.steps = len(times) - 1
        self.alpha = path.alpha(self.times).tolist()
        self.sigma = path.sigma(self.times).tolist()
        self.clock = path.schedule.clock(self.times).tolist()
        self.d_clock = path.schedule.d_clock(self.times).tolist()
        self.log_ratio = (path.log_snr(self.times) / 2).tolist()
        self.nfe = 0

    def read(self, x: Tensor, i: int, kind: PredictionKind) -> Tensor:
        """Evaluate the denoiser at time i, converted to this kind."""
        device_dtype = torch.float32 if x.device.type == "mps" else torch.float64
        t = torch.full((len(x),), float(self.times[i]), dtype=device_dtype, device=x.device)
        seen = x.to(self.dtype)
        prediction = self.denoiser(seen, t, self.given)
        self.nfe += prediction.calls
        wide = Prediction(at_least_float32(prediction.value), prediction.kind)
        return self.path.convert(wide, at_least_float32(seen), t, kind)

    def end(self, x: Tensor) -> SampledSignal:
        """Result in the dtype of the initial noise."""
        return SampledSignal(x.to(self.dtype), self.nfe)

    def first_order(self, x: Tensor, x0: Tensor, i: int) -> Tensor:
        """Step from time i to i + 1 with constant x_0: exact where x_0 does not change."""
        keep = self.sigma[i + 1] / self.sigma[i]
        return keep * x + (self.alpha[i + 1] - self.alpha[i] * keep) * x0


@torch.no_grad()
def ddim(
    denoiser: Denoiser,
    path: GaussianPath,
    noise: Float[Tensor, "B ..."],
    times: Float[Tensor, " N"],
    given: Any = None,
    generators: Generators | None = None,
    eta: float = 0.0,
) -> SampledSignal:
    """DDIM, order 1: Song, Meng, Ermon (2021), eq. 12 and 16.

    Args:
        denoiser: The denoiser.
        path: The path.
        noise: x at `times[0]`.
        times: Decreasing times.
        given: Condition of the denoiser.
        generators: One for each item; needed where `eta` > 0.
        eta: Amount of fresh noise in each step: 0 is deterministic, 1 is ancestral sampling (DDPM).

    Returns:
        The samples.

    Raises:
        ValueError: `eta` > 0 without generators.
    """
    if eta and generators is None:
        raise ValueError("a sampler that draws noise at every step needs generators, one for each item")
    walk = _Walk(denoiser, path, noise, times, given)
    x = walk.start
    for i in range(walk.steps):
        x0 = walk.read(x, i, "x0")
        if not eta:
            x = walk.first_order(x, x0, i)
            continue
        (alpha_t, alpha_s), (sigma_t, sigma_s) = walk.alpha[i : i + 2], walk.sigma[i : i + 2]
        new = max(0.0, sigma_t**2 - (alpha_t / alpha_s * sigma_s) ** 2)  # noise variance added from time s to t
        fresh = eta * math.sqrt(new) * sigma_s / sigma_t
        eps = (x - alpha_t * x0) / sigma_t
        x = alpha_s * x0 + math.sqrt(max(0.0, sigma_s**2 - fresh**2)) * eps
        x = x + fresh * draw_noise(x.shape[1:], generators or (), x.dtype, x.device)
    return walk.end(x)


ddpm = partial(ddim, eta=1.0)
"""Ancestral sampling with the variance of the exact posterior: Ho et al. (2020), eq. 6-7, algorithm 2."""


@torch.no_grad()
def euler(
    denoiser: Denoiser,
    path: GaussianPath,
    noise: Float[Tensor, "B ..."],
    times: Float[Tensor, " N"],
    given: Any = None,
    generators: Generators | None = None,
) -> SampledSignal:
    """Euler's method on the probability flow, order 1.

    Steps are taken in the clock of the path: t on the flow path, sigma on `edm`, else the angle of (alpha, sigma).

    Args:
        denoiser: The denoiser.
        path: The path.
        noise: x at `times[0]`.
        times: Decreasing times.
        given: Condition of the denoiser.
        generators: Not used: the method is deterministic.

    Returns:
        The samples.
    """
    walk = _Walk(denoiser, path, noise, times, given)
    x = walk.start
    for i in range(walk.steps):
        slope = walk.read(x, i, "velocity") / walk.d_clock[i]
        x = x + (walk.clock[i + 1] - walk.clock[i]) * slope
    return walk.end(x)


@torch.no_grad()
def heun(
    denoiser: Denoiser,
    path: GaussianPath,
    noise: Float[Tensor, "B ..."],
    times: Float[Tensor, " N"],
    given: Any = None,
    generators: Generators | None = None,
) -> SampledSignal:
    """Heun's method on the probability flow, order 2, two evaluations per step: Karras et al. (2022), algorithm 1.

    A step to sigma = 0 is one of Euler's method. Arguments as in `euler`.

    Args:
        denoiser: The denoiser.
        path: The path.
        noise: x at `times[0]`.
        times: Decreasing times.
        given: Condition of the denoiser.
        generators: Not used: the method is deterministic.

    Returns:
        The samples.
    """
    walk = _Walk(denoiser, path, noise, times, given)
    x = walk.start
    for i in range(walk.steps):
        step = walk.clock[i + 1] - walk.clock[i]
        slope = walk.read(x, i, "velocity") / walk.d_clock[i]
        guess = x + step * slope
        if walk.sigma[i + 1] > 0:
            slope = (slope + walk.read(guess, i + 1, "velocity") / walk.d_clock[i + 1]) / 2
        x = x + step * slope
    return walk.end(x)


@torch.no_grad()
def dpmpp_2m(
    denoiser: Denoiser,
    path: GaussianPath,
    noise: Float[Tensor, "B ..."],
    times: Float[Tensor, " N"],
    given: Any = None,
    generators: Generators | None = None,
) -> SampledSignal:
    """DPM-Solver++ 2M, order 2, one evaluation per step: Lu et al. (2022b), algorithm 2.

    A step much longer than the one before, or to sigma = 0, is of first order (DDIM).

    Args:
        denoiser: The denoiser.
        path: The path.
        noise: x at `times[0]`.
        times: Decreasing times.
        given: Condition of the denoiser.
        generators: Not used: the method is deterministic.

    Returns:
        The samples.
    """
    walk, before = _Walk(denoiser, path, noise, times, given), None
    x = walk.start
    for i in range(walk.steps):
        x0 = walk.read(x, i, "x0")
        mixed = x0
        if before is not None and _trusts_history(walk.log_ratio, i):
            r = (walk.log_ratio[i] - walk.log_ratio[i - 1]) / (walk.log_ratio[i + 1] - walk.log_ratio[i])
            mixed = x0 + (x0 - before) / (2 * r)
        x, before = walk.first_order(x, mixed, i), x0
    return walk.end(x)


@torch.no_grad()
def unipc(
    denoiser: Denoiser,
    path: GaussianPath,
    noise: Float[Tensor, "B ..."],
    times: Float[Tensor, " N"],
    given: Any = None,
    generators: Generators | None = None,
    order: int = 2,
) -> SampledSignal:
    """UniPC: predictor of the given order and corrector, together of order + 1: Zhao et al. (2023).

    x_0(lambda) is the polynomial through the last `order` predictions and, in the corrector, the new one; its integral
    is exact. The evaluation at a predicted point serves the corrector and the next step, so that a step takes one
    evaluation.

    Args:
        denoiser: The denoiser.
        path: The path.
        noise: x at `times[0]`.
        times: Decreasing times.
        given: Condition of the denoiser.
        generators: Not used: the method is deterministic.
        order: Order of the predictor.

    Returns:
        The samples.
    """
    walk = _Walk(denoiser, path, noise, times, given)
    x = walk.start
    known: list[tuple[float, Tensor]] = []  # (log ratio, x_0), newest first
    for i in range(walk.steps):
        if not known:
            known = [(walk.log_ratio[i], walk.read(x, i, "x0"))]
        length = order if len(known) == 1 or _trusts_history(walk.log_ratio, i) else 1
        nodes = [node for node in known[:length] if math.isfinite(node[0])]
        guess = _integrate(walk, x, nodes or known[:1], i)
        if i + 1 == walk.steps:
            return walk.end(guess)
        new = (walk.log_ratio[i + 1], walk.read(guess, i + 1, "x0"))
        x = _integrate(walk, x, [new, *nodes], i) if nodes else guess
        known = [new, *known][:order]
    return walk.end(x)


def _trusts_history(log_ratio: list[float], i: int) -> bool:
    """Whether the step from time i may use earlier predictions."""
    if i == 0 or not math.isfinite(log_ratio[i + 1]):
        return False
    return log_ratio[i + 1] - log_ratio[i] <= LONGEST_STRETCH * (log_ratio[i] - log_ratio[i - 1])


def _integrate(walk: _Walk, x: Tensor, nodes: list[tuple[float, Tensor]], i: int) -> Tensor:
    """Exact solution from time i to i + 1 for the polynomial x_0(lambda) through the nodes."""
    end = walk.log_ratio[i + 1]
    h = end - walk.log_ratio[i]
    if len(nodes) == 1 or not math.isfinite(h):
        return walk.first_order(x, nodes[0][1], i)
    powers = torch.arange(len(nodes), dtype=torch.float64)
    places = (end - torch.tensor([node[0] for node in nodes], dtype=torch.float64)) / h
    # int_0^h (u / h)^k e^-u du = k! P(k + 1, h) / h^k, with the regularised incomplete gamma function P
    width = torch.tensor(h, dtype=torch.float64)
    moments = torch.special.gammainc(powers + 1, width) * (torch.lgamma(powers + 1) - powers * width.log()).exp()
    weights = torch.linalg.solve(places[None] ** powers[:, None], moments).tolist()
    summed = sum(weight * x0 for weight, (_, x0) in zip(weights, nodes, strict=True))
    return walk.sigma[i + 1] / walk.sigma[i] * x + walk.alpha[i + 1] * summed


SAMPLERS: dict[str, Callable[..., SampledSignal]] = {
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
