"""Gain of photon noise, estimated from the signal itself."""

import torch
from jaxtyping import Float
from torch import Tensor

BINS = 32
DARKEST = 0.02  # brightness below which the ratio of variance to brightness is too uncertain
LEAST = 1e-6


def estimate_gain(y: Float[Tensor, "B C ..."]) -> float:
    """Estimate the gain of y = gain Poisson(x / gain): the median over brightness of variance / brightness.

    The variance of each brightness class is estimated from second differences along the last axis, by their median (Foi
    et al., 2008, fit the same line to wavelet details). Texture biases it upwards.
    """
    if y.shape[-1] < 3:
        return LEAST
    left, middle, right = y[..., :-2], y[..., 1:-1], y[..., 2:]
    brightness = ((left + middle + right) / 3).flatten()
    details = ((left - 2 * middle + right) / 6**0.5).flatten().abs()
    order = brightness.argsort()
    ratios = []
    for places in order.chunk(BINS):
        mean = float(brightness[places].mean())
        if mean > DARKEST:
            ratios.append((1.4826 * float(details[places].median())) ** 2 / mean)
    return max(LEAST, float(torch.tensor(ratios).median())) if ratios else LEAST
