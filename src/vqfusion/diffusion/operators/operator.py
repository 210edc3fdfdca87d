"""Base of measurement operators: y = A(x) + noise, with adjoint, pseudo-inverse and proximal map of A."""

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
    """Singular value decomposition A = U diag(values) V'.

    Attributes:
        values: Singular values, which broadcast against V' x; zero where nothing was measured.
        to: The map x -> V' x, unitary and possibly complex.
        back: Its inverse V.
        measured: The map y -> U' y in the coordinates of V' x, zero where nothing was measured.
    """

    values: Tensor
    to: Callable[[Tensor], Tensor]
    back: Callable[[Tensor], Tensor]
    measured: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class GaussianProblem:
    """An equivalent problem with Gaussian noise.

    Attributes:
        operator: Its operator.
        y: Its measurement.
        back: Monotone map from its solutions to those of the original problem.
    """

    operator: "Operator"
    y: Tensor
    back: Callable[[Tensor], Tensor]


class Operator(ABC):
    """Measurement y = A(x) + noise of signals x `[B, C, *size]` in sample units (pictures in [0, 1]).

    Subclasses implement `A` and `A_adjoint`; `correction` and what follows from it are then solved by conjugate
    gradients, unless the subclass has a closed form.

    Args:
        sigma: Standard deviation of Gaussian noise in the units of the sample: a number, one for each item `[B]`, or a
            tensor that broadcasts against y; None is unknown and estimated.
        noise: Other noise, in place of `sigma`.
    """

    kind: ClassVar[str]
    ranks: ClassVar[tuple[int, ...]] = (1, 2, 3)
    linear: ClassVar[bool] = True
    shows_noise: ClassVar[bool] = True  # whether sigma can be estimated from y: a whole signal with white noise

    def __init__(self, sigma: float | Tensor | None = 0.0, noise: Noise | None = None):
        self.noise: Noise = noise or GaussianNoise(sigma)

    @property
    def sigma(self) -> float | Tensor | None:
        """Standard deviation of the noise where it is Gaussian, else of its signal-independent part."""
        return self.noise.sigma

    def under(self, x: Float[Tensor, "B C ..."]) -> Float[Tensor, "B C ..."]:
        """Part of a signal that was measured: all of it, unless the signal reaches beyond y."""
        return x

    @abstractmethod
    def A(self, x: Float[Tensor, "B C ..."]) -> Float[Tensor, "B ..."]:
        """Measurement without noise; differentiable."""

    @abstractmethod
    def A_adjoint(self, y: Float[Tensor, "B ..."]) -> Float[Tensor, "B C ..."]:
        """Adjoint: <A x, y> = <x, A' y>; of the straight-through derivative where A is not linear."""

    def signal_shape(self, y: Float[Tensor, "B ..."]) -> tuple[int, ...]:
        """Shape `[C, *size]` of the signal behind a measurement; UserError where y does not fit the operator."""
        return tuple(y.shape[1:])

    def correction(
        self, residual: Float[Tensor, "B ..."], damping: float | Float[Tensor, "..."]
    ) -> Float[Tensor, "B C ..."]:
        """(A' A + damping)^-1 A' residual.

        The default uses conjugate gradients from zero, which stay in the range of A' (Hestenes, Stiefel, 1952).

        Args:
            residual: Residual in the space of measurements.
            damping: Number >= 0, or one for each item; 0 gives the pseudo-inverse.

        Returns:
            Correction in the space of signals.
        """
        right = self.A_adjoint(residual)
        weight = damping.to(right) if isinstance(damping, Tensor) else damping
        return conjugate_gradients(lambda x: self.A_adjoint(self.A(x)) + weight * x, right)

    def pseudo_inverse(self, y: Float[Tensor, "B ..."]) -> Float[Tensor, "B C ..."]:
        """Least-squares solution of smallest norm."""
        return self.correction(y, 0.0)

    def proximal(
        self, x: Float[Tensor, "B C ..."], y: Float[Tensor, "B ..."], damping: float | Float[Tensor, "..."]
    ) -> Float[Tensor, "B C ..."]:
        """Minimiser over z of |y - A z|^2 + damping |z - x|^2.

        With damping 0 it is the z nearest to x among those that fit y best.
        """
        return x + self.correction(y - self.A(x), damping)

    def first_guess(self, y: Float[Tensor, "B ..."]) -> Float[Tensor, "B C ..."]:
        """Starting point of iterative methods, with plausible brightness everywhere."""
        return self.pseudo_inverse(y)

    def spectrum(self, shape: tuple[int, ...], like: Tensor) -> Spectrum:
        """Singular value decomposition for signals `[C, *size]`; ValueError where it is costly.

        `like` gives dtype and device.
        """
        raise ValueError(f"{self.kind} has no cheap singular value decomposition: use method diffpir or dps")

    def gaussian_problem(self, y: Float[Tensor, "B ..."]) -> GaussianProblem:
        """Equivalent problem with Gaussian noise: itself, where the noise is Gaussian."""
        if not isinstance(self.noise, GaussianNoise):
            raise UserError(f"{self.noise.kind} noise is handled by Denoise, not by {self.kind}")
        return GaussianProblem(self, y, lambda x: x)

    def measure(self, x: Float[Tensor, "B C ..."], generators: Generators) -> Float[Tensor, "B ..."]:
        """Noisy measurement of x, with one generator for each item."""
        return self.noise.add(self.A(x), generators)

    def check_rank(self, x: Tensor) -> None:
        """Raise UserError where the operator is not defined for signals of this rank."""
        if x.ndim - 2 not in self.ranks:
            raise UserError(f"{self.kind} works on signals of rank {self.ranks}, not on {tuple(x.shape)} [B, C, *size]")


def conjugate_gradients(
    apply: Callable[[Tensor], Tensor],
    right: Float[Tensor, "B ..."],
    steps: int = CONJUGATE_STEPS,
    tolerance: float = CONJUGATE_TOLERANCE,
) -> Float[Tensor, "B ..."]:
    """Solve apply(x) = right for a symmetric non-negative linear map that acts on each item separately.

    Args:
        apply: The map.
        right: Right-hand sides.
        steps: Largest number of iterations.
        tolerance: Relative error at which an item stops.

    Returns:
        The solutions.
    """

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
