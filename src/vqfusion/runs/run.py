"""A training as its folder tells it, whether it is running, was killed, or has ended."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from vqfusion.errors import UserError
from vqfusion.runs.lock import LOCK, is_taken

TRAINING, FINISHED, INTERRUPTED, FAILED = "training", "finished", "interrupted", "failed"
STANDING = "run.json"
KINDS = {"chain": "fusion", "prior": "prior", "latent": "latent"}  # name of the stored config -> kind of training
RESULTS = "results.json"


@dataclass(frozen=True)
class Standing:
    """Where a training stands; the content of `run.json`.

    Attributes:
        state: TRAINING, FINISHED, INTERRUPTED or FAILED.
        message: Why it ended.
        stage: Network in training.
        step: Steps of the stage.
        steps: Steps that the stage will have at the present pace.
        fraction: Part of the stage that is behind, in [0, 1].
        left_s: Seconds to the end of the stage at the present pace; None where it is not known.
        processor: Share of a processor that the training gets, in [0, 1]; None where it is not known.
        began: Time of the first start, in seconds since 1970.
        updated: Time of this record.
    """

    state: str = TRAINING
    message: str = ""
    stage: str = ""
    step: int = 0
    steps: int = 0
    fraction: float = 0.0
    left_s: float | None = None
    processor: float | None = None
    began: float = field(default_factory=time.time)
    updated: float = field(default_factory=time.time)

    def as_json(self) -> bytes:
        """The content of the file."""
        return json.dumps(asdict(self)).encode()


@dataclass(frozen=True)
class Stage:
    """One network of a training.

    Attributes:
        name: Name of its folder.
        lines: Lines of `metrics.jsonl`: means over the steps since the line before.
        validations: Lines of `validation.jsonl`.
    """

    name: str
    lines: list[dict[str, Any]]
    validations: list[dict[str, Any]]

    @property
    def best(self) -> dict[str, Any] | None:
        """Line of the best validation, the first of equal ones; None where there is none."""
        return min(self.validations, key=lambda line: line.get("score", [])) if self.validations else None

    @property
    def step(self) -> int:
        """The last step of which something is known."""
        return max((int(line["step"]) for line in self.lines[-1:] + self.validations[-1:]), default=0)


@dataclass(frozen=True)
class Run:
    """A training.

    Attributes:
        folder: Its folder.
        kind: "fusion", "prior" or "latent".
        config: Its config as it was stored.
        standing: Where it stands.
        stages: Its networks that have begun, in the order of training.
        outcome: Content of `validation.json`: best step and gap between training and validation.
        scores: Scores of the test part, see `evaluate.held_out.Score`.
    """

    folder: Path
    kind: str
    config: dict[str, Any]
    standing: Standing
    stages: tuple[Stage, ...]
    outcome: dict[str, Any]
    scores: tuple[dict[str, Any], ...]

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.resolve().name

    @property
    def last(self) -> Stage | None:
        """The stage in training, or the last one."""
        named = [stage for stage in self.stages if stage.name == self.standing.stage]
        return next(iter(named), self.stages[-1] if self.stages else None)

    @property
    def state(self) -> str:
        """State in words: that of `standing`, or that it stopped early."""
        early = self.standing.state == FINISHED and self.outcome.get("stopped_early")
        return f"{self.standing.state} (stopped early)" if early else self.standing.state


def is_run(folder: Path) -> bool:
    """Whether a folder holds a training."""
    return any((folder / f"{name}.json").is_file() for name in KINDS)


def runs_in(folder: Path) -> Iterator[Run]:
    """Trainings in a folder: itself, or those one level below, by name.

    Raises:
        UserError: There is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; `vqfusion train` makes runs in it, or name another")
    for one in [folder] if is_run(folder) else sorted(path for path in folder.iterdir() if path.is_dir()):
        if is_run(one):
            yield read_run(one)


def read_run(folder: Path) -> Run:
    """Read the training in a folder; files that are not there yet, or truncated, tell nothing.

    Raises:
        UserError: The folder holds no training.
    """
    stored = [name for name in KINDS if (folder / f"{name}.json").is_file()]
    if not stored:
        raise UserError(f"{folder}: holds no training; `vqfusion runs` lists them")
    paths = sorted(
        folder.glob("*/metrics.jsonl"), key=lambda path: (not path.parent.name.startswith("tokenizer"), path)
    )
    stages = tuple(Stage(path.parent.name, _lines(path), _lines(path.with_name("validation.jsonl"))) for path in paths)
    outcomes = [_object(folder / place / "validation.json") for place in ("", *(stage.name for stage in stages))]
    outcome = next((one for one in outcomes if one), {})
    scores = _object(folder / RESULTS).get("test")
    return Run(
        folder=folder,
        kind=KINDS[stored[0]],
        config=_object(folder / f"{stored[0]}.json"),
        standing=_standing(folder, stages),
        stages=stages,
        outcome=outcome,
        scores=tuple(one for one in scores if isinstance(one, dict)) if isinstance(scores, list) else (),
    )


def _standing(folder: Path, stages: tuple[Stage, ...]) -> Standing:
    """Where a training stands; one that says that it runs and has no lock was killed."""
    found = _stored(folder / STANDING)
    running = is_taken(folder / LOCK)
    if found:
        if found.state != TRAINING or running:
            return found
        message = "it was killed; the same command goes on from its last checkpoint"
        return Standing(**asdict(found) | {"state": INTERRUPTED, "message": message, "left_s": None})
    unfinished, trained = (folder / "unfinished.json").exists(), (folder / "config.json").exists()
    state = TRAINING if running else FINISHED if trained and not unfinished else INTERRUPTED
    times = [path.stat().st_mtime for path in folder.iterdir()]
    step = stages[-1].step if stages else 0
    name = stages[-1].name if stages else ""
    return Standing(state, "", name, step, step, began=min(times), updated=max(times))


def _stored(path: Path) -> Standing | None:
    """Content of `run.json`; None where there is none, or not what was written."""
    known, expected = _object(path), Standing()
    values = {one.name: known[one.name] for one in fields(Standing) if one.name in known}
    for name, value in values.items():
        kinds = (str,) if isinstance(getattr(expected, name), str) else (int, float)
        if not isinstance(value, kinds) and not (value is None and getattr(expected, name) is None):
            return None
    return Standing(**values) if values else None


def _object(path: Path) -> dict[str, Any]:
    """Object in a JSON file; empty where there is none."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _lines(path: Path) -> list[dict[str, Any]]:
    """Objects of a file of JSON lines that have a step; truncated ones are left out."""
    try:
        texts = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for text in texts:
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and isinstance(line.get("step"), int | float):
            found.append(line)
    return found
