"""State of a training that survives a restart, and its storage."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from vqfusion.config import StageConfig
from vqfusion.errors import UserError
from vqfusion.nn.weights import load_with_metadata, require_finite, save_weights
from vqfusion.train.loop.contract import refused
from vqfusion.train.loop.power_average import PowerAverage


class WeightAverage:
    """Exponential moving average of the parameters of a module; buffers are copied.

    The decay is min(decay, (1 + n) / (10 + n)) after n updates, so that short runs forget the initial weights.
    """

    def __init__(self, module: nn.Module, decay: float):
        self.decay = decay
        self.values = [p.detach().clone() for p in module.parameters()]

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Add the parameters after a step."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.values, [p.detach() for p in module.parameters()], 1 - decay)

    @torch.no_grad()
    def copy_to(self, module: nn.Module) -> None:
        """Copy the average into a module."""
        for parameter, value in zip(module.parameters(), self.values, strict=True):
            parameter.copy_(value)

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """Context in which the module has averaged weights; its own are restored exactly."""
        own = [p.detach().clone() for p in module.parameters()]
        self.copy_to(module)
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, value in zip(module.parameters(), own, strict=True):
                    parameter.copy_(value)


@dataclass(frozen=True)
class Resumed:
    """Content of a checkpoint beside tensors: step, stage, state of the metrics, arithmetic of the steps so far."""

    step: int = 0
    stage: StageConfig | None = None
    metrics: str = ""
    arithmetic: str = ""


def training_tensors(
    module: nn.Module,
    average: WeightAverage,
    optimizers: list[torch.optim.Optimizer],
    tracked: PowerAverage | None = None,
) -> Iterator[tuple[str, Tensor]]:
    """All tensors of a training run under stable names, as references."""
    for name, value in module.state_dict().items():
        yield f"model/{name}", value
    for (name, parameter), value in zip(module.named_parameters(), average.values, strict=True):
        yield f"average/{name}", value
        for optimizer in optimizers:
            for key, state in optimizer.state.get(parameter, {}).items():
                yield f"optimizer/{name}/{key}", torch.as_tensor(state)
    if tracked is not None:
        yield from tracked.tensors()


def save_state(
    path: Path,
    step: int,
    contract: str,
    stage: StageConfig,
    metrics: str,
    tensors: dict[str, Tensor],
    arithmetic: str = "",
) -> None:
    """Write a checkpoint atomically.

    Args:
        path: File to write.
        step: Number of steps taken.
        contract: Config that the checkpoint belongs to, as JSON.
        stage: Optimisation settings.
        metrics: State of the running metrics, as JSON.
        tensors: `training_tensors` of the run.
        arithmetic: Arithmetic that the run chose, see `nn.arithmetic`.

    Raises:
        UserError: A tensor has NaN or infinity; the previous checkpoint is kept.
    """
    require_finite(tensors, path)
    notes = {"step": str(step), "contract": contract, "stage": stage.model_dump_json(), "metrics": metrics}
    notes["arithmetic"] = arithmetic
    save_weights(path, tensors, notes)


def load_state(
    path: Path,
    contract: str,
    module: nn.Module,
    average: WeightAverage,
    optimizers: list[torch.optim.Optimizer],
    tracked: PowerAverage | None = None,
) -> Resumed:
    """Restore a checkpoint exactly; step 0 where there is none.

    Args:
        path: File to read.
        contract: Config of this run, as JSON.
        module: Network whose weights are replaced.
        average: Its weight average, replaced too.
        optimizers: Its optimizers, replaced too.
        tracked: Power averages, where the run has them.

    Raises:
        UserError: It was made with another config, apart from what may change (`contract.MAY_CHANGE`).
    """
    if not path.exists():
        return Resumed()
    tensors, notes = load_with_metadata(path)
    if (difference := refused(notes.get("contract", ""), contract)) is not None:
        raise UserError(f"{path}: made with another config{difference}; choose another --output or delete this folder")
    require_finite(tensors, path)
    module.load_state_dict({n.removeprefix("model/"): t for n, t in tensors.items() if n.startswith("model/")})
    owner = {p: optimizer for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
    for (name, parameter), value in zip(module.named_parameters(), average.values, strict=True):
        value.copy_(tensors[f"average/{name}"])
        prefix = f"optimizer/{name}/"
        state = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        if state:
            owner[parameter].state[parameter] = {
                key: t if key == "step" else t.to(parameter.device) for key, t in state.items()
            }
    for name, value in tracked.tensors() if tracked else ():
        value.copy_(tensors[name])
    stage = StageConfig.model_validate(json.loads(notes["stage"])) if "stage" in notes else None
    return Resumed(int(notes["step"]), stage, notes.get("metrics", ""), notes.get("arithmetic", ""))
