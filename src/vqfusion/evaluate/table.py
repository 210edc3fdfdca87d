"""The table of results: every task on data that training never used, with baselines and targets."""

import os
import platform
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from vqfusion.errors import MissingExtra, UserError
from vqfusion.evaluate.bench import Bench
from vqfusion.evaluate.report import Report, Row
from vqfusion.evaluate.rows.pictures import classify, describe, imagine
from vqfusion.evaluate.rows.sounds import speak, speaker, transcribe
from vqfusion.evaluate.rows.texts import likelihood, translate
from vqfusion.evaluate.rows.tokenizers import audio_tokenizer, image_tokenizer

if TYPE_CHECKING:
    from vqfusion.data import Dataset
    from vqfusion.models.fusion.system import System


@dataclass(frozen=True)
class Group:
    """Rows that are measured together.

    Attributes:
        measure: Function that measures them.
        slots: Slots that they need.
        held_out: Kind of held-out records that they are about.
    """

    measure: Callable[[Bench], list[Row]]
    slots: tuple[str, ...]
    held_out: str


GROUPS: dict[str, Group] = {
    "image-tokenizer": Group(image_tokenizer, ("image",), "concept"),
    "audio-tokenizer": Group(audio_tokenizer, ("audio",), "voice"),
    "transcribe": Group(transcribe, ("audio", "text:en"), "voice"),
    "speak": Group(speak, ("audio", "text:en", "speaker"), "concept"),
    "speaker": Group(speaker, ("audio", "speaker"), "concept"),
    "describe": Group(describe, ("image", "text:en"), "pair"),
    "imagine": Group(imagine, ("image", "text:en", "style"), "pair"),
    "translate": Group(translate, ("text:en",), "concept"),
    "classify": Group(classify, ("image", "label"), "pair"),
    "likelihood": Group(likelihood, ("text:en",), "concept"),
}


WITH_TARGETS = ("emoji", "emoji")  # model and data for which the targets of the rows were set


def data_of(system: "System", dataset: "Dataset | str | None") -> "Dataset":
    """Data set to evaluate a system on: the given one, by default its own; UserError where it is missing."""
    from vqfusion.data import open_dataset

    if isinstance(dataset, str) and dataset != system.config.data:
        return open_dataset(dataset)
    if dataset is not None and not isinstance(dataset, str):
        return dataset
    try:
        return open_dataset(system.config.data, system.config.reading)
    except UserError as error:
        raise UserError(
            f"model {system.config.name!r} is judged on the data that it was trained on, and {error}; "
            "go to the folder where it was trained, or give --data"
        ) from None


def without_target(row: Row) -> Row:
    """Remove the target of a row, for models and data without targets."""
    return replace(row, target=None, note=re.sub(r"(; )?target: [^;]*", "", row.note))


def evaluate(
    system: "System",
    only: Iterable[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    split: str = "test",
    dataset: "Dataset | str | None" = None,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Evaluate a system.

    Groups whose slots or records are missing are listed in `Report.skipped` with the reason. Only the shipped model on
    its own data has targets.

    Args:
        system: The system.
        only: Names of groups, the keys of `GROUPS`; all by default.
        limit: Largest number of items of each row; every row states its own n.
        seed: Random seed.
        split: "test" for results, "val" for decisions during development.
        dataset: Data set, or its name; by default the one that the system was trained on.
        progress: Called with one line of text before each group.

    Returns:
        The report.

    Raises:
        UserError: Unknown group, split or data, or a limit below 1.
    """
    names = list(GROUPS) if not only else list(only)
    if unknown := [name for name in names if name not in GROUPS]:
        raise UserError(f"no group called {unknown[0]!r}; there are: {', '.join(GROUPS)}")
    if split not in ("test", "val"):
        raise UserError(f"split must be test or val, not {split!r}: training data says nothing about the model")
    if limit is not None and limit < 1:
        raise UserError(f"limit must be at least 1, not {limit}")
    everything = data_of(system, dataset)
    data = everything.limited(system.config.limit_keys)
    say = progress or (lambda text: None)
    bench = Bench(system, data, split, limit, seed, say, everything)
    rows: list[Row] = []
    skipped: dict[str, str] = {}
    started = time.perf_counter()
    for name in names:
        missing = [slot for slot in GROUPS[name].slots if slot not in system.slots]
        if missing:
            skipped[name] = f"the model has no slot {', '.join(missing)}"
            continue
        if not bench.held_out(GROUPS[name].held_out, *GROUPS[name].slots):
            skipped[name] = f"{data.name} has no {split} records for it"
            continue
        say(name)
        begun = time.perf_counter()
        try:
            found = GROUPS[name].measure(bench)
        except MissingExtra as error:
            skipped[name] = str(error)
            continue
        if (system.config.name, data.name) != WITH_TARGETS:
            found = [without_target(one) for one in found]
        if found:
            found[0] = replace(found[0], seconds=time.perf_counter() - begun)
        else:
            skipped[name] = f"{data.name} has nothing to measure it with"
        rows += found
    return Report(
        model=system.config.name,
        data=data.name,
        split=split,
        seed=seed,
        rows=tuple(rows),
        skipped=skipped,
        seconds=time.perf_counter() - started,
        machine=_machine(system),
    )


def _machine(system: "System") -> str:
    threads = f"{torch.get_num_threads()} of {os.cpu_count()} cores"
    return f"{system.device}, {threads}, {platform.machine()}, torch {torch.__version__}"
