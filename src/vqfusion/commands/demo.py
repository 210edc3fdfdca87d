"""`demo`: one page that shows every task on data that training never used."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from vqfusion.commands.options import Json, Model, output_option
from vqfusion.errors import UserError

MADE = ("index.html", "report.json", "overview.png")


def demo(
    output: Annotated[str, output_option("folder of the page")] = "demo",
    model: Model = "emoji",
    seed: Annotated[int, typer.Option(min=0, help="another seed shows other items")] = 0,
    as_json: Json = False,
) -> None:
    """Draw, describe, speak, transcribe and translate unseen items on one page."""
    folder = Path(output)
    for name in MADE:
        if os.path.lexists(folder / name) and not _is_demo(folder):
            raise UserError(f"{folder / name}: belongs to no demo; choose another -o/--output")
    from rich.console import Console

    from vqfusion.demo.demo import run_demo
    from vqfusion.evaluate.report import Report
    from vqfusion.hub import find_model, load, zoo

    system = load(model, kinds=("system",))
    scores = find_model(model) / "eval.json"
    with Console(stderr=True).status("demo") as status:
        page = run_demo(
            system,
            folder,
            seed=seed,
            scores=Report.from_json(scores) if scores.is_file() else None,
            progress=lambda name: status.update(f"demo: {name}"),
            prior=load("photo") if "photo" in zoo() else None,
            digits=load("digits") if model == "emoji" and "digits" in zoo() else None,
        )
    if as_json:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        print(json.dumps({"page": str(page), **report}, ensure_ascii=False))
    else:
        print(f"{page}: open it in a browser")


def _is_demo(folder: Path) -> bool:
    """Whether the folder holds the page of an earlier demo, judged by its report."""
    try:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(report, dict) and report.keys() == {"model", "seed", "seconds", "sections"}
