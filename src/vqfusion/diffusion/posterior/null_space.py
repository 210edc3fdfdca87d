"""DDNM and DDRM: posterior samplers for linear operators with a singular value decomposition.

Both express the measurement in the basis of right singular vectors, in which component i of x_0 was measured with noise
of sigma_y / s_i, and combine it with the estimate as far as the noise level of the step allows.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.diffusion.gaussian.path import scale
from vqfusion.diffusion.noise import Generators, draw_noise
from vqfusion.diffusion.operators import Spectrum
from vqfusion.diffusion.posterior.question import Question, step_down, step_noises
from vqfusion.watch import told


def ddnm(
    question: Question,
    start: Float[Tensor, "B C ..."],
    levels: Float[Tensor, "N B"],
    generators: Generators,
    eta: float = 0.85,
) -> Float[Tensor, "B C ..."]:
    """Denoising diffusion null-space model, Wang, Yu, Zhang (2023), algorithm 1; with noise DDNM+, eq. 17 to 19.

    The range of A' is taken from y and the null space from the prior. Where y is noisy, component i is corrected by a
    factor lambda_i such that its noise does not exceed the fresh noise of the step, which is reduced accordingly.
    Without noise any operator with a pseudo-inverse can be used.

    Args:
        question: Prior, operator and measurement.
        start: Noisy signal at the first level.
        levels: Decreasing noise levels of each item.
        generators: One for each item.
        eta: Fraction of the noise that is drawn anew in each step.

    Returns:
        The samples.
    """
    operator, y, x = question.operator, question.y, start
    if not bool((question.sigma > 0).any()):
        for now, after in told(list(zip(levels[:-1], levels[1:], strict=True))):
            estimate = question.prior.denoise(x, now)
            estimate = estimate + operator.pseudo_inverse(y - operator.A(estimate))
            x = step_down(x, estimate, now, after, eta, generators)
        return x
    sigma, spectrum = question.item_sigma("ddnm"), operator.spectrum(tuple(start.shape[1:]), start)
    seen, spread, measured = _measured(spectrum, y, sigma)
    for now, after in told(list(zip(levels[:-1], levels[1:], strict=True))):
        estimate = question.prior.denoise(x, now)
        keep, fresh = step_noises(now, after, eta)
        weight = _wide(1 - keep / now, x)  # weight of the estimate in the next x
        limit = _wide(fresh, x)
        share = torch.where(weight * spread <= limit, 1.0, limit / (weight * spread).clamp(min=1e-30)) * seen
        rest = (limit.square() - (weight * share * spread).square()).clamp(min=0).sqrt()
        turned = spectrum.to(estimate)
        estimate = spectrum.back(turned + share * (measured - turned))
        noise = draw_noise(x.shape[1:], generators, x.dtype, x.device)
        x = estimate + scale(x - estimate, keep / now) + spectrum.back(rest * spectrum.to(noise))
    return x


def ddrm(
    question: Question,
    start: Float[Tensor, "B C ..."],
    levels: Float[Tensor, "N B"],
    generators: Generators,
    eta: float = 0.85,
    eta_b: float = 1.0,
) -> Float[Tensor, "B C ..."]:
    """Denoising diffusion restoration model: Kawar, Elad, Ermon, Song (2022), eq. 4 to 8.

    Args:
        question: Prior, operator and measurement.
        start: Noisy signal at the first level; its measured components are drawn anew around y (eq. 7).
        levels: Decreasing noise levels of each item.
        generators: One for each item.
        eta: Fraction of the noise that is drawn anew in unmeasured components.
        eta_b: Weight of the measurement where it is less noisy than the step.

    Returns:
        The samples.
    """
    sigma = question.item_sigma("ddrm")
    spectrum = question.operator.spectrum(tuple(start.shape[1:]), start)
    seen, spread, measured = _measured(spectrum, question.y, sigma)

    def around(centre: Tensor, level: Tensor) -> Tensor:
        """Noise beside that of y, up to this level."""
        noise = spectrum.to(draw_noise(start.shape[1:], generators, start.dtype, start.device))
        return centre + (level.square() - (eta_b * spread).square()).clamp(min=0).sqrt() * noise

    first = _wide(levels[0], start)
    state = torch.where((seen > 0) & (spread <= first), around(measured, first), spectrum.to(start))
    for now, after in told(list(zip(levels[:-1], levels[1:], strict=True))):
        estimate = spectrum.to(question.prior.denoise(spectrum.back(state), now))
        level, before = _wide(after, start), _wide(now, start)
        noise = spectrum.to(draw_noise(start.shape[1:], generators, start.dtype, start.device))
        kept = (1 - eta**2) ** 0.5 * level
        unseen = estimate + kept * (state - estimate) / before + eta * level * noise
        noisy = estimate + kept * (measured - estimate) / spread.clamp(min=1e-30) + eta * level * noise
        clear = around((1 - eta_b) * estimate + eta_b * measured, level)
        state = torch.where(seen > 0, torch.where(level < spread, noisy, clear), unseen)
    return spectrum.back(state)


def _measured(spectrum: Spectrum, y: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """1 where a component was measured, else 0; its noise sigma_y / s_i; and y in the basis of V'."""
    values = spectrum.values
    safe = values.clamp(min=1e-30)
    seen = (values > 0).to(values)
    spread = torch.where(values > 0, sigma / safe, torch.full_like(values, 1e30))
    return seen, spread, torch.where(values > 0, spectrum.measured(y) / safe, 0)


def _wide(factor: Tensor, like: Tensor) -> Tensor:
    return factor.to(like).reshape(-1, *[1] * (like.ndim - 1))
