"""What `train` does for a prior."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vqfusion.commands.outputs import make_folder

if TYPE_CHECKING:
    from vqfusion.config import PriorTrainingConfig
    from vqfusion.train.estimate import Estimate


def train_a_prior(
    training: "PriorTrainingConfig",
    folder: Path,
    device: str | None,
    tensorboard: bool,
    start: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Train a prior to `folder`, or show what it would cost."""
    if not dry_run:
        report = _train(training, folder, device, tensorboard, start)
        print(json.dumps(report) if as_json else f"{folder}: trained; use it with --model {folder}")
        return
    from vqfusion.train.estimate import estimate_prior

    cost = estimate_prior(training, device)
    if as_json:
        print(json.dumps(_plan(training, folder, cost), ensure_ascii=False))
    else:
        _show(training, folder, cost)


def _train(
    training: "PriorTrainingConfig", folder: Path, device: str | None, tensorboard: bool, start: str | None
) -> dict[str, Any]:
    """Train, and say what came of it."""
    from vqfusion.commands.train import stoppable
    from vqfusion.hub import find_model
    from vqfusion.models.prior import Prior
    from vqfusion.nn.weights import count_parameters
    from vqfusion.train.chain import make_accelerator
    from vqfusion.train.priors import load_signals, train_prior
    from vqfusion.train.track import tensorboard as track

    begin = Prior.from_pretrained(find_model(start)) if start else None
    signals = load_signals(training)
    make_folder(folder)
    on_metrics = track(folder / "tensorboard") if tensorboard else None
    started = time.monotonic()
    with stoppable():
        prior = train_prior(training, signals, folder, make_accelerator(device), on_metrics, begin)
    return {
        "recipe": training.name,
        "output": str(folder),
        "seed": training.seed,
        "device": str(prior.device),
        "modality": training.prior.modality,
        "parameters": count_parameters(prior),
        "seconds": round(time.monotonic() - started, 3),
    }


def _plan(training: "PriorTrainingConfig", folder: Path, cost: "Estimate") -> dict[str, Any]:
    """What `--dry-run --json` prints."""
    return {
        "recipe": training.name,
        "output": str(folder),
        "goes_on": (folder / "training").exists(),
        "networks": [asdict(cost) | {"peak_bytes": cost.peak_bytes, "seconds": cost.seconds}],
        "seconds": cost.seconds,
        "prior": training.model_dump(mode="json"),
    }


def _show(training: "PriorTrainingConfig", folder: Path, cost: "Estimate") -> None:
    """What `--dry-run` prints."""
    from rich.console import Console
    from rich.table import Table

    from vqfusion.commands.train import cost_of, duration

    prior, stage = training.prior, training.stage
    table = Table(show_header=False, title=f"recipe {training.name}", title_justify="left")
    table.add_row("data", f"{training.data}, seed {training.seed}")
    table.add_row("run", f"{folder} ({'goes on' if (folder / 'training').exists() else 'new'})")
    crops = f"{stage.steps} steps of {stage.batch} crops of {training.crop} positions a side"
    table.add_row("prior", f"{prior.modality}, {prior.channels} channels, {crops}\n{cost_of(cost)}")
    table.add_row("time here", f"about {duration(cost.seconds)}; reading the data comes on top")
    Console().print(table)
