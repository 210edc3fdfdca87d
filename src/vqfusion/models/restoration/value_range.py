"""Range of the values of a signal in any unit, which is fitted to that of a prior."""

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.modalities import Modality

NEAR_ENDS = 0.001  # a volume's range is that between these quantiles
MOST_COUNTED = 2**20  # values that quantiles are taken of
DEVIATION = 0.1  # of a series, in half the range of the prior


def range_of(values: Float[Tensor, " N"], kind: Modality, from_zero: bool) -> tuple[float, float]:
    """Values of the sample that correspond to the ends of the prior's range."""
    if values.numel() == 0:  # nothing is known of it, nothing is made of it
        return 0.0, 1.0
    if kind.by_channel:
        values = values.double()
        unit = float(values.abs().max()) or 1.0  # squares of large values stay finite
        middle, reach = (
            unit * float((values / unit).mean()),
            unit * float((values / unit).std(correction=0)) / DEVIATION,
        )
        reach = reach if reach > 1e-12 * unit else unit
        return (0.0, 2 * reach) if from_zero else (middle - reach, middle + reach)
    some = values[:: -(-values.numel() // MOST_COUNTED)]
    low, high = (float(torch.quantile(some, q)) for q in (NEAR_ENDS, 1 - NEAR_ENDS))
    low = 0.0 if from_zero else low
    return (low, high) if high > low else (low, low + 1.0)
