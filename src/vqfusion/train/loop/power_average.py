"""Weight averages whose length is chosen after training: Karras et al. (2024), "post-hoc EMA"."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vqfusion.errors import UserError
from vqfusion.nn.weights import load_with_metadata, save_weights

TRACKED_STDS = (0.05, 0.10)


@dataclass(frozen=True)
class Snapshot:
    """Parameters averaged with the profile of `std` over the first `step` steps of a training."""

    std: float
    step: int
    values: Mapping[str, Tensor]


class PowerAverage:
    """Power-function averages of the parameters of a module: section 3 of the paper.

    After n steps the average with exponent g weights the parameters of step k by k^g, a peak at the end whose standard
    deviation is the fraction `std` of the training so far. Snapshots of two such averages suffice to approximate any
    other (`reconstruct`).
    """

    def __init__(self, module: nn.Module, stds: Sequence[float] = TRACKED_STDS):
        self.exponents = {std: exponent_of(std) for std in stds}
        self.averages = {std: {n: p.detach().clone() for n, p in module.named_parameters()} for std in stds}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Add the parameters after `step`, counted from 0 as in the training loop."""
        current = [p.detach() for p in module.parameters()]
        for std, exponent in self.exponents.items():
            keep = (1 - 1 / (step + 1)) ** (exponent + 1)
            torch._foreach_lerp_(list(self.averages[std].values()), current, 1 - keep)

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """All averages under stable names, as references, for checkpoints."""
        for std, values in self.averages.items():
            for name, value in values.items():
                yield f"power/{std}/{name}", value

    def snapshots(self, step: int) -> list[Snapshot]:
        """Copies of the averages after the update of `step`."""
        copies = {std: {n: v.clone() for n, v in values.items()} for std, values in self.averages.items()}
        return [Snapshot(std, step + 1, values) for std, values in copies.items()]


def exponent_of(std: float) -> float:
    """Exponent g > 0 of the profile whose relative variance (g + 1) / ((g + 2)^2 (g + 3)) is std^2."""
    if not 0 < std < 12**-0.5:
        raise ValueError(f"std is a share of the training between 0 and 0.288, not {std}")
    roots = np.roots([1.0, 7.0, 16.0 - std**-2, 12.0 - std**-2])
    return float(roots.real.max())


def reconstruct(snapshots: Sequence[Snapshot], std: float, step: int | None = None) -> dict[str, Tensor]:
    """Parameters averaged with the profile of `std` at a step, from snapshots.

    The least-squares combination of the profiles of the snapshots (appendix C), with weights that sum to one.

    Args:
        snapshots: The snapshots.
        std: Standard deviation of the profile, as a fraction of the training.
        step: Step of the average; the last snapshot by default.

    Returns:
        Parameters by name.
    """
    if not snapshots:
        raise ValueError("there are no snapshots to mix")
    profiles = [(exponent_of(s.std), float(s.step)) for s in snapshots]
    wanted = (exponent_of(std), float(step or max(s.step for s in snapshots)))
    n = len(profiles)
    system, target = (
        np.ones((n + 1, n + 1)),
        np.ones(n + 1),
    )  # the last row and column constrain the sum of weights to one
    system[:n, :n] = [[_product(a, b) for b in profiles] for a in profiles]
    system[n, n] = 0.0
    target[:n] = [_product(a, wanted) for a in profiles]
    weights = np.linalg.lstsq(system, target, rcond=1e-13)[0][:n]
    mixed: dict[str, Tensor] = {}
    for name, value in snapshots[0].values.items():
        terms = (float(w) * s.values[name].double() for w, s in zip(weights, snapshots, strict=True))
        mixed[name] = torch.stack(list(terms)).sum(dim=0).to(value.dtype)
    return mixed


def averaged(folder: Path, std: float, step: int | None = None) -> dict[str, Tensor]:
    """Parameters averaged with the profile of `std` from the snapshots in a folder.

    A training with `StageConfig.snapshots` writes them; `module.load_state_dict(averaged(...), strict=False)` loads the
    result.

    Args:
        folder: Folder of the snapshots.
        std: Standard deviation of the profile, as a fraction of the training.
        step: Step of the average; the last snapshot by default.

    Returns:
        Parameters by name.

    Raises:
        UserError: There are no snapshots.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise UserError(f"{folder}: holds no snapshots; train with `snapshots` in the stage")
    return reconstruct([load_snapshot(file) for file in files], std, step)


def save_snapshots(snapshots: Sequence[Snapshot], folder: Path) -> None:
    """Write each snapshot to a file named by its step and std."""
    for snapshot in snapshots:
        save_snapshot(snapshot, folder / f"{snapshot.step:08d}-{snapshot.std}.safetensors")


def save_snapshot(snapshot: Snapshot, path: Path) -> None:
    """Write one snapshot as safetensors in half precision."""
    values = {name: value.half() for name, value in snapshot.values.items()}
    save_weights(path, values, {"std": repr(snapshot.std), "step": str(snapshot.step)})


def load_snapshot(path: Path) -> Snapshot:
    """Load one snapshot; UserError where the file is not one."""
    tensors, metadata = load_with_metadata(path)
    values = {name: value.float() for name, value in tensors.items()}
    if "std" not in metadata or "step" not in metadata:
        raise UserError(f"{path}: not a snapshot of averaged weights")
    return Snapshot(float(metadata["std"]), int(metadata["step"]), values)


def _product(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Integral over time of two profiles (p + 1) x^p / s^(p + 1) on [0, s], with (p, s) from `a` and from `b`."""
    (p, s), (q, t) = a, b
    least = min(s, t)
    log = (p + q + 1) * math.log(least) - (p + 1) * math.log(s) - (q + 1) * math.log(t)
    return (p + 1) * (q + 1) / (p + q + 1) * math.exp(log)
