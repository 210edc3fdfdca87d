"""Triton search for CUDA: each program holds a block of vectors and loops over the codebook."""

from collections.abc import Callable
from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

ROWS, CODES, MOST_DIMS = 64, 64, 32  # vectors and codes of one block of scores, dimensions of one product
OPTIONS = {"num_warps": 4, "num_stages": 2, "enable_fp_fusion": True}  # 64 KiB of shared memory, no spilled registers


@triton.jit
@no_type_check
def _search(
    x,
    stride,
    codes,
    center,
    half_norms,
    indices,
    n,
    k,
    DIM: tl.constexpr,
    ROWS: tl.constexpr,
    CODES: tl.constexpr,
    DIMS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    best = tl.full([ROWS], float("-inf"), tl.float32)
    index = tl.zeros([ROWS], tl.int64)
    for first in range(0, k, CODES):
        code = first + tl.arange(0, CODES).to(tl.int64)
        score = tl.zeros([ROWS, CODES], tl.float32)
        for start in tl.static_range(0, DIM, DIMS):
            d = start + tl.arange(0, DIMS)
            here = (row[:, None] < n) & (d[None, :] < DIM)
            vectors = tl.load(x + row[:, None] * stride + d[None, :], mask=here, other=0.0)
            vectors -= tl.load(center + d, mask=d < DIM, other=0.0)[None, :]
            there = (d[:, None] < DIM) & (code[None, :] < k)
            tile = tl.load(codes + code[None, :] * DIM + d[:, None], mask=there, other=0.0)
            score = tl.dot(vectors, tile, score, input_precision=PRECISION)
        score -= tl.load(half_norms + code, mask=code < k, other=float("inf"))[None, :]
        value, place = tl.max(score, axis=1, return_indices=True)
        better = value > best  # false for NaN and for ties with a lower index
        best = tl.where(better, value, best)
        index = tl.where(better, first + place.to(tl.int64), index)
    tl.store(indices + row, index, mask=row < n)


def load() -> Callable[[Tensor, Tensor], Tensor]:
    """Return the search as a function of vectors and codebook, both float32 on one CUDA device.

    Each product is computed as three TF32 products, which keeps float32 accuracy on tensor cores (Ootomo, Yokota,
    2022). The caller checks the search against float64 on first use, because compilers and devices differ. Importing
    this module raises `ImportError` where Triton is missing.
    """
    precision = "ieee" if torch.version.hip else "tf32x3"

    def search(x: Float[Tensor, "N D"], codebook: Float[Tensor, "K D"]) -> Int[Tensor, " N"]:
        x = x if x.stride(1) == 1 else x.contiguous()
        center = codebook.mean(dim=0)
        codes = (codebook - center).contiguous()
        half_norms = codes.square().sum(dim=1).mul(0.5)
        indices = torch.empty(len(x), dtype=torch.int64, device=x.device)
        (n, dim), k = x.shape, len(codes)
        dims = min(MOST_DIMS, max(16, triton.next_power_of_2(dim)))
        with torch.cuda.device_of(x):
            grid = (triton.cdiv(n, ROWS),)
            block = dim, ROWS, CODES, dims, precision
            _search[grid](x, x.stride(0), codes, center, half_norms, indices, n, k, *block, **OPTIONS)
        return indices

    return search
