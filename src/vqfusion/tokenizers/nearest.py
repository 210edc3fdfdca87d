"""Nearest code of a codebook: the one search that every vector quantizer calls."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

ROWS_PER_CHUNK = 1024  # scores of one chunk stay in the cache; larger chunks gain nothing on CPU


@torch.no_grad()
def nearest_code(
    x: Float[Tensor, "N D"], codebook: Float[Tensor, "K D"], rows_per_chunk: int = ROWS_PER_CHUNK
) -> Int[Tensor, " N"]:
    """Index of the code with the smallest Euclidean distance to each vector.

    argmin_k |x - c_k|^2 = argmax_k (x . c_k - |c_k|^2 / 2), computed in float32 whatever the autocast
    setting, after the mean of the codebook has been taken from both sides: the distances are the same and
    the cancellation that offset data suffer in float32 is gone. Memory is `rows_per_chunk * K` scores.
    Ties go to the lower index; a vector that holds NaN gets some valid index.
    """
    with torch.autocast(x.device.type, enabled=False):
        center = codebook.mean(dim=0, keepdim=True)
        codes = (codebook - center).float()
        half_norms = codes.square().sum(dim=1).mul(0.5)
        vectors = (x - center).float()
        if torch.compiler.is_compiling() or len(vectors) <= rows_per_chunk:
            return _scores(vectors, codes, half_norms).argmax(dim=1)
        return torch.cat([_scores(chunk, codes, half_norms).argmax(dim=1) for chunk in vectors.split(rows_per_chunk)])


def _scores(x: Float[Tensor, "N D"], codes: Float[Tensor, "K D"], half_norms: Float[Tensor, " K"]):
    return torch.addmm(-half_norms, x, codes.t())
