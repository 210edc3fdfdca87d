"""Marker of models whose training is unfinished."""

import warnings
from pathlib import Path

from vqfusion.errors import Note, UserError
from vqfusion.nn.weights import load_json, save_json

MARK = "unfinished.json"


def mark_unfinished(folder: Path, stage: str, step: int, steps: int) -> None:
    """Write the marker: training stands at `step` of the `steps` of a stage."""
    save_json(folder / MARK, {"stage": stage, "step": step, "steps": steps})


def mark_finished(folder: Path) -> None:
    """Remove the marker."""
    (folder / MARK).unlink(missing_ok=True)


def is_unfinished(folder: Path) -> bool:
    """Whether the training of the model in a folder is unfinished, still running or stopped."""
    return (folder / MARK).exists()


def warn_unfinished(folder: Path) -> None:
    """Warn with a `Note` where the training of the model in a folder is unfinished."""
    if not is_unfinished(folder):
        return
    mark = load_json(folder / MARK)
    try:
        told = f"step {int(mark['step'])} of {int(mark['steps'])} of {mark['stage']}"
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{folder / MARK}: not a record of a training; restore it, or train again") from None
    warnings.warn(f"{folder}: unfinished: {told}; the same `vqfusion train` goes on from there", Note, stacklevel=4)
