"""`compress`: a smaller form of a model, chosen on one's own data."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from vqfusion.commands.options import Json, output_option
from vqfusion.commands.progress import tracked
from vqfusion.errors import UserError


def compress(
    model: Annotated[str, typer.Argument(help="name in the zoo, folder, zip, or owner/name on the hub")],
    data: Annotated[str, typer.Option(help="what it is judged on: a folder, table, manifest or built-in set")],
    output: Annotated[str | None, output_option("folder of the smaller model; default: <model>-small")] = None,
    max_loss: Annotated[
        float, typer.Option(help="largest loss: dB of denoising for a prior, bits per token for a system")
    ] = 0.1,
    target_mib: Annotated[float | None, typer.Option(help="largest size of its weights, in MiB")] = None,
    as_json: Json = False,
) -> None:
    """Round the weights of a model to few bits, measure the cost on your data, and write the smallest good form."""
    if not 0 <= max_loss < float("inf"):
        raise UserError(f"--max-loss is {max_loss:g}; give a number of 0 or more")
    if target_mib is not None and not 0 < target_mib < float("inf"):
        raise UserError(f"--target-mib is {target_mib:g}; give a size above 0")
    folder = Path(output or f"{Path(model).name}-small")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: exists already; -o names a new folder")
    from vqfusion.compress.compressor import compress as compressed
    from vqfusion.data import open_dataset
    from vqfusion.hub import load

    records = open_dataset(data).records

    def told(work: Iterable[Any]) -> Iterable[Any]:
        return tracked(list(work), "rounding", not as_json)

    made = compressed(load(model, "cpu"), records, folder, max_loss, target_mib, told)
    if as_json:
        print(json.dumps({"model": model, "output": str(folder)} | asdict(made)))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{model}: {made.measure}")
    for name in ("form", "MiB", made.unit, "loss", "processor s"):
        table.add_column(name, justify="left" if name == "form" else "right")
    for form in made.forms:
        mark = " (written)" if form.name == made.chosen else ""
        numbers = f"{form.mib:.2f}", f"{form.score:.3f}", f"{form.loss:.3f}", f"{form.seconds:.1f}"
        table.add_row(form.name + mark, *numbers)
    Console().print(table)
    unseen = "on records that neither rounding nor choice has seen"
    print(f"{folder}: {made.chosen}; {unseen}, {made.tested:.3f} {made.unit} worse")
