"""What `train` does for a latent diffusion."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vqfusion.commands.outputs import make_folder

if TYPE_CHECKING:
    from vqfusion.config import LatentTrainingConfig
    from vqfusion.train.estimate import Estimate


def train_a_latent(
    training: "LatentTrainingConfig",
    folder: Path,
    device: str | None,
    tensorboard: bool,
    start: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Train a latent diffusion to `folder`, or show what it would cost."""
    if not dry_run:
        report = _train(training, folder, device, tensorboard, start)
        print(json.dumps(report) if as_json else f"{folder}: trained; use it with --model {folder}")
        return
    from vqfusion.train.estimate import estimate_latent

    costs = estimate_latent(training, device)
    if as_json:
        print(json.dumps(_plan(training, folder, costs)))
    else:
        _show(training, folder, costs)


def _train(
    training: "LatentTrainingConfig", folder: Path, device: str | None, tensorboard: bool, start: str | None
) -> dict[str, Any]:
    """Train, and say what came of it."""
    from vqfusion.commands.train import stoppable
    from vqfusion.hub import find_model
    from vqfusion.nn.weights import count_parameters
    from vqfusion.train.chain import make_accelerator
    from vqfusion.train.latents import train_latent
    from vqfusion.train.track import tensorboard as track

    begin = find_model(start) if start else None
    make_folder(folder)
    on_metrics = track(folder / "tensorboard") if tensorboard else None
    started = time.monotonic()
    with stoppable():
        model = train_latent(training, folder, make_accelerator(device), on_metrics, begin)
    return {
        "recipe": training.name,
        "output": str(folder),
        "seed": training.seed,
        "device": str(model.device),
        "grid": list(model.grid),
        "classes": list(model.classes),
        "parameters": count_parameters(model),
        "seconds": round(time.monotonic() - started, 3),
    }


def _plan(training: "LatentTrainingConfig", folder: Path, costs: "Sequence[Estimate]") -> dict[str, Any]:
    """What `--dry-run --json` prints."""
    return {
        "recipe": training.name,
        "output": str(folder),
        "goes_on": _goes_on(folder),
        "networks": [asdict(cost) | {"peak_bytes": cost.peak_bytes, "seconds": cost.seconds} for cost in costs],
        "seconds": sum(cost.seconds for cost in costs),
        "latent": training.model_dump(mode="json"),
    }


def _show(training: "LatentTrainingConfig", folder: Path, costs: "Sequence[Estimate]") -> None:
    """What `--dry-run` prints."""
    from rich.console import Console
    from rich.table import Table

    from vqfusion.commands.train import cost_of, duration

    table = Table(show_header=False, title=f"recipe {training.name}", title_justify="left")
    table.add_row("data", f"{training.data}, seed {training.seed}")
    table.add_row("run", f"{folder} ({'goes on' if _goes_on(folder) else 'new'})")
    for cost in costs:
        table.add_row(cost.name, f"{cost.steps} steps\n{cost_of(cost)}")
    seconds = sum(cost.seconds for cost in costs)
    table.add_row("time here", f"about {duration(seconds)}; reading the data comes on top")
    Console().print(table)


def _goes_on(folder: Path) -> bool:
    return any((folder / part).exists() for part in ("tokenizer", "latent"))
