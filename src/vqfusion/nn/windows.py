"""Means over boxes about each position, of any rank and size."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def box_mean(x: Float[Tensor, "B C ..."], reach: int) -> Float[Tensor, "B C ..."]:
    """Mean over boxes of 2 * reach + 1 positions a side, zeros beyond the borders; one axis after the other.

    Boxes may be larger than the signal, unlike those of `avg_pool3d`.
    """
    for axis in range(2, x.ndim):
        rows = x.movedim(axis, -1)
        means = F.avg_pool1d(rows.reshape(1, -1, rows.shape[-1]), 2 * reach + 1, 1, reach)
        x = means.reshape(rows.shape).movedim(-1, axis)
    return x


def local_mean(x: Float[Tensor, "B C ..."], window: int) -> Float[Tensor, "B C ..."]:
    """Mean over windows of this odd side about each position, at the borders over what is there."""
    share = box_mean(torch.ones_like(x[:1, :1]), window // 2)
    return box_mean(x, window // 2) / share
