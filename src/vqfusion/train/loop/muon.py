"""Muon, an optimizer with orthogonalised steps, in the precision in which the device is fast."""

import math
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from vqfusion.nn.bfloat16 import has_bfloat16

COEFFICIENTS = (3.4445, -4.775, 2.0315)  # of the quintic iteration (Jordan et al., 2024)
ITERATIONS = 5


class Muon(Optimizer):
    """Orthogonalised Nesterov momentum (Jordan et al., 2024), for parameters that are matrices.

    Kernels of a convolution `[A, C, *kernel]` are taken as a matrix `[A, C x kernel]`. The step of a matrix `[A, B]` is
    scaled by 0.2 sqrt(max(A, B)), so that it has the size of AdamW's at the same `lr` (Liu et al., 2025, "Muon is
    scalable for LLM training", eq. 4). In bfloat16 it equals `torch.optim.Muon` with `adjust_lr_fn="match_rms_adamw"`;
    where bfloat16 is emulated it computes in float32.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float, weight_decay: float = 0.0, momentum: float = 0.95):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Make one optimizer step."""
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is None:
                    continue
                state = self.state[matrix]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(matrix)
                momentum = state["momentum_buffer"].lerp_(matrix.grad, 1 - group["momentum"])
                ahead = matrix.grad.lerp(momentum, group["momentum"]).flatten(1)
                dtype = torch.bfloat16 if has_bfloat16(matrix.device.type) else torch.float32
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                moved = orthogonal(ahead.to(dtype)).view_as(matrix)
                matrix.add_(moved, alpha=-group["lr"] * 0.2 * math.sqrt(max(ahead.shape)))


def orthogonal(matrix: Float[Tensor, "A B"], eps: float = 1e-7) -> Float[Tensor, "A B"]:
    """Approximate orthogonal factor of a matrix by Newton-Schulz iterations; singular values become 0.7 to 1.2."""
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonal(matrix.T, eps).T
    a, b, c = COEFFICIENTS
    x = matrix / matrix.norm().clamp(min=eps)
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x
