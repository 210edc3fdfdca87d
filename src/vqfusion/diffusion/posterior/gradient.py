"""DPS: posterior sampling by the gradient of the likelihood through the denoiser."""

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.diffusion.gaussian.path import scale
from vqfusion.diffusion.noise import Generators
from vqfusion.diffusion.posterior.question import Question, Variance, share_of_noise, step_down
from vqfusion.watch import told

NOISE = share_of_noise()


def dps(
    question: Question,
    start: Float[Tensor, "B C ..."],
    levels: Float[Tensor, "N B"],
    generators: Generators,
    eta: float = 0.85,
    variance: Variance = NOISE,
) -> Float[Tensor, "B C ..."]:
    """Diffusion posterior sampling: Chung et al. (2023), eq. 11 to 16.

    E[x_0 | x_t, y] = x_0(x_t) + sigma_t^2 grad log p(y | x_t), with the gradient through the denoiser. The likelihood
    is N(A x_0(x_t), sigma_y^2 + r_t^2 A A') with r_t^2 = `variance`: Song et al. (2023), eq. 7 and 8, instead of a step
    size; where A is not linear its proximal map replaces the covariance. A step takes one evaluation and one backward
    pass of the prior, which must be differentiable.

    Args:
        question: Prior, operator and measurement.
        start: Noisy signal at the first level.
        levels: Decreasing noise levels of each item.
        generators: One for each item.
        eta: Fraction of the noise that is drawn anew in each step.
        variance: Variance of x_0 given x_t, as a function of the noise level.

    Returns:
        The samples.

    Raises:
        ValueError: The prior is not differentiable.
    """
    x = start
    for now, after in told(list(zip(levels[:-1], levels[1:], strict=True))):
        spread = variance(now)
        with torch.enable_grad():
            place = x.detach().requires_grad_()
            traced = question.prior.denoise(place, now)
        estimate = traced.detach()
        if traced.requires_grad:
            pull = question.operator.proximal(estimate, question.y, question.damping(spread)) - estimate
            (gradient,) = torch.autograd.grad(traced, place, pull)
        else:
            raise ValueError("method dps needs a prior that lets gradients pass: use method diffpir")
        estimate = estimate + scale(gradient, now.square() / spread)
        x = step_down(x, estimate, now, after, eta, generators)
    return x
