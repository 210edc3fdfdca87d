"""Page of a training: state, curves, samples, score and settings."""

import time
from pathlib import Path
from typing import Any

import yaml

from vqfusion.pages import page
from vqfusion.runs.curves import curves_of, speed
from vqfusion.runs.run import FAILED, FINISHED, INTERRUPTED, TRAINING, Run, Stage
from vqfusion.runs.words import duration, left_in_words

REFRESH_S = 15  # how often a browser loads the page of a running training again
SHOWN = 4  # latest steps whose samples are shown
TITLES = {TRAINING: "in training", FINISHED: "finished", INTERRUPTED: "interrupted", FAILED: "failed"}


def run_page(run: Run) -> str:
    """Whole page of a training; it loads itself again as long as that runs."""
    running = run.standing.state == TRAINING
    about = "This page loads itself again while the training runs." if running else "This training does not run now."
    chips = [f"kind: {run.kind}", f"data: {run.config.get('data', 'unknown')}", f"seed: {run.config.get('seed', 0)}"]
    written = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(run.standing.updated))
    footer = f"Written at {written} by vqfusion, from the files of {run.folder}."
    return page.page(run.name, about, chips, sections(run), footer, REFRESH_S if running else 0)


def sections(run: Run) -> dict[str, str]:
    """Sections of the page by name."""
    made = {"state": _state(run)}
    if run.scores:
        made["score"] = page.section("score", "Score", "On the test part, which was read once.", "", _scores(run))
    last = run.last
    for stage in [one for one in (last, *reversed(run.stages)) if one is not None]:
        name = f"curves of {stage.name}"
        if name not in made and (curves := curves_of(stage)):
            made[name] = page.section(name, f"Curves of {stage.name}", "", "", curves)
    if samples := _samples(run.folder / "samples"):
        about = "Always for the same few records, from validation and training."
        made["samples"] = page.section("samples", "Samples", about, "", samples)
    text = yaml.safe_dump(run.config, allow_unicode=True, sort_keys=False, default_flow_style=None, width=110)
    made["settings"] = page.section("settings", "Settings", "", "", page.folded("Everything", page.verbatim(text)))
    return made


def _state(run: Run) -> str:
    standing, stage = run.standing, run.last
    parts: list[str] = []
    if standing.message:
        parts.append(page.paragraph(standing.message, "warn" if standing.state == FAILED else "about"))
    if standing.state == TRAINING and not standing.stage:
        parts.append(page.paragraph("Reading and preparing the data."))
    if standing.state == TRAINING and standing.stage:
        said = f"{standing.stage}: step {standing.step:,} of {standing.steps:,}"
        parts.append(page.progress(standing.fraction, said))
        parts.append(page.paragraph(left_in_words(standing.left_s, standing.processor)))
    parts.append(page.facts(_facts(run, stage)))
    if gap := run.outcome.get("gap"):
        parts.append(page.paragraph(f"Validation: {gap}."))
    title = f"{TITLES.get(standing.state, standing.state)}{run.state.removeprefix(standing.state)}"
    return page.section("state", title[:1].upper() + title[1:], "", "", page.joined(*parts))


def _facts(run: Run, stage: Stage | None) -> list[tuple[str, str]]:
    standing = run.standing
    rows = [("network", standing.stage or "none yet"), ("step", f"{standing.step:,} of {standing.steps:,}")]
    if standing.processor is not None:
        rows.append(("share of a processor", f"{100 * standing.processor:.0f} %"))
    if stage and stage.lines:
        line = stage.lines[-1]
        if isinstance(line.get("seconds"), int | float):
            rows.append(("time of training", duration(float(line["seconds"]))))
        if speeds := speed(stage.lines):
            rows.append(("steps a second", f"{speeds[-1][1]:.3g}"))
        if isinstance(line.get("loss"), int | float):
            rows.append(("loss", f"{line['loss']:.4g}"))
    if stage and stage.best and isinstance(stage.best.get("loss"), int | float):
        rows.append(("best validation", f"{stage.best['loss']:.4g} at step {stage.best['step']:,}"))
    return rows


def _samples(folder: Path) -> str:
    """What the model made of a few records, the latest first."""
    steps: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("step-*")):
        steps.setdefault(path.stem[: len("step-000000")], []).append(path)
    parts = []
    for i, (stem, paths) in enumerate(sorted(steps.items(), reverse=True)[:SHOWN]):
        title = f"step {int(stem.removeprefix('step-')):,}"
        parts.append(page.folded(title, page.joined(*(_shown(path, title) for path in paths)), is_open=i == 0))
    return page.joined(*parts)


def _shown(path: Path, title: str) -> str:
    data = path.read_bytes()
    if path.suffix == ".png":
        return page.preview(data, f"pictures of the data and, below, those of the model, {title}")
    if path.suffix == ".wav":
        return page.recording(data, path.stem)
    return page.verbatim(data.decode(errors="replace"))


def _scores(run: Run) -> str:
    def text(value: Any) -> str:
        return f"{value:.3g}" if isinstance(value, int | float) else str(value or "")

    rows = []
    for one in run.scores:
        between = f"{text(one.get('low'))} to {text(one.get('high'))}" if one.get("low") is not None else ""
        result = f"{text(one.get('value'))} {one.get('unit', '')}"
        other = f"{text(one.get('baseline_value'))} ({one['baseline']})" if one.get("baseline") else ""
        rows.append(
            (str(one.get("task", "")), str(one.get("metric", "")), result, between, other, str(one.get("n", "")))
        )
    return page.table(("task", "measured", "this model", "95 % interval", "baseline", "records"), rows)
