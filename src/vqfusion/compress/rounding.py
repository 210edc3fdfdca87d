"""Rounding of weights to few bits so that what a layer gives changes as little as possible.

Frantar, Ashkboos, Hoefler, Alistarh (2023), "GPTQ: accurate post-training quantization for generative pre-trained
transformers": columns are rounded one after the other, and the error of each is passed on to those that follow, by the
inverse of the second moments of the inputs (their equations 2 and 3, from the optimal brain surgeon).
"""

from math import prod

import torch
from torch import Tensor

from vqfusion.nn.few_bits import Packed, Packing

DAMPING = 0.01  # of the mean diagonal of the moments
SHRUNK = torch.linspace(0.5, 1.0, 26)  # factors that are tried, as fractions of the one without clipping


def rounded(weight: Tensor, bits: int, group: int, moments: Tensor | None = None) -> Packed:
    """Round a matrix `[R, *C]`; without `moments` `[N, N]`, N = prod(C), each number goes to its nearest."""
    matrix = weight.detach().float().flatten(1).clone()
    size = matrix.shape[1]
    how = Packing(bits, min(group, size), tuple(weight.shape))
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    numbers = torch.zeros(matrix.shape, dtype=torch.int16)
    scale = torch.zeros(len(matrix), how.groups)
    spread = None if moments is None else _inverse_factor(moments)
    for g in range(how.groups):
        first, last = g * how.group, min((g + 1) * how.group, size)
        block = matrix[:, first:last]
        factor = _factor(block, low, high)
        scale[:, g : g + 1] = factor
        if spread is None:
            numbers[:, first:last] = (block / factor).round().clamp(low, high).to(torch.int16)
            continue
        errors = torch.zeros_like(block)
        for j in range(first, last):
            column = matrix[:, j]
            number = (column / factor[:, 0]).round().clamp(low, high)
            numbers[:, j] = number.to(torch.int16)
            error = (column - number * factor[:, 0]) / spread[j, j]
            matrix[:, j + 1 : last] -= error[:, None] * spread[j, j + 1 : last]
            errors[:, j - first] = error
        matrix[:, last:] -= errors @ spread[first:last, last:]
    return Packed(how, numbers, scale.half())


def _factor(block: Tensor, low: int, high: int) -> Tensor:
    """The factor `[R, 1]` of a group with the least squared error, as float16 holds it."""
    largest = block.abs().amax(1, keepdim=True).clamp(min=1e-6)
    best, least = largest / high, torch.full_like(largest, float("inf"))
    for share in SHRUNK:
        factor = (largest * float(share) / high).half().float().clamp(min=6e-8)
        error = ((block / factor).round().clamp(low, high) * factor - block).square().sum(1, keepdim=True)
        best, least = torch.where(error < least, factor, best), torch.minimum(error, least)
    return best


def _inverse_factor(moments: Tensor) -> Tensor:
    """Upper Cholesky factor of the inverse of the damped moments."""
    damped = moments.double()
    mean = float(damped.diagonal().mean()) or 1.0
    damped.diagonal().add_(DAMPING * mean)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    return torch.linalg.cholesky(inverse, upper=True).float()


def is_packable(name: str, weight: Tensor, least: int = 1024) -> bool:
    """Whether a tensor is a matrix that is worth packing."""
    return weight.is_floating_point() and weight.ndim > 1 and weight.shape[0] > 1 and prod(weight.shape) >= least
