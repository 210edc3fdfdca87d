"""The standard deviation of Gaussian noise, from the noisy signal alone."""

from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.errors import UserError

SIDES = {1: 32, 2: 8, 3: 4}  # of a patch, by rank
BLOCKS = {1: 4096, 2: 64, 3: 20}  # side of a block that is estimated on its own
MOST = 100  # blocks that are looked at, spread over the signal
SHARE = 0.25  # of the blocks, those with the least estimates, count


def estimate_noise(y: Float[Tensor, "B C ..."]) -> Float[Tensor, " B"]:
    """Sigma of each item, in its units, at any rank.

    Patches of a signal lie near a subspace, so the least eigenvalues of their covariance are those of the noise: Chen,
    Zhu, Heng (2015), algorithm 1, in blocks. Fine texture passes for noise, but seldom fills a whole signal, so the
    patches of the quarter of blocks that seem the least noisy are judged together. White noise is assumed, as strong
    in all channels and places, not clipped. Raises UserError where the signal is too small for its patches.
    """
    return torch.stack([_estimate(item) for item in y])


def _estimate(item: Float[Tensor, "C ..."]) -> Float[Tensor, ""]:
    rank = item.ndim - 1
    side, block = SIDES[rank], BLOCKS[rank]
    if any(n < 2 * side for n in item.shape[1:]):
        raise UserError(
            f"noise cannot be estimated from {list(item.shape[1:])}: give sigma (needs {2 * side} a side or more)"
        )
    starts = [range(0, max(1, n - block + 1), block) for n in item.shape[1:]]
    corners = list(product(*starts))
    corners = corners[:: -(-len(corners) // MOST)]
    covariances = []
    for corner in corners:
        piece = item[(slice(None), *(slice(start, start + block) for start in corner))]
        covariances.append(patch_covariance(piece, side))
    levels = torch.stack([noise_eigenvalue(torch.linalg.eigvalsh(c)) for c in covariances])
    lowest = levels.argsort()[: max(1, round(SHARE * len(levels)))].tolist()
    pooled = torch.stack([covariances[i] for i in lowest]).mean(0)
    return noise_eigenvalue(torch.linalg.eigvalsh(pooled)).clamp(min=0).sqrt().to(item.dtype)


def patch_covariance(item: Float[Tensor, "C ..."], side: int) -> Float[Tensor, "D D"]:
    """Covariance of all patches of this side, of each channel on its own."""
    rank = item.ndim - 1
    patches = item.double()
    for axis in range(1, rank + 1):
        patches = patches.unfold(axis, side, 1)
    return torch.cov(patches.flatten(rank + 1).flatten(0, rank).T)


def noise_eigenvalue(values: Float[Tensor, " N"]) -> Float[Tensor, ""]:
    """The mean of the greatest set of least `values` (rising) in which as many lie above the mean as below it."""
    for count in range(len(values), 1, -1):
        mean = values[:count].mean()
        if int((values[:count] > mean).sum()) >= int((values[:count] < mean).sum()):
            return mean
    return values[0]
