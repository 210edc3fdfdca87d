"""Denoisers that need no training, for comparison on single noisy signals."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from vqfusion.nn.blind_spot import WINDOW

Denoiser = Callable[..., Float[Tensor, "B C ..."]]  # called with noisy signals and `sigma`

STRENGTH = 0.8  # of non-local means, in noise levels


def baselines(rank: int) -> dict[str, Denoiser]:
    """Denoisers by name, called with noisy signals and the noise level; those whose packages are installed.

    BM3D is for non-commercial use and not a part of any extra.
    """
    found: dict[str, Denoiser] = {"identity": lambda y, sigma: y, "local median": lambda y, sigma: local_median(y)}
    try:
        from skimage.restoration import denoise_nl_means
    except ImportError:
        return found
    if rank > 1:

        def non_local(y: Tensor, sigma: float) -> Tensor:
            h = STRENGTH * sigma
            side, reach = (5, 6) if rank == 2 else (3, 3)
            return _each(y, lambda a: denoise_nl_means(a, side, reach, h=h, sigma=sigma, fast_mode=True))

        found["NLM"] = non_local
    try:
        from bm3d import bm3d
    except ImportError:
        return found
    if rank == 2:
        found["BM3D"] = lambda y, sigma: _each(y, partial(bm3d, sigma_psd=sigma))
    return found


def local_median(y: Float[Tensor, "B C ..."]) -> Float[Tensor, "B C ..."]:
    """Median of a window around each element."""
    rank = y.ndim - 2
    side = {1: WINDOW[1], 2: 3, 3: 3}[rank]
    windows = functional.pad(y, [side // 2] * (2 * rank), mode="replicate")
    for axis in range(2, y.ndim):
        windows = windows.unfold(axis, side, 1)
    return windows.flatten(y.ndim).median(dim=-1).values


def _each(y: Tensor, function: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    """A function of one array applied to every channel."""
    made = [torch.from_numpy(np.ascontiguousarray(function(a))).to(y) for a in y.flatten(0, 1).numpy()]
    return torch.stack(made).reshape(y.shape)
