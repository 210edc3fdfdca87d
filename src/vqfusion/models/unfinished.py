"""The mark of a model whose training has not come to its end."""

import warnings
from pathlib import Path

from vqfusion.errors import Note, UserError
from vqfusion.nn.weights import load_json, save_json

MARK = "unfinished.json"


def mark_unfinished(folder: Path, stage: str, step: int, steps: int) -> None:
    """Say in the folder of a model that its training stood at `step` of the `steps` of a stage."""
    save_json(folder / MARK, {"stage": stage, "step": step, "steps": steps})


def mark_finished(folder: Path) -> None:
    """Take the mark away."""
    (folder / MARK).unlink(missing_ok=True)


def is_unfinished(folder: Path) -> bool:
    """Whether the folder holds a model whose training goes on or was stopped."""
    return (folder / MARK).exists()


def warn_unfinished(folder: Path) -> None:
    """A `Note` where the model in the folder is that of a training which has not ended."""
    if not is_unfinished(folder):
        return
    mark = load_json(folder / MARK)
    try:
        told = f"step {int(mark['step'])} of {int(mark['steps'])} of {mark['stage']}"
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{folder / MARK}: not the mark of a training; restore it, or train again") from None
    warnings.warn(f"{folder}: unfinished: {told}; the same `vqfusion train` goes on from there", Note, stacklevel=4)
