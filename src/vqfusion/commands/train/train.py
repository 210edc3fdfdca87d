"""`train`: a chain, a prior or a latent diffusion, from a recipe or a YAML file.

The same command resumes a training that was stopped.
"""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vqfusion.commands.options import Device, Json, output_option

if TYPE_CHECKING:
    from vqfusion.commands.train.training import Training


def train(
    recipe: Annotated[
        str, typer.Argument(help="a recipe (emoji-small, photo-prior, ...: a wrong name lists all), or a .yaml file")
    ],
    output: Annotated[str | None, output_option("folder; default: runs/<name>")] = None,
    minutes: Annotated[float | None, typer.Option(help="wall time of it all, to which the schedule is fitted")] = None,
    steps: Annotated[int | None, typer.Option(min=0, help="steps of the model, in place of the recipe's")] = None,
    device: Device = None,
    seed: Annotated[int | None, typer.Option(min=0, help="in place of the recipe's")] = None,
    start: Annotated[str | None, typer.Option(help="model whose weights (and tokenizers) are the beginning")] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="write the metrics for TensorBoard too")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show what would be trained and its cost")] = False,
    as_json: Json = False,
) -> None:
    """Train tokenizers and model, a prior, or a diffusion of latents, from raw data; goes on where it was stopped."""
    started = time.monotonic() - time.process_time()  # at least so long ago the command began
    from rich.console import Console

    from vqfusion.commands.train.training import is_first_process

    training = _training(recipe, output, {"seed": seed, "minutes": minutes, "steps": steps}, device, start)
    training.started = started
    if not dry_run:
        from vqfusion.train.loop.run import FINISHED

        before = training.run_folder().state()
        report = training.train(tensorboard)
        if not is_first_process():
            return
        done = "was trained before" if before == FINISHED else "trained"
        if as_json:
            print(json.dumps(report, ensure_ascii=False))
            return
        print(f"{training.folder}: {done}; {'; '.join(training.next_steps())}")
        for line in training.last_lines():
            print(line)
        return
    with Console(stderr=True).status("timing a few steps"):
        costs = training.cost()
    if not is_first_process():
        return
    if as_json:
        print(json.dumps(training.plan(costs), ensure_ascii=False))
    else:
        training.show(costs)


def _training(
    recipe: str, output: str | None, changes: dict[str, Any], device: str | None, start: str | None
) -> "Training[Any]":
    """Training that a recipe or file describes."""
    from vqfusion.commands.train.fusion import FusionTraining
    from vqfusion.commands.train.latent import LatentTraining
    from vqfusion.commands.train.restoration import RestorationTraining
    from vqfusion.config import LatentTrainingConfig, PriorTrainingConfig
    from vqfusion.data.opened import Opened
    from vqfusion.train.recipes import changed
    from vqfusion.train.recipes import recipe as find

    opened = Opened()
    config = find(recipe, opened)
    config = changed(config, **changes)
    folder = Path(output or f"runs/{config.name}")
    if isinstance(config, PriorTrainingConfig):
        return RestorationTraining(config, folder, device, start, opened)
    if isinstance(config, LatentTrainingConfig):
        return LatentTraining(config, folder, device, start, opened)
    return FusionTraining(config, folder, device, start, opened)
