"""Likelihood of Gaussian diffusion models in nats and bits per dimension, by the probability flow and by a bound."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.diffusion.gaussian.grids import time_grid
from vqfusion.diffusion.gaussian.path import GaussianPath
from vqfusion.diffusion.gaussian.times import stratified_places
from vqfusion.diffusion.noise import Generators, draw_noise
from vqfusion.types import Denoiser


def flow_log_likelihood(
    denoiser: Denoiser,
    path: GaussianPath,
    x0: Float[Tensor, "B ..."],
    steps: int,
    generators: Generators,
    given: Any = None,
    divergence: str = "hutchinson",
    grid: str = "uniform",
) -> Float[Tensor, " B"]:
    """Log density of each item in nats under the probability flow: Song et al. (2021), eq. 39.

    log p_0(x_0) = log N(x_1; 0, alpha_1^2 data_std^2 + sigma_1^2) + int_0^1 div f dt, both integrated along the flow by
    the classical Runge-Kutta method with four evaluations per step. It is the density at the first time of the path,
    where a little noise, sigma(0), is left.

    Args:
        denoiser: The denoiser.
        path: The path.
        x0: Data.
        steps: Number of steps.
        generators: One for each item.
        given: Condition of the denoiser.
        divergence: `hutchinson` estimates it without bias from one random sign vector per item, the same at all steps
            (Hutchinson, 1989); `exact` takes as many backward passes as an item has dimensions.
        grid: Name of the time grid.

    Returns:
        Nats for each item.

    Raises:
        ValueError: Unknown divergence or grid.
    """
    if divergence not in ("hutchinson", "exact"):
        raise ValueError(f"divergence {divergence!r} is neither hutchinson nor exact")
    times = time_grid(path, steps, grid).flip(0)
    probe = draw_noise(x0.shape[1:], generators, x0.dtype, x0.device).sign() if divergence == "hutchinson" else None

    def drift(x: Tensor, time: float) -> tuple[Tensor, Tensor]:
        t = torch.full((len(x),), time, dtype=torch.float64, device=x.device)
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            velocity = path.convert(denoiser(x, t, given), x, t, "velocity")
            return velocity.detach(), _divergence(velocity, x, probe)

    x, total = x0.detach(), torch.zeros(len(x0), dtype=torch.float64, device=x0.device)
    for start, end in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
        step, middle = end - start, (start + end) / 2
        v1, d1 = drift(x, start)
        v2, d2 = drift(x + step / 2 * v1, middle)
        v3, d3 = drift(x + step / 2 * v2, middle)
        v4, d4 = drift(x + step * v3, end)
        x = x + step / 6 * (v1 + 2 * v2 + 2 * v3 + v4)
        total = total + step / 6 * (d1 + 2 * d2 + 2 * d3 + d4)
    last = times[-1:]
    variance = float(path.alpha(last) ** 2 * path.data_std**2 + path.sigma(last) ** 2)
    energy = x.double().square().flatten(1).sum(dim=1) / variance
    return total - (energy + x[0].numel() * math.log(2 * math.pi * variance)) / 2


def _divergence(velocity: Tensor, x: Tensor, probe: Tensor | None) -> Float[Tensor, " B"]:
    """Trace of d velocity / d x of each item; items are independent of each other."""
    if probe is not None:
        (product,) = torch.autograd.grad((velocity * probe).sum(), x)
        return (product * probe).double().flatten(1).sum(dim=1)
    flat, total = velocity.flatten(1), torch.zeros(len(x), dtype=torch.float64, device=x.device)
    for d in range(flat.shape[1]):
        (row,) = torch.autograd.grad(flat[:, d].sum(), x, retain_graph=True)
        total += row.flatten(1)[:, d].double()
    return total


@torch.no_grad()
def variational_bound(
    denoiser: Denoiser,
    path: GaussianPath,
    x0: Float[Tensor, "B ..."],
    draws: int,
    generators: Generators,
    given: Any = None,
    log_snr_max: float = 15.0,
) -> Float[Tensor, " B"]:
    """Upper bound on the negative log density of each item in nats: Kingma et al. (2021), in continuous time.

    The bound is the sum of KL(q(x_1 | x_0), prior), of -log N(x_0; x_t / alpha, sigma^2 / alpha^2) at the clean end,
    and of half the integral of |eps - predicted eps|^2 over the log-SNR. Where little noise is left the error is nearly
    |eps|^2, whose mean is known: w^2 (|eps|^2 - dims), with w the fraction of the data in the variance of x_t, is
    subtracted as a control variate.

    Args:
        denoiser: The denoiser.
        path: The path.
        x0: Data.
        draws: Number of stratified times.
        generators: One for each item.
        given: Condition of the denoiser.
        log_snr_max: The integral covers log-SNRs within +- this value.

    Returns:
        Nats for each item.
    """
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    ratios = (path.sigma(ends) / path.alpha(ends)).clamp(math.exp(-log_snr_max / 2), math.exp(log_snr_max / 2))
    ends = path.time_of_noise(ratios)
    (alpha_0, alpha_1), (sigma_0, sigma_1) = path.alpha(ends).tolist(), path.sigma(ends).tolist()
    high, low = path.log_snr(ends).tolist()
    dims = x0[0].numel()
    clean = dims / 2 * math.log(2 * math.pi * math.e * sigma_0**2 / alpha_0**2)
    prior = alpha_1**2 * path.data_std**2 + sigma_1**2
    energy = x0.double().square().flatten(1).sum(dim=1)
    far = (alpha_1**2 * energy / prior + dims * (sigma_1**2 / prior - 1 - math.log(sigma_1**2 / prior))) / 2
    total = torch.zeros(len(x0), dtype=torch.float64, device=x0.device)
    places = torch.stack([stratified_places(draws, g) for g in generators]).to(x0.device)
    for draw in range(draws):
        t = path.time_of_noise((-(low + (high - low) * places[:, draw]) / 2).exp())
        noise = draw_noise(x0.shape[1:], generators, x0.dtype, x0.device)
        x_t = path.add_noise(x0, noise, t)
        eps = path.convert(denoiser(x_t, t, given), x_t, t, "eps")
        error = (eps - noise).double().square().flatten(1).sum(dim=1)
        share = (path.alpha(t) * path.data_std * path.input_scale(t)).square()
        total += (high - low) / 2 * (error - share.square() * (noise.double().square().flatten(1).sum(dim=1) - dims))
    return clean + far + total / draws


def bits_per_dim(nats: Float[Tensor, " B"], dims: int, bin_width: float = 2 / 255) -> Float[Tensor, " B"]:
    """Bits per value from the negative log density of values that were rounded to bins.

    For values made continuous by uniform noise over their bin: Theis, van den Oord, Bethge (2016).

    Args:
        nats: Negative log density of each item.
        dims: Number of values of an item.
        bin_width: Width of a bin; 2 / 255 for 8-bit data in [-1, 1].

    Returns:
        Bits per value for each item.
    """
    return nats / dims / math.log(2) - math.log2(bin_width)
