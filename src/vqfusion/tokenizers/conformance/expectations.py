"""What the contracts of quantizers expect: each raises AssertionError with a message where it is not so."""

from collections.abc import Callable

import torch
from torch import Tensor

from vqfusion.tokenizers.quantizers.base import Quantizer
from vqfusion.types import Quantized

TOLERANCE = 1e-4  # relative to the size of the codes; float32 rounding stays well below


def expect(condition: bool, otherwise: str) -> None:
    """Raise AssertionError with the message `otherwise` unless the condition holds."""
    if not condition:
        raise AssertionError(otherwise)


def near(a: Tensor, b: Tensor, otherwise: str) -> None:
    """Expect `a` and `b` `[...]` to be equal up to rounding, because two equal codes may replace each other."""
    a, b = a.detach(), b.detach()
    expect(
        a.shape == b.shape and torch.allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE * float(b.abs().max())), otherwise
    )


def pulled_back(function: Callable[[Tensor], Tensor], x: Tensor, weight: Tensor) -> Tensor:
    """Gradient of <weight, function(x)> with respect to `x`; `weight` `[...]` has the shape of function(x)."""
    x = x.clone().requires_grad_()
    (function(x) * weight).sum().backward()
    assert x.grad is not None
    return x.grad


def same_numbers(a: Quantized, b: Quantized, otherwise: str) -> None:
    """Expect two results to have equal losses and statistics up to rounding."""
    numbers = {name: getattr(a, name) for name in ("loss", "perplexity", "usage", "quantization_error")}
    for name, value in {**numbers, **a.losses, **a.per_depth}.items():
        other = {**vars(b), **b.losses, **b.per_depth}[name]
        expect(torch.allclose(value, other, rtol=1e-4, atol=1e-5), f"{otherwise}: {name} is {other} instead of {value}")


def same_state(a: Quantizer, b: Quantizer, otherwise: str) -> None:
    """Expect two quantizers to have equal state up to rounding."""
    for name, value in a.state_dict().items():
        same = torch.allclose(value.float(), b.state_dict()[name].float(), rtol=1e-4, atol=1e-5)
        expect(same, f"{otherwise}: {name} differs")


def expect_finite(quantizer: Quantizer, cause: str) -> None:
    """Expect state and gradients to be finite; `cause` begins the message."""
    gradients = {f"the gradient of {n}": p.grad for n, p in quantizer.named_parameters() if p.grad is not None}
    for name, value in {**quantizer.state_dict(), **gradients}.items():
        expect(bool(value.isfinite().all()), f"{cause} makes {name} not finite")
