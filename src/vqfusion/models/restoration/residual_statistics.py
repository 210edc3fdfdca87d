"""Statistics of a restored signal and of what was taken from it, which reveal inputs unlike the calibration data."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vqfusion.diffusion.operators import Operator
from vqfusion.nn.windows import local_mean

WINDOW, WIDE = 7, 15  # elements a side
FROM_ENDS = 2.0  # noise levels from the least and the largest value, nearer than which noise may have been clipped
ENOUGH = 0.1  # fraction of the elements
AXES = ("", " across", " in depth")  # names of the axes from the last one on


def statistics(
    y: Float[Tensor, "B ..."], mean: Float[Tensor, "B C ..."], operator: Operator, sigma: Float[Tensor, "..."]
) -> list[dict[str, float]]:
    """Statistics of each item that reveal unusual inputs.

    They are mean and standard deviation of the restored signal and, where y is noisy, sigma and properties of the
    residual y - A(mean): its energy relative to sigma and, in calm places, its correlation between neighbours along
    each axis and between elements two apart, its kurtosis relative to its local energy, how much its local energy
    varies, that energy in the brighter relative to the darker half (in logarithms), and its correlation between
    channels. Calm places are the half where the restored signal varies least, without what is near clipped values.

    Args:
        y: Measurement.
        mean: Restored signal.
        operator: Measurement operator.
        sigma: Noise level.

    Returns:
        Values by name, for each item.
    """
    residuals, found = operator.A_adjoint(y - operator.A(mean)).double(), []
    for i, residual in enumerate(residuals):
        own = sigma[i if len(sigma) > 1 else 0].double()
        level = float(own.square().mean().sqrt())
        one = {"brightness": float(mean[i].double().mean()), "spread": float(mean[i].double().std())}
        if level > 0:
            one |= {"sigma": level, "residual energy": float(residual.std().clamp(min=1e-10)) / level}
            ends = float(y[i].min()) + FROM_ENDS * level, float(y[i].max()) - FROM_ENDS * level
            one |= _of_residual(residual, mean[i].double(), _calm(mean[i].double(), *ends))
        found.append(one)
    return found


def _calm(x: Float[Tensor, "C ..."], low: float, high: float) -> Bool[Tensor, "C ..."]:
    """The half of the elements about which a signal varies least, of those between two values if these are enough."""
    inside = (x > low) & (x < high)
    if float(inside.double().mean()) < ENOUGH:
        inside = torch.ones_like(inside)
    spread = local_mean((x[None] - local_mean(x[None], WINDOW)).square(), WINDOW)[0]
    return inside & (spread <= spread[inside].median())


def _of_residual(
    residual: Float[Tensor, "C ..."], x: Float[Tensor, "C ..."], calm: Bool[Tensor, "C ..."]
) -> dict[str, float]:
    residual = residual - residual[calm].mean()
    energy = residual[calm].square().mean().clamp(min=1e-20)
    found = {}
    for axis, name in zip(range(-1, -residual.ndim, -1), AXES, strict=False):
        found[f"residual likeness{name}"] = _likeness(residual, calm, axis, 1, energy)
    found["residual likeness two apart"] = _likeness(residual, calm, -1, 2, energy)
    local = local_mean(residual[None].square(), WIDE)[0].clamp(min=1e-20)
    found["residual tails"] = float((residual.square() / local)[calm].square().mean())
    found["residual unevenness"] = float((local[calm] / energy + 1e-3).log().std())
    bright = x > x[calm].median()
    halves = [residual[calm & half].square() for half in (bright, ~bright)]
    if all(len(half) > 1 for half in halves):
        light, dark = (half.mean().clamp(min=1e-20).log() for half in halves)
        found["residual energy where bright"] = float(light - dark)
    if len(residual) > 1:
        both = calm[1:] & calm[:-1]
        products = (residual[1:] * residual[:-1])[both]
        found["residual likeness of channels"] = float(products.mean() / energy) if len(products) else 0.0
    return found


def _likeness(residual: Tensor, calm: Tensor, axis: int, step: int, energy: Tensor) -> float:
    """Correlation of calm elements `step` apart along an axis; 0 where there are none."""
    length = residual.shape[axis]
    if length <= step:
        return 0.0
    first, second = (_slice_of(axis, residual.ndim, begin, begin + length - step) for begin in (0, step))
    products = (residual[first] * residual[second])[calm[first] & calm[second]]
    return float(products.mean() / energy) if len(products) else 0.0


def _slice_of(axis: int, ndim: int, begin: int, end: int) -> tuple[slice, ...]:
    """Index of a range along one axis."""
    return tuple(slice(begin, end) if a == axis % ndim else slice(None) for a in range(ndim))
