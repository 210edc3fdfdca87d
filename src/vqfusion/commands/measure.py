"""`eval`: the table of results of a model."""

import sys
from typing import Annotated

import typer

from vqfusion.commands.options import Device, Force, Json, Model, Seed, output_option
from vqfusion.commands.outputs import check, destination, named
from vqfusion.files import write_bytes


def evaluate(
    model: Model = "emoji",
    data: Annotated[
        str | None, typer.Option(help="emoji, digits, a folder, or a manifest; default: what the model was trained on")
    ] = None,
    only: Annotated[list[str], typer.Option(help="a group of rows, such as speak; repeat for more")] = [],  # noqa: B006
    split: Annotated[str, typer.Option(help="test for results, val to choose by")] = "test",
    limit: Annotated[int | None, typer.Option(min=1, help="at most so many items in each row")] = None,
    output: Annotated[str | None, output_option("JSON file to write as well")] = None,
    device: Device = None,
    seed: Seed = 0,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Measure a model on data that training never saw, beside its baselines."""
    with destination(output, as_json) as place:
        path = None if place is None else named(place, "eval.json")
        if path is not None:
            check([path], force)
        from rich.console import Console

        from vqfusion.evaluate.table import evaluate as measure
        from vqfusion.hub import load

        system = load(model, device, kinds=("system",))
        errors = Console(file=sys.stderr)
        with errors.status("measuring") as status:
            report = measure(
                system,
                only=only,
                limit=limit,
                seed=seed,
                split=split,
                dataset=data,
                progress=lambda text: status.update(text),
            )
        if path is not None:
            write_bytes(path, report.to_json().encode(), force)
        if as_json:
            print(report.to_json().strip())
            return
        console = Console(markup=False, emoji=False)
        console.print(report.to_rich())
        for group, why in report.skipped.items():
            console.print(f"{group}: not measured ({why})", highlight=False)
