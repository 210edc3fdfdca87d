"""`runs`: a list of trainings, where they stand and how good they are."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vqfusion.commands.options import Json
from vqfusion.commands.say import say

if TYPE_CHECKING:
    from vqfusion.runs.run import Run

RUNS = Path("runs")  # where `vqfusion train` puts its models


def runs(
    folder: Annotated[Path | None, typer.Argument(help="folder of trainings, or one of them; default: runs")] = None,
    as_json: Json = False,
) -> None:
    """List trainings: state, step, best validation, score beside a baseline, size, age, and what uses the result."""
    from vqfusion.runs.run import runs_in

    found = list(runs_in(folder or RUNS)) if folder or RUNS.is_dir() else []
    rows = [_row(run) for run in found]
    if as_json:
        print(json.dumps({"runs": rows}, ensure_ascii=False))
        return
    if not rows:
        say(f"{folder or RUNS}: no training is here; `vqfusion train` makes one")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for column in ("name", "state", "best validation", "test, beside a baseline", "size", "age"):
        table.add_column(column, overflow="fold", no_wrap=column in ("size", "age"))
    for row in rows:
        table.add_row(*_cells(row))
    console = Console(markup=False, emoji=False)
    console.print(table)
    console.print("Use one with --model NAME; watch one on run.html in its folder.", highlight=False)


def score_of(run: "Run") -> str:
    """The first score of the test part, beside its baseline; empty where there is none."""
    lines = [one["line"] for one in run.scores if isinstance(one.get("line"), str)]
    return lines[0] if lines else ""


def _row(run: "Run") -> dict[str, Any]:
    """Row of `--json`."""
    best = run.last.best if run.last else None
    standing = run.standing
    return {
        "name": run.name,
        "folder": str(run.folder),
        "kind": run.kind,
        "state": run.state,
        "message": standing.message,
        "network": standing.stage,
        "step": standing.step,
        "steps": standing.steps,
        "left_s": standing.left_s,
        "best": best and {"step": best["step"], "loss": best.get("loss")},
        "test": list(run.scores),
        "score": score_of(run),
        "bytes": sum(path.stat().st_size for path in run.folder.rglob("*") if path.is_file()),
        "age_s": round(max(0.0, time.time() - standing.updated), 1),
        "use": _use(run),
        "page": str(run.folder / "run.html") if (run.folder / "run.html").is_file() else None,
    }


def _use(run: "Run") -> str:
    """How the model is used, or how the training goes on."""
    from vqfusion.errors import UserError
    from vqfusion.models.kinds import KINDS, kind_of

    try:
        return f"--model {run.folder}: {KINDS[kind_of(run.folder)].use}"
    except UserError:
        return "no model yet; the same `vqfusion train` goes on"


def _cells(row: dict[str, Any]) -> list[str]:
    from vqfusion.runs.words import duration

    best = row["best"]
    loss = f"{best['loss']:.4g} at " if best and isinstance(best["loss"], int | float) else ""
    left = f", {duration(row['left_s'])} left" if row["left_s"] else ""
    return [
        f"{row['folder']}\n{row['kind']}",
        f"{row['state']}{left}\nstep {row['step']:,} of {row['steps']:,}",
        f"{loss}step {best['step']:,}" if best else "none",
        row["score"] or "not measured",
        f"{row['bytes'] / 2**20:.1f} MiB",
        duration(row["age_s"]),
    ]
