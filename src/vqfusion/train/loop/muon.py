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
    scalable for LLM training", eq. 4). In bfloat16, where its products are faster than those of float32, it equals
    `torch.optim.Muon` with `adjust_lr_fn="match_rms_adamw"`; elsewhere it computes in float32, by the Gram matrix where
    that is less work.
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
                dtype = torch.bfloat16 if _fast_bfloat16(matrix.device.type) else torch.float32
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                moved = orthogonal(ahead.to(dtype)).view_as(matrix)
                matrix.add_(moved, alpha=-group["lr"] * 0.2 * math.sqrt(max(ahead.shape)))


def _fast_bfloat16(device: str) -> bool:
    """Whether products in bfloat16 are faster than in float32: on processors only with tiles (AMX) or on ARM.

    With AVX-512 alone they are slower: 85 against 140 GFLOP/s (docs/speed.md).
    """
    known: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return has_bfloat16(device) and (device != "cpu" or bool(known.get("amx_bf16") or known.get("arm_bf16")))


def orthogonal(matrix: Float[Tensor, "A B"], eps: float = 1e-7) -> Float[Tensor, "A B"]:
    """Approximate orthogonal factor of a matrix by Newton-Schulz iterations; singular values become 0.7 to 1.2.

    In float32 the iterations of a long matrix run on its Gram matrix G = X X': each multiplies X by a polynomial P of
    G, and G by P^2, and the product of the polynomials is applied to X once.
    """
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonal(matrix.T, eps).T
    a, b, c = COEFFICIENTS
    x = matrix / matrix.norm().clamp(min=eps)
    if matrix.dtype != torch.bfloat16 and 2 * matrix.shape[1] > 3 * matrix.shape[0]:
        return _by_gram(x)
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def _by_gram(x: Float[Tensor, "A B"]) -> Float[Tensor, "A B"]:
    a, b, c = COEFFICIENTS
    gram, whole = x @ x.T, None
    for i in range(ITERATIONS):
        step = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        step.diagonal().add_(a)
        whole = step if whole is None else whole @ step
        if i + 1 < ITERATIONS:
            gram = step @ gram @ step
    assert whole is not None
    return whole @ x
