"""Methods that meet the measurement by a proximal step, for any operator that has one: DiffPIR and plug-and-play."""

from jaxtyping import Float
from torch import Tensor

from vqfusion.diffusion.noise import Generators
from vqfusion.diffusion.posterior.question import Question, Variance, share_of_noise, step_down

NOISE = share_of_noise()


def diffpir(
    question: Question,
    start: Float[Tensor, "B C ..."],
    levels: Float[Tensor, "N B"],
    generators: Generators,
    eta: float = 0.85,
    variance: Variance = NOISE,
) -> Float[Tensor, "B C ..."]:
    """A posterior sample by proximal steps: Zhu et al. (2023), algorithm 1.

    The estimate of each step is argmin |y - A z|^2 / (2 sigma_y^2) + |z - x_0|^2 / (2 r_t^2), r_t^2 =
    `variance` (eq. 12b, where it is sigma_t^2 / lambda). Fresh noise is that of DDIM with `eta`, which keeps
    the law of x_t for a good prior as the steps grow; the paper's constant share zeta does not.
    """
    x = start
    for now, after in zip(levels[:-1], levels[1:], strict=True):
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
    """One estimate without chance: half-quadratic splitting with a denoiser, Zhang et al. (2021), algorithm 1.

    Each level meets the measurement with weight sigma_y^2 / variance(sigma_k) and then denoises at sigma_k; the last
    result meets it once more, so that what was measured without noise stays as it was. The last of `levels` is 0.
    `momentum` carries each estimate on by a share of what the last step changed (Nesterov, 1983): what is known
    spreads faster into large holes.
    """
    estimate, before = start, start
    for now in levels[:-1]:
        ahead = estimate + momentum * (estimate - before)
        met = question.operator.proximal(ahead, question.y, question.damping(variance(now)))
        estimate, before = question.prior.denoise(met, now), estimate
    return question.operator.proximal(estimate, question.y, question.damping(variance(levels[-2])))
