"""The demo: every task on data that training never used, as one self-contained page."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from vqfusion.data.numerals import held_out_items
from vqfusion.demo import numerals, pictures, repairs, words
from vqfusion.demo.overview import overview
from vqfusion.demo.stage import Section, Stage
from vqfusion.evaluate.report import Report
from vqfusion.evaluate.table import data_of
from vqfusion.files import write_bytes
from vqfusion.pages import page
from vqfusion.types import UserError

if TYPE_CHECKING:
    from vqfusion.data import Dataset
    from vqfusion.models.fusion.system import System
    from vqfusion.models.restoration.prior import Prior


@dataclass(frozen=True)
class Act:
    """A section of the demo, and the slots that a model needs for it."""

    show: Callable[[Stage], Section]
    slots: tuple[str, ...]


ACTS: dict[str, Act] = {
    "imagine": Act(pictures.imagine, ("image", "style", "text:en")),
    "describe": Act(pictures.describe, ("image", "text:en")),
    "any": Act(words.any_to_any, ("image", "audio", "speaker", "text:en")),
    "speak": Act(words.speak, ("audio", "speaker", "text:en")),
    "transcribe": Act(words.transcribe, ("audio", "text:en")),
    "translate": Act(words.translate, ("text:en", "text:de")),
    "classify": Act(pictures.classify, ("image", "label", "text:en")),
    "speaker": Act(words.speaker, ("audio", "speaker")),
    "inpaint": Act(repairs.inpaint, ("image", "text:en")),
    "upscale": Act(repairs.upscale, ("image", "image@16", "text:en")),
    "denoise": Act(repairs.denoise, ("image", "image@noisy", "text:en")),
    "enhance": Act(words.enhance, ("audio", "audio@noisy")),
    "write": Act(words.write, ("text:en",)),
    "codes": Act(pictures.round_trip, ("image", "text:en")),
}


def run_demo(
    system: "System",
    folder: str | Path,
    seed: int = 0,
    dataset: "Dataset | str | None" = None,
    scores: Report | None = None,
    progress: Callable[[str], None] | None = None,
    prior: "Prior | None" = None,
    digits: "System | None" = None,
) -> Path:
    """Write a page that shows every task on held-out items.

    The items are drawn at random. Beside `index.html` the folder gets `report.json` (the same as data, with times) and
    `overview.png` (a montage).

    Args:
        system: The model.
        folder: Folder to write to.
        seed: Random seed.
        dataset: Data set, or its name; by default the one that the system was trained on.
        scores: Report of `vqfusion eval` to include.
        progress: Called with the name of each section.
        prior: Prior that restores pictures for comparison.
        digits: Model of digits, which are shown first.

    Returns:
        The path of `index.html`.

    Raises:
        UserError: The folder cannot be written, or the model has the slots of no section.
    """
    data = data_of(system, dataset).limited(system.config.limit_keys)
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror})") from None
    stage = Stage(system, data, seed=seed, prior=prior)
    acts = {name: partial(act.show, stage) for name, act in ACTS.items() if stage.has(*act.slots)}
    if acts and digits is not None:
        acts = {"digits": partial(numerals.every_direction, Stage(digits, held_out_items(), seed=seed)), **acts}
    started, sections, seconds = time.perf_counter(), {}, {}
    for name, act in acts.items():
        if progress:
            progress(name)
        begun = time.perf_counter()
        sections[name] = act()
        seconds[name] = time.perf_counter() - begun
    if not sections:
        raise UserError(f"the demo has nothing to show for a model with the slots {', '.join(system.slots)}")
    total = time.perf_counter() - started
    _write_page(folder, stage, sections, seconds, scores, total)
    _write_report(folder, stage, sections, seconds, total)
    _write_overview(folder, sections)
    return folder / "index.html"


def _write_page(
    folder: Path, stage: Stage, sections: dict[str, Section], seconds: dict[str, float], scores, total: float
) -> None:
    shown = {
        name: page.section(name, s.title, s.about, s.command, s.body, _live(s, seconds[name]))
        for name, s in sections.items()
    }
    about = (
        "Measured with vqfusion eval on held-out data, not on the few items above. The ceiling is the "
        "tokenizer's own round trip."
    )
    if scores is not None:
        shown["scores"] = page.section("scores", "Scores, baselines, ceilings", about, "vqfusion eval", _scores(scores))
    asked = sum(s.asked for s in sections.values())
    right = sum(s.right or 0 for s in sections.values())
    parameters = sum(p.numel() for p in stage.system.fusion.parameters()) / 1e6
    chips = [
        f"model {stage.system.config.name}",
        f"data {stage.dataset.name}",
        f"{parameters:.1f} M parameters in the transformer",
        f"{len(stage.system.slots)} slots",
        f"{stage.system.device}, {torch.get_num_threads()} of {os.cpu_count()} cores",
        f"made in {total:.0f} s",
        f"seed {stage.seed}",
    ]
    chips += [f"{right} of {asked} answers right"] if asked else []
    intro = (
        "One transformer over discrete codes. A task is a choice of what is given and what is asked for. "
        "All items below were drawn at random; the badges say what was not in training: "
        "the concept at all, the concept in this style, or the voice."
    )
    footer = f"Data: {stage.dataset.licence}" if stage.dataset.licence else ""
    text = page.page("vqfusion, every verb", intro, chips, shown, footer)
    write_bytes(folder / "index.html", text.encode(errors="backslashreplace"))


def _live(section: Section, seconds: float) -> str:
    if section.right is None:
        return f"{seconds:.1f} s"
    return page.joined(page.strong(f"{section.right} of {section.asked}"), f"right · {seconds:.1f} s")


def _scores(report: Report) -> str:
    head, *lines = report.cells()
    rows = []
    for line, row in zip(lines, report.rows, strict=True):
        cells: list[str] = list(line[:-1])
        cells[1] = page.strong(cells[1])
        if row.met is not None:
            cells[3] = page.marked(cells[3], row.met)
        rows.append(cells)
    return page.table(head[:-1], rows)


def _write_report(
    folder: Path, stage: Stage, sections: dict[str, Section], seconds: dict[str, float], total: float
) -> None:
    content = {
        "model": stage.system.config.name,
        "seed": stage.seed,
        "seconds": round(total, 2),
        "sections": {
            name: {"seconds": round(seconds[name], 2), "right": s.right, "asked": s.asked, "items": s.items}
            for name, s in sections.items()
        },
    }
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    write_bytes(folder / "report.json", text.encode(errors="backslashreplace"))


def _write_overview(folder: Path, sections: dict[str, Section]) -> None:
    titles = {
        "codes": "Unseen pictures, encoded and decoded",
        "imagine": "Pictures drawn from names",
        "describe": "Names of pictures in an unseen style",
        "inpaint": "Pictures with a part filled in",
        "denoise": "Noisy pictures, cleaned",
    }
    rows = [
        (title, sections[name].pictures)
        for name, title in titles.items()
        if name in sections and sections[name].pictures
    ]
    if rows:
        overview(rows, folder / "overview.png")
