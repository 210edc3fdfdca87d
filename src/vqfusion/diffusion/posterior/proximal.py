"""DiffPIR and plug-and-play: methods that fit the measurement by the proximal map of any operator."""

from jaxtyping import Float
from torch import Tensor

from vqfusion.diffusion.noise import Generators
from vqfusion.diffusion.posterior.question import Question, Variance, share_of_noise, step_down
from vqfusion.watch import told

NOISE = share_of_noise()


def diffpir(
    question: Question,
    start: Float[Tensor, "B C ..."],
    levels: Float[Tensor, "N B"],
    generators: Generators,
    eta: float = 0.85,
    variance: Variance = NOISE,
) -> Float[Tensor, "B C ..."]:
    """Posterior sampling by proximal steps: Zhu et al. (2023), algorithm 1.

    The estimate of each step is argmin |y - A z|^2 / (2 sigma_y^2) + |z - x_0|^2 / (2 r_t^2), r_t^2 = `variance` (eq.
    12b, where it is sigma_t^2 / lambda). The fresh noise is that of DDIM with `eta`, which preserves the distribution
    of x_t for a good prior as the number of steps grows; the constant fraction zeta of the paper does not.

    Args:
        question: Prior, operator and measurement.
        start: Noisy signal at the first level.
        levels: Decreasing noise levels of each item.
        generators: One for each item.
        eta: Fraction of the noise that is drawn anew in each step.
        variance: Variance of x_0 given x_t, as a function of the noise level.

    Returns:
        The samples.
    """
    x = start
    for now, after in told(list(zip(levels[:-1], levels[1:], strict=True))):
        estimate = question.prior.denoise(x, now)
        damping = question.damping(variance(now))
        estimate = question.operator.proximal(estimate, question.y, damping)
        x = step_down(x, estimate, now, after, eta, generators)
    return x


def plug_and_play(
    question: Question,
    start: Float[Tensor, "B C ..."],
    levels: Float[Tensor, "N B"],
    variance: Variance = NOISE,
    momentum: float = 0.0,
) -> Float[Tensor, "B C ..."]:
    """Deterministic estimate by half-quadratic splitting with a denoiser: Zhang et al. (2021), algorithm 1.

    Each step fits the measurement with weight sigma_y^2 / variance(sigma_k) and then denoises at sigma_k; the last
    result is fitted once more, so that values measured without noise are kept. `momentum` extrapolates each estimate by
    a fraction of its last change (Nesterov, 1983), which fills large holes faster.

    Args:
        question: Prior, operator and measurement.
        start: First estimate.
        levels: Decreasing noise levels of each item; the last is 0.
        variance: Variance of x_0 given x_t, as a function of the noise level.
        momentum: Fraction in [0, 1).

    Returns:
        The estimates.
    """
    estimate, before = start, start
    for now in told(list(levels[:-1])):
        ahead = estimate + momentum * (estimate - before)
        met = question.operator.proximal(ahead, question.y, question.damping(variance(now)))
        estimate, before = question.prior.denoise(met, now), estimate
    return question.operator.proximal(estimate, question.y, question.damping(variance(levels[-2])))
