"""`train`: a whole chain from a recipe or from a YAML file; the same command goes on where it was stopped."""

import json
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vqfusion.commands.outputs import make_folder

if TYPE_CHECKING:
    from rich.table import Table

    from vqfusion.config import ChainConfig
    from vqfusion.train.estimate import Estimate


FINISHED = "trained already"


def train(
    recipe: Annotated[
        str, typer.Argument(help="a recipe (emoji-small, photo-prior, ...: a wrong name lists all), or a .yaml file")
    ],
    output: Annotated[str | None, typer.Option("--output", "-o", help="folder; default: runs/<name>")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, mps; default: the fastest there is")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="in place of the recipe's")] = None,
    start: Annotated[str | None, typer.Option(help="model whose weights (and tokenizers) are the beginning")] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="write the metrics for TensorBoard too")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show what would be trained and its cost")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object and nothing else")] = False,
) -> None:
    """Train tokenizers and model, a prior, or a diffusion of latents, from raw data; goes on where it was stopped."""
    from vqfusion.commands.train_latent import train_a_latent
    from vqfusion.commands.train_prior import train_a_prior
    from vqfusion.config import LatentTrainingConfig, PriorTrainingConfig
    from vqfusion.train.recipes import recipe as find

    chain = find(recipe)
    if seed is not None:
        chain = chain.model_copy(update={"seed": seed})
    folder = Path(output or f"runs/{chain.name}")
    if isinstance(chain, PriorTrainingConfig):
        train_a_prior(chain, folder, device, tensorboard, start, dry_run, as_json)
        return
    if isinstance(chain, LatentTrainingConfig):
        train_a_latent(chain, folder, device, tensorboard, start, dry_run, as_json)
        return
    if not dry_run:
        before = state_of(folder, chain)
        report = _train(chain, folder, device, tensorboard, start)
        done = "was trained before" if before == FINISHED else "trained"
        print(json.dumps(report) if as_json else f"{folder}: {done}; use it with --model {folder}")
        return
    from rich.console import Console

    from vqfusion.train.estimate import estimate_chain

    with Console(stderr=True).status("timing a few steps"):
        estimates = estimate_chain(chain, device)
    if as_json:
        print(json.dumps(_plan(chain, folder, estimates), ensure_ascii=False))
    else:
        _show(chain, folder, estimates)


def _train(
    chain: "ChainConfig", folder: Path, device: str | None, tensorboard: bool, start: str | None
) -> dict[str, Any]:
    """Train, and say what came of it."""
    from vqfusion.hub import find_model
    from vqfusion.nn.weights import count_parameters
    from vqfusion.train.chain import train_chain
    from vqfusion.train.preview import Preview
    from vqfusion.train.track import tensorboard as track

    begin = find_model(start) if start else None
    make_folder(folder)
    on_metrics = track(folder / "tensorboard") if tensorboard else None
    started = time.monotonic()
    with stoppable():
        system = train_chain(chain, folder, device, Preview(chain, folder / "samples"), on_metrics, start=begin)
    return {
        "recipe": chain.name,
        "output": str(folder),
        "seed": chain.seed,
        "device": str(system.device),
        "slots": list(system.slots),
        "parameters": count_parameters(system.fusion) if system.slots else 0,
        "seconds": round(time.monotonic() - started, 3),
    }


@contextmanager
def stoppable() -> Iterator[None]:
    """A training that was stopped says so in one line and ends with the code of its signal.

    Between the steps of a network, where the loop does not listen, SIGTERM stops at once.
    """
    from vqfusion.train.loop import Interrupted

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted("stopped; nothing is lost, the same command goes on from there", 128 + number)

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except Interrupted as stopped:
        typer.echo(f"vqfusion: {stopped}", err=True)
        raise typer.Exit(stopped.exit_code) from None
    finally:
        signal.signal(signal.SIGTERM, previous)


def state_of(folder: Path, chain: "ChainConfig") -> str:
    """What a training of this chain finds in its folder."""
    from vqfusion.nn.weights import load_json

    held = folder / "chain.json"
    if not held.exists():
        return "new"
    if load_json(held) != chain.model_dump(mode="json"):
        return "holds another config; choose another --output, or delete it"
    return FINISHED if (folder / "config.json").exists() else "goes on"


def _plan(chain: "ChainConfig", folder: Path, estimates: "Sequence[Estimate]") -> dict[str, Any]:
    """What `--dry-run --json` prints."""
    return {
        "recipe": chain.name,
        "output": str(folder),
        "goes_on": state_of(folder, chain) == "goes on",
        "state": state_of(folder, chain),
        "networks": [asdict(one) | {"peak_bytes": one.peak_bytes, "seconds": one.seconds} for one in estimates],
        "seconds": sum(one.seconds for one in estimates),
        "chain": chain.model_dump(mode="json"),
    }


def _show(chain: "ChainConfig", folder: Path, estimates: "Sequence[Estimate]") -> None:
    """What `--dry-run` prints."""
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, title=f"recipe {chain.name}", title_justify="left")
    cost = {one.name: f"\n{cost_of(one)}" for one in estimates}
    table.add_row("data", f"{chain.data}, seed {chain.seed}")
    table.add_row("run", f"{folder} ({state_of(folder, chain)})")
    for name, tokenizer in chain.tokenizers.items():
        stage = chain.tokenizer_stages.get(name)
        steps = f", {stage.steps} steps of {stage.batch}" if stage else ""
        table.add_row(f"tokenizer {name}", tokenizer.kind + steps + cost.get(f"tokenizer {name}", ""))
    if chain.fusion.slots:
        _show_fusion(table, chain, cost["fusion"])
    seconds = sum(one.seconds for one in estimates)
    table.add_row("time here", f"about {duration(seconds)}; reading and tokenising the data come on top")
    table.add_row("memory", "computed for weights, gradients, Adam and average; measured for activations")
    Console().print(table)


def _show_fusion(table: "Table", chain: "ChainConfig", cost: str) -> None:
    fusion, stage = chain.fusion, chain.fusion_stage
    shape = f"width {fusion.dim}, {fusion.layers} layers, {fusion.heads} heads"
    table.add_row("fusion", f"{shape}, {stage.steps} steps of {stage.draws_per_step} draws{cost}")
    table.add_row("slots", " ".join(name for name in fusion.slots if not name.startswith("length:")))
    total = sum(draw.weight for draw in chain.draws)
    for draw in chain.draws:
        task = f"{' + '.join(draw.given) or 'nothing'} -> {' + '.join(draw.target)}"
        table.add_row(f"{100 * draw.weight / total:.0f} % of the draws", task)


def cost_of(one: "Estimate") -> str:
    memory = f"{one.peak_bytes / 2**20:.0f} MiB ({one.activation_bytes / 2**20:.0f} of them activations)"
    time = f"{one.seconds_per_step:.2g} s a step, about {duration(one.seconds)}"
    return f"{one.parameters / 1e6:.2f} M parameters, {memory}, {time}"


def duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
