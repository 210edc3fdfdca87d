"""The linear path of rectified flow."""

from vqfusion.diffusion.gaussian.path import GaussianPath
from vqfusion.diffusion.gaussian.schedules import SCHEDULES, StraightSchedule


class FlowPath(GaussianPath):
    """Linear path x_t = (1 - t) x_0 + t eps with velocity eps - x_0: Liu et al. (2022); Lipman et al. (2022).

    Time 0 is data and 1 is noise, as everywhere in this package; many papers on flows have it the other way round. Both
    ends are reached exactly, so that a prediction of eps does not determine the data at t = 1, nor one of x0 the noise
    at t = 0.
    """

    def __init__(self, data_std: float = 1.0):
        super().__init__(StraightSchedule(), data_std)


PATHS = ("flow", *SCHEDULES)


def make_path(name: str, data_std: float = 1.0) -> GaussianPath:
    """Path by name: `flow` or the name of a schedule."""
    if name not in PATHS:
        raise ValueError(f"path {name!r} is not one of {', '.join(PATHS)}")
    return FlowPath(data_std) if name == "flow" else GaussianPath(name, data_std)
