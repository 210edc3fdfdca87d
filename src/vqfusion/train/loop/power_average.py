"""Averages of weights whose length is chosen after training: Karras et al. (2024), "post-hoc EMA"."""

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

    After n steps the average with exponent g weighs the parameters of step k like k^g, a peak at the end whose
    standard deviation is `std` of the training so far, whatever its length. Two such averages, saved now and then,
    are enough to approximate any other (`reconstruct`).
    """

    def __init__(self, module: nn.Module, stds: Sequence[float] = TRACKED_STDS):
        self.exponents = {std: exponent_of(std) for std in stds}
        self.averages = {std: {n: p.detach().clone() for n, p in module.named_parameters()} for std in stds}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Take in the parameters after `step` steps, counted from 0 as in the training loop."""
        current = [p.detach() for p in module.parameters()]
        for std, exponent in self.exponents.items():
            keep = (1 - 1 / (step + 1)) ** (exponent + 1)
            torch._foreach_lerp_(list(self.averages[std].values()), current, 1 - keep)

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every average under a stable name, as references: what must survive a restart."""
        for std, values in self.averages.items():
            for name, value in values.items():
                yield f"power/{std}/{name}", value

    def snapshots(self, step: int) -> list[Snapshot]:
        """Copies of the averages after `step + 1` updates, the last of which was given `step`."""
        copies = {std: {n: v.clone() for n, v in values.items()} for std, values in self.averages.items()}
        return [Snapshot(std, step + 1, values) for std, values in copies.items()]


def exponent_of(std: float) -> float:
    """The exponent g > 0 of the profile whose relative variance (g + 1) / ((g + 2)^2 (g + 3)) is std^2."""
    if not 0 < std < 12**-0.5:
        raise ValueError(f"std is a share of the training between 0 and 0.288, not {std}")
    roots = np.roots([1.0, 7.0, 16.0 - std**-2, 12.0 - std**-2])
    return float(roots.real.max())


def reconstruct(snapshots: Sequence[Snapshot], std: float, step: int | None = None) -> dict[str, Tensor]:
    """Parameters averaged with the profile of `std` at `step` (the last one saved by default), from snapshots.

    The mixture of the snapshots' profiles that lies nearest to the wanted one in least squares (appendix C), here
    with weights that add up to one.
    """
    if not snapshots:
        raise ValueError("there are no snapshots to mix")
    profiles = [(exponent_of(s.std), float(s.step)) for s in snapshots]
    wanted = (exponent_of(std), float(step or max(s.step for s in snapshots)))
    n = len(profiles)
    system, target = np.ones((n + 1, n + 1)), np.ones(n + 1)  # the last row and column hold the sum at one
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
    """Parameters averaged with the profile of `std`, a share of the training, from the snapshots in a folder.

    A training with `StageConfig.snapshots` leaves them in its folder; `module.load_state_dict(averaged(...),
    strict=False)` takes them. UserError where there are none.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise UserError(f"{folder}: holds no snapshots; train with `snapshots` in the stage")
    return reconstruct([load_snapshot(file) for file in files], std, step)


def save_snapshots(snapshots: Sequence[Snapshot], folder: Path) -> None:
    """Write each snapshot under the name of its step and std."""
    for snapshot in snapshots:
        save_snapshot(snapshot, folder / f"{snapshot.step:08d}-{snapshot.std}.safetensors")


def save_snapshot(snapshot: Snapshot, path: Path) -> None:
    """Write one snapshot as safetensors in half precision."""
    values = {name: value.half() for name, value in snapshot.values.items()}
    save_weights(path, values, {"std": repr(snapshot.std), "step": str(snapshot.step)})


def load_snapshot(path: Path) -> Snapshot:
    """Read one snapshot; UserError where the file is none."""
    tensors, metadata = load_with_metadata(path)
    values = {name: value.float() for name, value in tensors.items()}
    if "std" not in metadata or "step" not in metadata:
        raise UserError(f"{path}: not a snapshot of averaged weights")
    return Snapshot(float(metadata["std"]), int(metadata["step"]), values)


def _product(a: tuple[float, float], b: tuple[float, float]) -> float:
    """int f g over time for the profiles f = (p + 1) x^p / s^(p + 1) on [0, s] of a = (p, s) and of b = (q, t)."""
    (p, s), (q, t) = a, b
    least = min(s, t)
    log = (p + q + 1) * math.log(least) - (p + 1) * math.log(s) - (q + 1) * math.log(t)
    return (p + 1) * (q + 1) / (p + q + 1) * math.exp(log)
