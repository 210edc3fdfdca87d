"""What samplers of Gaussian diffusion share: one signature, and the coefficients of a path on a time grid.

Coefficients are float64 numbers. The denoiser receives the dtype of the noise, and the result has it; between the steps
half precision is widened to float32, because large coefficients that cancel would lose accuracy.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.diffusion.gaussian.path import GaussianPath, at_least_float32
from vqfusion.diffusion.noise import Generators
from vqfusion.types import Denoiser, Prediction, PredictionKind


@dataclass(frozen=True)
class SampledSignal:
    """Result of a sampler.

    Attributes:
        signal: Samples `[B, *shape]`.
        nfe: Network evaluations for each item.
    """

    signal: Tensor
    nfe: int


@runtime_checkable
class Sampler(Protocol):
    """A function from noise along a time grid to data, such as `euler`."""

    def __call__(
        self,
        denoiser: Denoiser,
        path: GaussianPath,
        noise: Float[Tensor, "B ..."],
        times: Float[Tensor, " N"],
        given: Any = None,
        generators: Generators | None = None,
        **options: Any,
    ) -> SampledSignal:
        """Samples from noise.

        Args:
            denoiser: The denoiser.
            path: The path that it was trained for.
            noise: x `[B, *shape]` at `times[0]`: normal noise times the sigma of the path there.
            times: Decreasing times in [0, 1].
            given: Condition of the denoiser.
            generators: One for each item, which draws from it only, so that its result does not depend on the rest of
                the batch. Deterministic samplers draw nothing and need none.
            **options: Options of the sampler.

        Returns:
            The samples.
        """


class Walk:
    """A path on a time grid, x at its beginning, and evaluation of the denoiser along it."""

    def __init__(
        self,
        denoiser: Denoiser,
        path: GaussianPath,
        noise: Float[Tensor, "B ..."],
        times: Float[Tensor, " N"],
        given: Any = None,
        generators: Generators | None = None,
    ):
        self.start, self.dtype = at_least_float32(noise), noise.dtype
        self.denoiser, self.path, self.given, self.generators = denoiser, path, given, generators
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

    def first_order(self, x: Tensor, x0: Tensor, i: int) -> Tensor:
        """Step from time i to i + 1 with constant x_0: exact where x_0 does not change."""
        keep = self.sigma[i + 1] / self.sigma[i]
        return keep * x + (self.alpha[i + 1] - self.alpha[i] * keep) * x0


def as_sampler(walked: Callable[..., Tensor]) -> Sampler:
    """A sampler from a function of a `Walk` and options that gives the data at the end of it."""

    @wraps(walked, assigned=("__module__", "__name__", "__qualname__", "__doc__"))
    def sample(
        denoiser: Denoiser,
        path: GaussianPath,
        noise: Float[Tensor, "B ..."],
        times: Float[Tensor, " N"],
        given: Any = None,
        generators: Generators | None = None,
        **options: Any,
    ) -> SampledSignal:
        with torch.no_grad():
            walk = Walk(denoiser, path, noise, times, given, generators)
            return SampledSignal(walked(walk, **options).to(walk.dtype), walk.nfe)

    del sample.__wrapped__  # whose signature is not that of a sampler
    return sample
