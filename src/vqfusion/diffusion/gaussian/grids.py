"""Time grids for sampling, from noise to data; independent of the distribution of training times."""

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.diffusion.gaussian.path import GaussianPath

NOISE_ENDS = (0.002, 80.0)  # range of sigma / alpha, as in Karras et al. (2022), where the path covers it
RHO = 7.0


def time_grid(path: GaussianPath, steps: int, grid: str = "uniform") -> Float[Tensor, " N"]:
    """`steps + 1` decreasing times in float64, the first 1 and the last 0.

    Args:
        path: The path, which maps noise levels to times.
        steps: Number of steps, at least 1.
        grid: `uniform`, equal steps of t (on an `edm` path this is the grid of Karras et al., 2022); `karras`, equal
            steps of (sigma / alpha)^(1/7); `log_snr`, equal steps of the log-SNR, Lu et al. (2022).

    Returns:
        The times.

    Raises:
        ValueError: Unknown grid, or no steps.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    places = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    if grid == "uniform":
        return 1 - places
    ends = torch.tensor([1.0, 0.0], dtype=torch.float64)
    ratio = (path.sigma(ends) / path.alpha(ends)).clamp(*NOISE_ENDS)
    if grid == "karras":
        roots = ratio.pow(1 / RHO)
        inner = (roots[0] + places * (roots[1] - roots[0])).pow(RHO)
    elif grid == "log_snr":
        logs = ratio.log()
        inner = (logs[0] + places * (logs[1] - logs[0])).exp()
    else:
        raise ValueError(f"grid {grid!r} is not one of uniform, karras, log_snr")
    times = path.time_of_noise(inner)
    times[0], times[-1] = 1.0, 0.0
    return times
