"""How the command runs restoration tasks: item by item with a prior, with error bars and a report."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vqfusion.commands import outputs
from vqfusion.commands.failures import Failures
from vqfusion.commands.gap_table import gap_table
from vqfusion.commands.inputs import Inputs, Item
from vqfusion.commands.options import FittingModel
from vqfusion.commands.say import say
from vqfusion.commands.way import BATCH, Job, Way
from vqfusion.data.io.file import suffix_of
from vqfusion.files import write_bytes
from vqfusion.modalities import MODALITIES
from vqfusion.tasks import Answer
from vqfusion.tasks.inpainting import Inpaint
from vqfusion.tasks.restoration import Restoration, prior_for

if TYPE_CHECKING:
    from vqfusion.commands.restoration_page import Shown
    from vqfusion.tasks.task import Finding
    from vqfusion.types import Sample

BOUNDS = ("lower", "upper", "uncertainty")
LISTED = 8  # channels of which each level is said
JUDGED = 4  # inputs that a prior without clean data is judged on
VIEWS = ("side-by-side", "difference", "uncertainty")  # pictures of a report; the last only with intervals


@dataclass(frozen=True, kw_only=True)
class RestorationJob(Job):
    """A job with its input, and the paths of interval ends and report views."""

    item: Item
    modality: str
    bounds: dict[str, Path] = field(default_factory=dict)
    views: dict[str, Path] = field(default_factory=dict)
    read: "Sample | None" = None  # what standard input held

    @property
    def files(self) -> list[Path]:
        return [*self.paths, *self.bounds.values()]


class RestorationWay(Way[Restoration, RestorationJob]):
    """Writes results as soon as they are made, with a prior for each kind of input; the report page at the end."""

    doing = "restoring"
    model_option = (FittingModel, None)

    @property
    def made(self) -> tuple[str | None, ...]:
        return self.request.output, self.task.report

    def plan(self, inputs: Inputs, failures: Failures) -> list[RestorationJob]:
        from vqfusion.data.io.plane import is_plane

        task, request = self.task, self.request
        self.page = Path(task.report) if task.report else None
        self.rows: list[dict[str, Any]] = []
        self.shown: list[Shown] = []
        self.noisy: list[tuple[RestorationJob, Sample]] = []
        read: dict[int, Sample] = {}
        kinds: dict[int, str] = {}
        for i, item in enumerate(inputs.items):
            with failures.skipping(item.source):
                if item.source == "-":
                    read[i] = item.read(keep=True)
                kinds[i] = read[i].modality if i in read else item.modality()
        count = 1 if task.read_out == "interval" else request.samples
        jobs = []
        for i, kind in kinds.items():
            item = inputs.items[i]
            row = MODALITIES[kind]
            own = "" if row.pictured else suffix_of(item.source)
            suffix = own if own in (*outputs.SUFFIXES[kind], *row.only_back) else None
            [paths] = outputs.plan(
                [item.name], kind, task.name, request.output, count, inputs.are_many, request.force, suffix
            )
            bounds = {}
            if task.read_out == "interval":
                bounds = {
                    what: outputs.beside(paths[0], what) for what in BOUNDS if not (row.heard and what == "uncertainty")
                }
                if row.by_channel and isinstance(task, Inpaint):
                    bounds["gaps"] = outputs.beside(paths[0], "gaps").with_suffix(".csv")
            views = {}
            if self.page is not None and row.rank > 1:
                what = VIEWS if bounds else VIEWS[:-1]
                views = {view: self.page / f"{item.name}-{view}.png" for view in what}
            model = request.model or prior_for(kind, read[i].is_plane if i in read else is_plane(item.source))
            assert model is not None  # the task accepts no other modalities
            jobs.append(
                RestorationJob(
                    item=item,
                    modality=kind,
                    model=model,
                    paths=paths,
                    bounds=bounds,
                    views=views,
                    read=read.get(i),
                )
            )
        page = (
            [self.page / name for name in ("index.html", "report.json", "noise.html", "noise.json")]
            if self.page is not None
            else []
        )
        made = [path for job in jobs for path in (*job.files, *job.views.values())]
        outputs.check(made + page, request.force)
        return jobs

    def refusal(self, model: str, kind: str) -> str | None:
        if kind in self.task.kinds:
            return None
        return f"model {model!r} is a {kind} model and restores nothing; choose a prior as --model"

    def batches(self, jobs: Sequence[RestorationJob], kinds: dict[str, str]) -> list[list[RestorationJob]]:
        """Adjacent inputs of one kind together for a model over codes, else one at a time."""
        batches: list[list[RestorationJob]] = []
        for job in jobs:
            most = 1 if kinds[job.model] == "prior" else BATCH
            if not batches or len(batches[-1]) >= most or batches[-1][-1].modality != job.modality:
                batches.append([])
            batches[-1].append(job)
        return batches

    def read(self, job: RestorationJob) -> "Sample":
        """Read the input; gaps are kept where they can be filled in."""
        if job.read is not None:
            return job.read
        return job.item.read(keep=self.task.keeps(job.modality))

    def finish(self, job: RestorationJob, given: "Sample | None", answer: Answer, i: int) -> None:
        assert given is not None
        row = write(job, given, answer, i, self.request.force)
        if self.page is not None:
            from vqfusion.commands.restoration_page import show

            self.shown.append(show(job.item.name, given, answer, i, job.views))
            if len(self.noisy) < JUDGED:
                self.noisy.append((job, given))
        self.rows.append(row)

    def report(self, skipped: dict[str, Any]) -> dict[str, Any]:
        """Report with `sigma`, widths and peaks in the units of each input; also writes the page."""
        task, rows = self.task, self.rows
        models = list(dict.fromkeys(row["model"] for row in rows))
        report: dict[str, Any] = {"task": task.name, "options": asdict(task), "mode": task.read_out}
        report |= {"model": models[0] if len(models) == 1 else models, "seed": self.request.seed}
        report |= {"nfe": sum(row["nfe"] for row in rows), "seconds": round(sum(row["seconds"] for row in rows), 3)}
        report |= {"inputs": [row["input"] for row in rows], "outputs": [row["outputs"] for row in rows]}
        report |= {"items": rows} | skipped
        if self.page is not None:
            from vqfusion.commands.restoration_page import restoration_page

            outputs.write_json(self.page / "report.json", report)
            text = restoration_page(task.name, report, self.shown)
            outputs.write_bytes(self.page / "index.html", text.encode(errors="backslashreplace"))
            report["page"] = str(self.page / "index.html")
            if task.name == "denoise" and len(models) == 1:
                from vqfusion.commands.noisy_page import judge_inputs

                samples, names = [one for _, one in self.noisy], [job.item.name for job, _ in self.noisy]
                if said := judge_inputs(models[0], samples, names, self.page):
                    report["did_it_work"] = said
        return report

    def say(self, report: dict[str, Any]) -> None:
        """Print paths on standard output, one per line, and messages on standard error."""
        for row in report["items"]:
            for path in (*row["outputs"], *(row[what] for what in (*BOUNDS, "gaps") if what in row)):
                print(path)
            for line in row.get("explained", ()):
                say(f"{row['input']}: {line}")
            if report["task"] == "denoise" and report["options"]["sigma"] is None and "sigma" in row:
                say(f"{row['input']}: noise estimated at {_levels(row)}")
            for warning in row.get("warnings", ()):
                say(f"{row['input']}: {warning}")
        if self.page is not None:
            print(self.page / "index.html")
            if "did_it_work" in report:
                say(f"{self.page / 'noise.html'}: {report['did_it_work']}")
        for text in dict.fromkeys(_promise(row) for row in report["items"] if row.get("measured_coverage") is not None):
            say(text)


def write(job: RestorationJob, given: "Sample", answer: Answer, i: int, force: bool) -> dict[str, Any]:
    """Write the results of item `i` and return its row of the report.

    Args:
        job: The job of the item.
        given: Its input.
        answer: The results.
        i: Index of the item in `answer`.
        force: Overwrite existing files.

    Returns:
        The row.
    """
    from vqfusion.data.io import write as write_file

    lines = list(given.notes)
    for sample, path in zip(answer.samples[i], job.paths, strict=True):
        lines += write_file(sample, path, force)
    row: dict[str, Any] = {"input": job.item.source, "modality": job.modality, "model": job.model}
    row |= {"outputs": [str(path) for path in job.paths], "nfe": answer.nfe, "seconds": answer.seconds}
    finding = answer.findings[i] if answer.findings else None
    row["warnings"] = list(dict.fromkeys([*lines, *(finding.warnings if finding else answer.warnings)]))
    if finding is None:
        return row
    row["sigma"] = finding.sigma
    if finding.sigmas:
        names = given.channel_names or [f"channel {k + 1}" for k in range(len(finding.sigmas))]
        row |= {"channels": list(names), "sigmas": list(finding.sigmas)}
    if finding.seen is not None:
        row |= {"seen": finding.seen, "explained": list(finding.explained)}
    if job.bounds and finding.lower is not None and finding.upper is not None:
        row |= {"coverage": finding.coverage, "mean_width": _width(finding)}
        row |= {"measured_coverage": finding.measured, "measured_on": finding.measured_on}
        made = {"lower": finding.lower, "upper": finding.upper}
        if "uncertainty" in job.bounds:
            made["uncertainty"], row["uncertainty_peak"] = uncertainty(finding)
        if "gaps" in job.bounds and finding.filled is not None:
            write_bytes(job.bounds["gaps"], gap_table(answer.samples[i][0], finding), force)
            row |= {"gaps": str(job.bounds["gaps"]), "filled": int(finding.filled.sum()), "samples": len(finding.drawn)}
        for what, sample in made.items():
            write_file(sample, job.bounds[what], force)
            row[what] = str(job.bounds[what])
    return row


def uncertainty(finding: "Finding") -> "tuple[Sample, float]":
    """Widths of the intervals, and the largest: for pictures in colours from 0 (dark) to the largest (light)."""
    assert finding.lower is not None and finding.upper is not None
    width = finding.upper.data - finding.lower.data
    if not MODALITIES[finding.upper.modality].pictured:
        extras = finding.upper.extras  # the layout of the file, but not its integer type
        return replace(finding.upper, data=width, extras=extras and extras.real()), float(width.nan_to_num(0).max())
    from vqfusion.commands.restoration_page import coloured

    width = width.mean(dim=0)
    peak = float(width.max())
    return replace(finding.upper, data=coloured(width / (peak or 1.0)), extras=None), peak


def _width(finding: "Finding") -> float:
    assert finding.lower is not None and finding.upper is not None
    width = finding.upper.data - finding.lower.data
    return float((width if finding.filled is None else width[finding.filled]).mean())


def _levels(row: dict[str, Any]) -> str:
    """Noise level of an item in words, of several channels each, or the lowest and the highest of many."""
    levels = row.get("sigmas", ())
    if len(levels) > LISTED:
        return f"{min(levels):.3g} to {max(levels):.3g} in {len(levels)} channels"
    each = [f"{level:.3g} ({name})" for level, name in zip(levels, row.get("channels", ()), strict=True)]
    return ", ".join(each) or f"{row['sigma']:.3g}"


def _promise(row: dict[str, Any]) -> str:
    """Measured coverage of such intervals, in words."""
    held = f"{100 * row['measured_coverage']:.1f} %"
    return f"{100 * row['coverage']:g} % intervals held {held} of the true values of {row['measured_on']}"
