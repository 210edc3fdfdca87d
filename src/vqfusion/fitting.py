"""Training on one's own data in one call, and what the command `train` does with a config: train, score, report."""

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from vqfusion.config import ChainConfig, ReadingConfig, ShortConfig, validated
from vqfusion.data import Dataset, open_dataset
from vqfusion.data.columns import dataset_of
from vqfusion.data.table import Table
from vqfusion.errors import UserError
from vqfusion.evaluate.held_out import FEWEST, Score, scores
from vqfusion.evaluate.rivals import Rivals
from vqfusion.models.fusion.system import System
from vqfusion.nn.weights import load_json, save_json
from vqfusion.runs.record import write_page
from vqfusion.runs.run import RESULTS
from vqfusion.train.fusion.data import open_data
from vqfusion.train.fusion.own_data import expand
from vqfusion.train.fusion.trainer import train
from vqfusion.train.loop.accelerator import make_accelerator

SCORING, LEAST_SCORING_S = 0.1, 30.0  # part of the time of training that the score may take


def fit(
    data: str | Path | Dataset | Iterable[Mapping[str, Any]],
    tasks: Iterable[str] = (),
    minutes: float | None = None,
    folder: str | Path | None = None,
    device: str | None = None,
    **settings: Any,
) -> System:
    """Train a model on one's own data, as `vqfusion train` does.

    Args:
        data: A folder, a table (.csv, .tsv, .parquet, .jsonl), a `Dataset`, or rows: mappings from slots or columns to
            texts, names, files or bytes. A data frame is rows too.
        tasks: What it is for, such as `["transcribe", "speak"]` or `["label -> image"]`; by default every slot is
            learned from every other.
        minutes: Wall time of it all; by default the steps follow from the size of the data.
        folder: Folder of the training, where it can be resumed; by default a new one among temporary files.
        device: Such as "cpu" or "cuda"; by default what there is.
        **settings: Keys of the short YAML form: `columns`, `group`, `size`, `steps`, `languages`, `seed`, ...

    Returns:
        The trained system. `system.evaluate()` scores it; the score of the test part is in `results.json` of `folder`.

    Raises:
        UserError: The data lack what a task needs, or a setting is not right.
    """
    started = time.monotonic()
    place = Path(folder) if folder is not None else Path(mkdtemp(prefix="vqfusion-"))
    named = str(data) if isinstance(data, str | Path) else "data"
    given = {"name": place.name or "own", "data": named, "tasks": tuple(tasks), "minutes": minutes, **settings}
    short = validated(ShortConfig, given, "vqfusion.fit")
    dataset = _opened(data, short.reading)
    chain = expand(short, dataset)
    kept = open_data(chain, lambda *_: dataset)
    system, _ = learn(chain, place, kept, started=started, accelerator=make_accelerator(device))
    return system


def _opened(data: Any, reading: ReadingConfig) -> Dataset:
    if isinstance(data, Dataset):
        return data
    if isinstance(data, str | Path):
        return open_dataset(str(data), reading)
    rows = data.to_dict("records") if hasattr(data, "to_dict") else list(data)
    if not all(isinstance(row, Mapping) for row in rows):
        raise UserError("data: give a folder, a table, or rows such as {'text': 'a cat', 'label': 'animal'}")
    columns = list(dict.fromkeys(str(name) for row in rows for name in row))
    table = Table(Path("data"), columns, [(f"row {i}", dict(row)) for i, row in enumerate(rows, 1)])
    return dataset_of([(table, None)], reading, "data")


def learn(chain: ChainConfig, folder: Path, data: Dataset, started: float, **how: Any) -> tuple[System, dict[str, Any]]:
    """Train a chain to a folder and score it once on the test part.

    Args:
        chain: Config of the training.
        folder: Its folder.
        data: Its data.
        started: `time.monotonic()` from which `chain.minutes` count.
        **how: Further arguments of `train.fusion.trainer.train`.

    Returns:
        The system, and the report: how validation went, and the scores.
    """
    accelerator = how.get("accelerator")
    first = accelerator is None or accelerator.is_main_process
    rivals = Rivals(data.limited(chain.limit_keys))
    if first and chain.minutes and not (folder / RESULTS).exists() and len(data.select("test")) >= FEWEST:
        rivals.prepare(chain)  # before the model, whose time is what is left
    system = train(chain, folder, data=data, started=started, **how)
    if not first:
        return system, {}
    known = folder / "validation.json"
    report: dict[str, Any] = {"validation": load_json(known) if known.exists() else None}
    return system, report | {"test": _scored(system, data, folder, started, chain, rivals)}


def _scored(
    system: System, data: Dataset, folder: Path, started: float, chain: ChainConfig, rivals: Rivals
) -> list[dict[str, Any]]:
    """Scores of the test part, which is read once: those of a finished training are read from its folder."""
    path, steps = folder / RESULTS, _steps(folder)
    if path.exists() and (known := load_json(path)).get("steps") == steps:
        return list(known["test"])
    if not chain.fusion.slots or not chain.fusion_stage.validations or len(data.select("test")) < FEWEST:
        return []
    so_far = time.monotonic() - started
    seconds = max(LEAST_SCORING_S, SCORING * so_far) if not chain.minutes else 60 * chain.minutes - so_far
    made = scores(system, data, "test", seconds=max(0.0, seconds), rivals=rivals)
    found = [one.as_json() | {"line": str(one)} for one in made]
    save_json(path, {"steps": steps, "data": chain.data, "split": "test", "test": found})
    write_page(folder)
    return found


def _steps(folder: Path) -> int | None:
    """Steps after which the training ended."""
    path = folder / "validation.json"
    return int(load_json(path)["last_step"]) if path.exists() else None


def evaluate(
    system: System, data: str | Path | Dataset | None = None, split: str = "test", limit: int | None = None
) -> list[Score]:
    """Scores of a system for each task that it was trained for, beside baselines.

    Args:
        system: The model.
        data: A folder, a table or a `Dataset`; by default what it was trained on.
        split: Part of the data.
        limit: Most records of each task.

    Returns:
        One score for each task.
    """
    config = system.config
    if isinstance(data, Dataset):
        return scores(system, data, split, limit)
    same = data is None or str(data) == config.data
    return scores(system, open_dataset(str(data or config.data), config.reading if same else None), split, limit)
