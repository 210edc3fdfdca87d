"""Gradient estimators: the value of the codes, with a gradient in place of the zero one of the nearest-code search.

Each takes vectors `x` and their `codes`, both `[N, D]`, and returns the codes with its own gradient. In training a
generator is passed to the estimator that adds noise.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

EPSILON = 1e-6  # norm below which an angle counts as undefined

DIVEQ_VARIANCE = 1e-3  # of the noise on the direction; the paper recommends a small value


def straight_through(
    x: Float[Tensor, "N D"], codes: Float[Tensor, "N D"], generator: torch.Generator | None = None
) -> Float[Tensor, "N D"]:
    """Straight-through, gradient one: Bengio, Leonard, Courville (2013); van den Oord et al. (2017), section 3.2."""
    return carried(x, codes)


def rotation_trick(
    x: Float[Tensor, "N D"], codes: Float[Tensor, "N D"], generator: torch.Generator | None = None
) -> Float[Tensor, "N D"]:
    """Treat the code as a constant rotation and scaling of the vector: Fifty et al. (2024), section 4.

    q = s R x with s = |q| / |x| and R the rotation in the plane of x and q; the gradient is s R^T g. Where the angle is
    undefined (a zero vector, or opposite vectors) the gradient is one.
    """
    with torch.no_grad():
        x_norm, code_norm = x.norm(dim=1, keepdim=True), codes.norm(dim=1, keepdim=True)
        e, q = x / x_norm.clamp(min=EPSILON), codes / code_norm.clamp(min=EPSILON)
        defined = (x_norm > EPSILON) & (code_norm > EPSILON) & ((e + q).norm(dim=1, keepdim=True) > EPSILON)
        r = F.normalize(e + q, dim=1)
        scale = code_norm / x_norm.clamp(min=EPSILON)
    rotated = x - 2 * (x * r).sum(dim=1, keepdim=True) * r + 2 * (x * e).sum(dim=1, keepdim=True) * q
    return carried(torch.where(defined, scale * rotated, x), codes)


def directional(
    x: Float[Tensor, "N D"], codes: Float[Tensor, "N D"], generator: torch.Generator | None = None
) -> Float[Tensor, "N D"]:
    """DiVeQ: the vector plus its distance to the code along a constant direction: Vali, Backstrom, Solin (2025).

    x + |q - x| d with d the unit vector along v + q - x, v ~ N(0, `DIVEQ_VARIANCE`); without a generator v = 0 and the
    value is the code. The gradient also reaches the codebook, so that no codebook loss is needed.
    """
    error = codes - x
    noise = torch.zeros_like(error)
    if generator is not None:
        noise.normal_(0.0, DIVEQ_VARIANCE**0.5, generator=generator)
    direction = F.normalize(error.detach() + noise, dim=1)
    distance = (error.square().sum(dim=1, keepdim=True) + EPSILON**2).sqrt()  # differentiable at the code itself
    return x + distance * direction


ESTIMATORS: dict[str, Callable[..., Tensor]] = {
    "ste": straight_through,
    "rotation": rotation_trick,
    "diveq": directional,
}


def carried(path: Float[Tensor, "N D"], codes: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
    """Exact value of `codes` with the gradient of `path`."""
    if torch.compiler.is_compiling():
        return path + (codes - path).detach()
    return _Carried.apply(path, codes)


class _Carried(torch.autograd.Function):
    @staticmethod
    def forward(ctx, path: Tensor, codes: Tensor) -> Tensor:
        return codes.clone()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None
