"""What must survive a restart of training, and how it is written."""

from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from vqfusion.errors import UserError
from vqfusion.nn.weights import load_weights, save_weights
from vqfusion.train.loop.power_average import PowerAverage


class WeightAverage:
    """Exponential moving average of the parameters of a module; buffers are taken as they are.

    The decay warms up as min(decay, (1 + n) / (10 + n)) after n updates, so that short runs forget the start.
    """

    def __init__(self, module: nn.Module, decay: float):
        self.decay = decay
        self.values = [p.detach().clone() for p in module.parameters()]

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.values, [p.detach() for p in module.parameters()], 1 - decay)

    @torch.no_grad()
    def copy_to(self, module: nn.Module) -> None:
        for parameter, value in zip(module.parameters(), self.values, strict=True):
            parameter.copy_(value)


def training_tensors(
    module: nn.Module,
    average: WeightAverage,
    optimizers: list[torch.optim.Optimizer],
    tracked: PowerAverage | None = None,
) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of a training run under a stable name, as references."""
    for name, value in module.state_dict().items():
        yield f"model/{name}", value
    for (name, parameter), value in zip(module.named_parameters(), average.values, strict=True):
        yield f"average/{name}", value
        for optimizer in optimizers:
            for key, state in optimizer.state.get(parameter, {}).items():
                yield f"optimizer/{name}/{key}", torch.as_tensor(state)
    if tracked is not None:
        yield from tracked.tensors()


def save_state(path: Path, step: int, contract: str, tensors: dict[str, Tensor]) -> None:
    """Write a checkpoint in one move; `contract` is the config it belongs to."""
    save_weights(path, tensors, {"step": str(step), "contract": contract})


def load_state(
    path: Path,
    contract: str,
    module: nn.Module,
    average: WeightAverage,
    optimizers: list[torch.optim.Optimizer],
    tracked: PowerAverage | None = None,
) -> int:
    """Put a checkpoint back, bit for bit, and return its step; 0 when there is none.

    Raises UserError when it was made with another config: go on elsewhere or delete it.
    """
    if not path.exists():
        return 0
    tensors = load_weights(path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
    if metadata.get("contract") != contract:
        raise UserError(f"{path}: made with another config; choose another --output or delete this folder")
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
    return int(metadata["step"])
