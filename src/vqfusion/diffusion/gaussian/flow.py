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


def make_path(path: str | GaussianPath, data_std: float = 1.0) -> GaussianPath:
    """Path by name: `flow` or the name of a schedule; a path is returned as it is."""
    if isinstance(path, GaussianPath):
        return path
    if path not in PATHS:
        raise ValueError(f"path {path!r} is not one of {', '.join(PATHS)}")
    return FlowPath(data_std) if path == "flow" else GaussianPath(path, data_std)


def name_of_path(path: GaussianPath) -> str:
    """Name for which `make_path` gives an equal path; ValueError where there is none."""
    for name in PATHS:
        named = make_path(name)
        if (type(path), path.schedule, path.data_std) == (type(named), named.schedule, named.data_std):
            return name
    raise ValueError(f"no config describes this path: use one of {', '.join(PATHS)}, or save_weights")
