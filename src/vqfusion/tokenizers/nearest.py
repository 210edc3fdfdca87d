"""Search for the nearest code of a codebook, shared by all vector quantizers."""

import functools
import os
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

CHUNK_SCORES, DEVICE_CHUNK_SCORES = 2**19, 2**24  # 2 MiB fit the cache of a CPU; a GPU needs larger chunks
FEWEST_ROWS = 256  # per chunk, however large the codebook: products of fewer rows use a core badly
BLOCK = 64  # codes whose largest score is taken at once
FUSED_SCORES = 2**20  # below this, torch takes a few milliseconds and compiling a kernel does not pay

Search = Callable[[Tensor, Tensor], Tensor]


@torch.no_grad()
def nearest_code(
    x: Float[Tensor, "N D"], codebook: Float[Tensor, "K D"], rows_per_chunk: int | None = None
) -> Int[Tensor, " N"]:
    """Index of the code with the smallest Euclidean distance to each vector.

    argmin_k |x - c_k|^2 = argmax_k (x . c_k - |c_k|^2 / 2), computed in float32 whatever the autocast setting. The mean
    of the codebook is subtracted from both first: distances do not change, and data far from zero suffer no
    cancellation in float32. Ties go to the lower index; a vector with NaN gets some valid index.

    From a million scores on, a fused kernel searches where one is available (`nearest_code_backend`), without storing
    any score. Otherwise, under `torch.compile` and in exported programs, plain torch searches with memory for
    `rows_per_chunk * K` scores. The environment variable `VQFUSION_NEAREST=torch` always selects plain torch. Both
    agree except for scores that float32 cannot distinguish.

    Args:
        x: Vectors.
        codebook: Code vectors.
        rows_per_chunk: Vectors per chunk; giving it selects plain torch.

    Returns:
        Indices, int64.
    """
    with torch.autocast(x.device.type, enabled=False):
        if rows_per_chunk is None and _may_fuse(x, codebook):
            search, _ = _backend(x.device)
            if search is not None:
                return search(x.float(), codebook.float())
        return _chunked(x, codebook, rows_per_chunk)


def nearest_code_backend(device: torch.device | str = "cpu") -> str:
    """Which implementation searches large batches on a device: "c++", "triton", or "torch: " with the reason.

    On the first call the kernel is compiled, loaded and checked against float64; a kernel that fails is not used.
    """
    if os.environ.get("VQFUSION_NEAREST") == "torch":
        return "torch: VQFUSION_NEAREST=torch"
    return _backend(torch.device(device))[1]


def _may_fuse(x: Tensor, codebook: Tensor) -> bool:
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or len(x) * len(codebook) < FUSED_SCORES:
        return False
    plain = all(type(t) in (Tensor, torch.nn.Parameter) and t.dtype != torch.float64 for t in (x, codebook))
    return plain and x.device == codebook.device and os.environ.get("VQFUSION_NEAREST") != "torch"


@functools.cache
def _backend(device: torch.device) -> tuple[Search | None, str]:
    """Fused search of a device and its name; None and the reason where plain torch is used."""
    try:
        if device.type == "cpu":
            from vqfusion.tokenizers.kernels.native import load

            name = "c++"
        elif device.type == "cuda":
            from vqfusion.tokenizers.kernels.gpu import load

            name = "triton"
        else:
            return None, f"torch: no kernel for {device.type}"
        search = load()
        _check(search, device)
    except Exception as error:  # compilers, drivers and file systems fail in many ways; torch always works
        return None, f"torch: {error}"
    return search, name


def _check(search: Search, device: torch.device) -> None:
    """Raise RuntimeError unless a search finds codes as near as float64 does, for a few hundred vectors."""
    generator = torch.Generator().manual_seed(0)
    x = (100 + 0.3 * torch.randn(300, 35, generator=generator)).to(device)
    codebook = (100 + 0.3 * torch.randn(203, 35, generator=generator)).to(device)
    distances = torch.cdist(x.double(), codebook.double(), compute_mode="donot_use_mm_for_euclid_dist")
    found = distances.gather(1, search(x, codebook)[:, None]).squeeze(1)
    if (found > distances.amin(dim=1) * (1 + 1e-5)).any():
        raise RuntimeError("the compiled search disagrees with float64")


def _chunked(x: Float[Tensor, "N D"], codebook: Float[Tensor, "K D"], rows: int | None = None) -> Int[Tensor, " N"]:
    """Search in plain torch; outside the compiler in chunks of vectors that share one buffer of scores.

    Takes the largest score of each block of codes first, then its position within the best block, because `argmax`
    reads one number at a time and `amax` a whole register. The result equals the `argmax` of all scores, ties included.
    """
    wide = torch.promote_types(torch.promote_types(x.dtype, codebook.dtype), torch.float32)
    center = codebook.to(wide).mean(dim=0)
    codes = (codebook.to(wide) - center).float()
    k, per_chunk = len(codes), CHUNK_SCORES if x.device.type == "cpu" else DEVICE_CHUNK_SCORES
    if torch.compiler.is_compiling() or (rows is None and len(x) * k <= per_chunk):
        return torch.addmm(_bias(codes), (x - center).float(), codes.t()).argmax(dim=1)

    rows = rows or max(per_chunk // k, FEWEST_ROWS)
    block = BLOCK if k >= 4 * BLOCK else k
    codes = torch.cat([codes, codes[-1:].expand(-k % block, -1)])  # pad to whole blocks; a copy loses every tie
    bias, buffer = _bias(codes), codes.new_empty(min(rows, len(x)), len(codes))
    indices = torch.empty(len(x), dtype=torch.int64, device=x.device)
    for chunk, found in zip(x.split(rows), indices.split(rows), strict=True):
        scores = torch.addmm(bias, (chunk - center).float(), codes.t(), out=buffer[: len(chunk)])
        blocks = scores.unflatten(1, (-1, block))
        best = blocks.amax(dim=2).argmax(dim=1)
        within = blocks[torch.arange(len(chunk), device=x.device), best].argmax(dim=1)
        torch.clamp(best * block + within, max=k - 1, out=found)
    return indices


def _bias(codes: Float[Tensor, "K D"]) -> Float[Tensor, " K"]:
    return codes.square().sum(dim=1).mul(-0.5)
