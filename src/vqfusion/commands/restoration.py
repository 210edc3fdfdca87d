"""The way of the restoration verbs: one item at a time through a prior, with error bars and a report beside it."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vqfusion.commands import outputs
from vqfusion.commands.inputs import Item, collect
from vqfusion.commands.progress import tracked
from vqfusion.data.io.file import suffix_of
from vqfusion.errors import UserError
from vqfusion.tasks import Answer
from vqfusion.tasks.restoration import PRIORS, Restoration
from vqfusion.tasks.restore import Inpaint

if TYPE_CHECKING:
    from vqfusion.commands.restoration_page import Shown
    from vqfusion.commands.verbs import Request
    from vqfusion.tasks.task import Finding
    from vqfusion.types import Sample

BATCH = 8  # items that a model over codes takes at once
BOUNDS = ("lower", "upper", "uncertainty")
VIEWS = ("side-by-side", "difference", "uncertainty")  # pictures beside the page of a report; the last of intervals


@dataclass(frozen=True)
class Job:
    """One input, what it is, the model that restores it, and where the results and the views of the report go."""

    item: Item
    modality: str
    model: str
    paths: list[Path]
    bounds: dict[str, Path]
    views: dict[str, Path] = field(default_factory=dict)
    read: "Sample | None" = None

    def sample(self, task: Restoration) -> "Sample":
        """The input; gaps in it are kept where they can be filled in."""
        if self.read is not None:
            return self.read
        return self.item.read(keep=self.modality == "image" or isinstance(task, Inpaint))


def run(task: Restoration, arguments: list[str], request: "Request") -> None:
    """Plan the outputs, read the inputs, ask the models, write the results and what is to be said of them."""
    from vqfusion.hub import find_model, kind_of, load
    from vqfusion.models.sampling import Sampling

    jobs = plan(task, collect(arguments, task.accepts), request)
    page = Path(task.report) if task.report else None
    kinds = {name: kind_of(find_model(name)) for name in dict.fromkeys(job.model for job in jobs)}
    for name, kind in kinds.items():
        if kind not in ("prior", "system"):
            raise UserError(f"model {name!r} is a {kind} model and restores nothing; choose a prior as --model")
    models: dict[str, Any] = {}
    sampling = Sampling(samples=request.samples, seed=request.seed, steps=request.steps)
    rows: list[dict[str, Any]] = []
    shown: list[Shown] = []
    batches = list(_batches(jobs, kinds))
    for batch in tracked(batches, "restoring", len(batches) > 1):
        given, name = [job.sample(task) for job in batch], batch[0].model
        if name not in models:
            models[name] = load(name, request.device)
        answer = task(models[name], given, sampling)
        rows += [write(job, answer, i) for i, job in enumerate(batch)]
        if page is not None:
            from vqfusion.commands.restoration_page import show

            shown += [show(job.item.name, given[i], answer, i, job.views) for i, job in enumerate(batch)]
        del given, answer
    report = _report(task, request, jobs, rows)
    if page is not None:
        from vqfusion.commands.restoration_page import restoration_page

        outputs.write_json(page / "report.json", report)
        text = restoration_page(task.name, report, shown)
        outputs.write_bytes(page / "index.html", text.encode(errors="backslashreplace"))
        report["page"] = str(page / "index.html")
    _say(report, page, request.json)


def plan(task: Restoration, items: Sequence[Item], request: "Request") -> list[Job]:
    """What is to be done; UserError where an output may not be written."""
    read = {i: item.read(keep=True) for i, item in enumerate(items) if item.source == "-"}
    kinds = [read[i].modality if i in read else item.modality() for i, item in enumerate(items)]
    many = len(items) > 1 or any(item.from_folder for item in items)
    count = 1 if task.read_out == "interval" else request.samples
    jobs = []
    for i, (item, kind) in enumerate(zip(items, kinds, strict=True)):
        own = suffix_of(item.source) if kind in ("volume", "series") else ""
        suffix = own if own in outputs.SUFFIXES[kind] else None
        [paths] = outputs.plan([item.name], kind, task.name, request.output, count, many, request.force, suffix)
        bounds = {}
        if task.read_out == "interval":
            bounds = {
                what: outputs.beside(paths[0], what) for what in BOUNDS if (what, kind) != ("uncertainty", "audio")
            }
        views = {}
        if task.report and kind in ("image", "volume"):
            what = VIEWS if bounds else VIEWS[:-1]
            views = {view: Path(task.report) / f"{item.name}-{view}.png" for view in what}
        jobs.append(Job(item, kind, request.model or PRIORS[kind], paths, bounds, views, read.get(i)))
    page = [Path(task.report) / name for name in ("index.html", "report.json")] if task.report else []
    made = [path for job in jobs for path in (*job.paths, *job.bounds.values(), *job.views.values())]
    outputs.check(made + page, request.force)
    return jobs


def _batches(jobs: Sequence[Job], kinds: dict[str, str]) -> Iterator[list[Job]]:
    """Neighbours of one kind together where a model over codes answers, else one at a time."""
    batch: list[Job] = []
    for job in jobs:
        most = 1 if kinds[job.model] == "prior" else BATCH
        if batch and (len(batch) >= most or batch[-1].modality != job.modality):
            yield batch
            batch = []
        batch.append(job)
    if batch:
        yield batch


def write(job: Job, answer: Answer, i: int) -> dict[str, Any]:
    """Write the results of item `i` of an answer; what is to be reported of it."""
    from vqfusion.data.io import write as write_file

    for sample, path in zip(answer.samples[i], job.paths, strict=True):
        write_file(sample, path, force=True)
    row: dict[str, Any] = {"input": job.item.source, "modality": job.modality, "model": job.model}
    row |= {"outputs": [str(path) for path in job.paths], "nfe": answer.nfe, "seconds": answer.seconds}
    if not answer.findings:
        return row
    finding = answer.findings[i]
    row |= {"sigma": finding.sigma, "warnings": list(finding.warnings)}
    if job.bounds and finding.lower is not None and finding.upper is not None:
        row |= {"coverage": finding.coverage, "mean_width": _width(finding)}
        row |= {"measured_coverage": finding.measured, "measured_on": finding.measured_on}
        made = {"lower": finding.lower, "upper": finding.upper}
        if "uncertainty" in job.bounds:
            made["uncertainty"], row["uncertainty_peak"] = uncertainty(finding)
        for what, path in job.bounds.items():
            write_file(made[what], path, force=True)
            row[what] = str(path)
    return row


def uncertainty(finding: "Finding") -> "tuple[Sample, float]":
    """The width of the interval, and its peak: for pictures in colours from 0 (dark) to the peak (light)."""
    assert finding.lower is not None and finding.upper is not None
    width = finding.upper.data - finding.lower.data
    if finding.upper.modality != "image":
        return replace(finding.upper, data=width), float(width.max())
    from vqfusion.commands.restoration_page import coloured

    width = width.mean(dim=0)
    peak = float(width.max())
    return replace(finding.upper, data=coloured(width / (peak or 1.0)), extras=None), peak


def _width(finding: "Finding") -> float:
    assert finding.lower is not None and finding.upper is not None
    return float((finding.upper.data - finding.lower.data).mean())


def _report(task: Restoration, request: "Request", jobs: list[Job], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What `--json` prints; `sigma`, widths and peaks are in the units of each input."""
    models = list(dict.fromkeys(job.model for job in jobs))
    report: dict[str, Any] = {"task": task.name, "options": asdict(task), "mode": task.read_out}
    report |= {"model": models[0] if len(models) == 1 else models, "seed": request.seed}
    report |= {"nfe": sum(row["nfe"] for row in rows), "seconds": round(sum(row["seconds"] for row in rows), 3)}
    report |= {"inputs": [row["input"] for row in rows], "outputs": [row["outputs"] for row in rows]}
    return report | {"items": rows}


def _say(report: dict[str, Any], page: Path | None, as_json: bool) -> None:
    """Paths on standard output, one a line, and what there is to know on standard error; or one JSON object."""
    if as_json:
        print(json.dumps(report, ensure_ascii=False))
        return
    for row in report["items"]:
        for path in (*row["outputs"], *(row[what] for what in BOUNDS if what in row)):
            print(path)
        if report["task"] == "denoise" and report["options"]["sigma"] is None and "sigma" in row:
            print(f"vqfusion: {row['input']}: noise estimated at {row['sigma']:.3g}", file=sys.stderr)
        for warning in row.get("warnings", ()):
            print(f"vqfusion: {row['input']}: {warning}", file=sys.stderr)
    if page is not None:
        print(page / "index.html")
    for text in dict.fromkeys(_promise(row) for row in report["items"] if row.get("measured_coverage") is not None):
        print(f"vqfusion: {text}", file=sys.stderr)


def _promise(row: dict[str, Any]) -> str:
    """What is known of intervals like these."""
    held = f"{100 * row['measured_coverage']:.1f} %"
    return f"{100 * row['coverage']:g} % intervals held {held} of the true values of {row['measured_on']}"
