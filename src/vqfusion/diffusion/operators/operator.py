"""What was measured: y = A(x) + noise, with everything that restoration needs to know of A."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.diffusion.noise import Generators
from vqfusion.diffusion.operators.noise_models import GaussianNoise, Noise
from vqfusion.errors import UserError

CONJUGATE_STEPS = 100
CONJUGATE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Spectrum:
    """A = U diag(values) V': `to` is V' and `back` V (unitary, possibly complex), `measured` is y -> V-side U' y.

    `values` broadcasts against V' x and is zero where nothing was measured; `measured` gives zero there.
    """

    values: Tensor
    to: Callable[[Tensor], Tensor]
    back: Callable[[Tensor], Tensor]
    measured: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class GaussianProblem:
    """The same question with Gaussian noise; `back` takes an answer to the scale of the signal and is monotone."""

    operator: "Operator"
    y: Tensor
    back: Callable[[Tensor], Tensor]


class Operator(ABC):
    """y = A(x) + noise, for signals x `[B, C, *size]` in sample units (pictures in [0, 1]).

    `sigma` is the standard deviation of Gaussian noise in the units of the sample: a number, one for each item
    `[B]`, or a tensor that broadcasts against y; None where it is unknown, then it is estimated. Other noise is
    given as `noise`. What a subclass does not know in closed form is solved by conjugate gradients.
    """

    kind: ClassVar[str]
    ranks: ClassVar[tuple[int, ...]] = (1, 2, 3)
    linear: ClassVar[bool] = True
    shows_noise: ClassVar[bool] = True  # y is a whole signal with white noise, of which sigma can be estimated

    def __init__(self, sigma: float | Tensor | None = 0.0, noise: Noise | None = None):
        self.noise: Noise = noise or GaussianNoise(sigma)

    @property
    def sigma(self) -> float | Tensor | None:
        """Standard deviation of the noise where it is Gaussian, else of its constant part."""
        return self.noise.sigma

    @abstractmethod
    def A(self, x: Float[Tensor, "B C ..."]) -> Float[Tensor, "B ..."]:
        """The noiseless measurement; gradients pass."""

    @abstractmethod
    def A_adjoint(self, y: Float[Tensor, "B ..."]) -> Float[Tensor, "B C ..."]:
        """The transpose: <A x, y> = <x, A' y>. Where A is not linear, that of its straight-through derivative."""

    def signal_shape(self, y: Float[Tensor, "B ..."]) -> tuple[int, ...]:
        """`[C, *size]` of the signal behind a measurement; raises UserError where y does not fit the operator."""
        return tuple(y.shape[1:])

    def correction(
        self, residual: Float[Tensor, "B ..."], damping: float | Float[Tensor, "..."]
    ) -> Float[Tensor, "B C ..."]:
        """(A' A + damping)^-1 A' residual; `damping` >= 0 is a number or one for each item, 0 is the pseudo-inverse.

        Here by conjugate gradients from zero, which stay in the range of A' (Hestenes, Stiefel, 1952).
        """
        right = self.A_adjoint(residual)
        weight = damping.to(right) if isinstance(damping, Tensor) else damping
        return conjugate_gradients(lambda x: self.A_adjoint(self.A(x)) + weight * x, right)

    def pseudo_inverse(self, y: Float[Tensor, "B ..."]) -> Float[Tensor, "B C ..."]:
        """The least x of those that explain y best."""
        return self.correction(y, 0.0)

    def proximal(
        self, x: Float[Tensor, "B C ..."], y: Float[Tensor, "B ..."], damping: float | Float[Tensor, "..."]
    ) -> Float[Tensor, "B C ..."]:
        """argmin over z of |y - A z|^2 + damping |z - x|^2; with damping 0 the z nearest to x that explains y."""
        return x + self.correction(y - self.A(x), damping)

    def first_guess(self, y: Float[Tensor, "B ..."]) -> Float[Tensor, "B C ..."]:
        """Something sensible to start from, of natural brightness everywhere."""
        return self.pseudo_inverse(y)

    def spectrum(self, shape: tuple[int, ...], like: Tensor) -> Spectrum:
        """The singular value decomposition for signals `[C, *size]`, where it is cheap; else ValueError."""
        raise ValueError(f"{self.kind} has no cheap singular value decomposition: use method diffpir or dps")

    def gaussian_problem(self, y: Float[Tensor, "B ..."]) -> GaussianProblem:
        """Itself, where the noise is Gaussian."""
        if not isinstance(self.noise, GaussianNoise):
            raise UserError(f"{self.noise.kind} noise is handled by Denoise, not by {self.kind}")
        return GaussianProblem(self, y, lambda x: x)

    def measure(self, x: Float[Tensor, "B C ..."], generators: Generators) -> Float[Tensor, "B ..."]:
        """A(x) with noise, one generator for each item."""
        return self.noise.add(self.A(x), generators)

    def check_rank(self, x: Tensor) -> None:
        """UserError where the operator is not made for signals of this rank."""
        if x.ndim - 2 not in self.ranks:
            raise UserError(f"{self.kind} works on signals of rank {self.ranks}, not on {tuple(x.shape)} [B, C, *size]")


def conjugate_gradients(
    apply: Callable[[Tensor], Tensor],
    right: Float[Tensor, "B ..."],
    steps: int = CONJUGATE_STEPS,
    tolerance: float = CONJUGATE_TOLERANCE,
) -> Float[Tensor, "B ..."]:
    """Solution of apply(x) = right for a symmetric non-negative map that keeps items apart, to a relative error."""

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).flatten(1).sum(1).reshape(-1, *[1] * (a.ndim - 1))

    x, residual = torch.zeros_like(right), right
    direction, energy = residual, dot(residual, residual)
    target = tolerance**2 * energy
    for _ in range(steps):
        active = energy > target
        if not bool(active.any()):
            break
        moved = apply(direction)
        curvature = dot(direction, moved)
        rate = torch.where(active & (curvature > 0), energy / curvature.clamp(min=1e-300), 0.0)
        x, residual = x + rate * direction, residual - rate * moved
        fresh = dot(residual, residual)
        direction = residual + torch.where(active, fresh / energy.clamp(min=1e-300), 0.0) * direction
        energy = torch.where(active, fresh, energy)
    return x
