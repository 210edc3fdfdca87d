"""A signal back from its measurement: one prior, any operator, and error bars."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.diffusion.operators import Denoise, Operator
from vqfusion.diffusion.operators.noise_models import broadcast_level
from vqfusion.diffusion.posterior import CountedPrior, RestorationPrior
from vqfusion.errors import UserError

Mode = Literal["mean", "sample", "interval"]
Method = Literal["auto", "ddnm", "ddrm", "diffpir", "dps"]


@dataclass(frozen=True)
class Restored:
    """What a measurement says of the signal.

    `mean` `[B, C, *size]` is the best estimate in squared error; `samples` `[K, B, C, *size]` are draws of what the
    signal may have been (mode sample and interval); `lower` and `upper` hold each element with the asked coverage
    (mode interval). `sigma` is the noise level that was used, given or estimated; `nfe` counts calls of the prior for
    each item; `warnings` are lines for the user.
    """

    mean: Tensor
    samples: Tensor | None
    lower: Tensor | None
    upper: Tensor | None
    sigma: float | Tensor
    nfe: int
    warnings: tuple[str, ...] = ()


@torch.no_grad()
def restore(
    prior: RestorationPrior,
    y: Float[Tensor, "B ..."],
    operator: Operator | None = None,
    mode: Mode = "mean",
    samples: int = 8,
    steps: int | None = None,
    method: Method = "auto",
    generator: torch.Generator | Sequence[torch.Generator] | None = None,
    coverage: float = 0.9,
) -> Restored:
    """The signal behind y = A(x) + noise.

    `operator` None is `Denoise()` of unknown sigma. Raises UserError for what cannot be restored: y that does not fit
    the operator or is not finite, unknown modes and methods.
    """
    operator = operator or Denoise()
    if mode not in get_args(Mode):
        raise UserError(f"mode {mode!r} is not one of {', '.join(get_args(Mode))}")
    if method not in get_args(Method):
        raise UserError(f"method {method!r} is not one of {', '.join(get_args(Method))}")
    if not bool(torch.isfinite(y).all()):
        raise UserError("the measurement holds NaN or infinity: mask such elements out (Mask) before restoring")
    operator.signal_shape(y)
    counted = CountedPrior(prior)
    if not isinstance(operator, Denoise) or mode != "mean" or operator.sigma is None:
        raise UserError("so far: mode mean of Denoise with a given sigma")
    levels = broadcast_level(operator.sigma, y).flatten()
    return Restored(counted.denoise(y, levels), None, None, None, operator.sigma, counted.nfe)
