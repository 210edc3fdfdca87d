"""`train`: a whole chain from a recipe or from a YAML file; the same command goes on where it was stopped."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from vqfusion.config import ChainConfig


def train(
    recipe: Annotated[str, typer.Argument(help="name of a recipe, or a file that ends in .yaml")],
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="folder of the run; default: runs/<name>")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show what would be trained, and stop")] = False,
) -> None:
    """Train tokenizers and model from raw data; goes on where it was stopped."""
    from vqfusion.train.recipes import recipe as find

    chain = find(recipe)
    folder = Path(output or f"runs/{chain.name}")
    if dry_run:
        _show(chain, folder)
        return
    from vqfusion.train.chain import train_chain
    from vqfusion.train.loop import Interrupted

    try:
        train_chain(chain, folder)
    except Interrupted as stop:
        typer.echo(f"vqfusion: {stop}", err=True)
        raise typer.Exit(stop.exit_code) from None
    print(f"{folder}: trained; use it with --model {folder}")


def _show(chain: "ChainConfig", folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, title=f"recipe {chain.name}", title_justify="left")
    table.add_row("data", f"{chain.data}, seed {chain.seed}")
    table.add_row("run", f"{folder} ({'goes on' if (folder / 'chain.json').exists() else 'new'})")
    for name, tokenizer in chain.tokenizers.items():
        stage = chain.tokenizer_stages.get(name)
        cost = f", {stage.steps} steps of {stage.batch}" if stage else ""
        table.add_row(f"tokenizer {name}", tokenizer.kind + cost)
    fusion, stage = chain.fusion, chain.fusion_stage
    table.add_row(
        "fusion",
        f"width {fusion.dim}, {fusion.layers} layers, {fusion.heads} heads, {stage.steps} steps of "
        f"{stage.draws_per_step} draws",
    )
    table.add_row("slots", " ".join(name for name in fusion.slots if not name.startswith("length:")))
    total = sum(draw.weight for draw in chain.draws)
    for draw in chain.draws:
        task = f"{' + '.join(draw.given) or 'nothing'} -> {' + '.join(draw.target)}"
        table.add_row(f"{100 * draw.weight / total:.0f} % of the draws", task)
    Console().print(table)
