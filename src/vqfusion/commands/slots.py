"""The way of the tasks over slots: a model over codes is asked for a slot."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from vqfusion.commands import outputs
from vqfusion.commands.inputs import Item
from vqfusion.commands.options import Model
from vqfusion.commands.way import BATCH, Job, Way
from vqfusion.hub import DEFAULT_MODEL
from vqfusion.modalities import in_words, is_listed
from vqfusion.tasks import Answer, Task

if TYPE_CHECKING:
    from vqfusion.types import Sample


class SlotWay(Way[Task, Job]):
    """Eight inputs at once; texts and distributions are printed as soon as they are known."""

    doing = "working"
    model_option = (Model, DEFAULT_MODEL)

    def plan(self, items: Sequence[Item]) -> list[Job]:
        task, request = self.task, self.request
        names = [item.name for item in items] or [task.name]
        many = len(items) > 1 or any(item.from_folder for item in items)
        planned = outputs.plan(
            names, task.result, task.name, request.output, request.samples, folder=many, force=request.force
        )
        paths = planned or [[] for _ in names]
        self.jobs = [
            Job(item=item, model=request.model or DEFAULT_MODEL, paths=own)
            for item, own in zip(items or (None,), paths, strict=True)
        ]
        self.prints = not planned and not request.json
        self.bar = not self.prints
        self.answers: list[Answer] = []
        return self.jobs

    def refusal(self, model: str, kind: str) -> str | None:
        if kind in ("system", "latent-diffusion"):
            return None
        from vqfusion.models.kinds import KINDS

        return f"model {model!r} is a {kind}, {KINDS[kind].use}; give a system such as {DEFAULT_MODEL}"

    def batches(self, jobs: Sequence[Job], kinds: dict[str, str]) -> list[list[Job]]:
        return [list(jobs[at : at + BATCH]) for at in range(0, len(jobs), BATCH)]

    def read(self, job: Job) -> "Sample":
        assert job.item is not None
        return job.item.read()

    def finish(self, batch: Sequence[Job], given: "Sequence[Sample]", answer: Answer) -> None:
        pairs = zip([job.item for job in batch if job.item], given, strict=True)
        left_out = [f"{item.source}: {line}" for item, one in pairs for line in one.notes]
        answer = replace(answer, warnings=(*left_out, *answer.warnings))
        if self.prints:
            show([job.item.source if job.item and len(self.jobs) > 1 else "" for job in batch], answer)
            warn(line for line in answer.warnings if not any(line in earlier.warnings for earlier in self.answers))
        for i, job in enumerate(batch):
            if job.paths:
                write(answer, i, job, self.request.force)
        self.answers.append(answer)

    def report(self) -> dict[str, Any]:
        task, request, done = self.task, self.request, self.answers
        report: dict[str, Any] = {"task": task.name, "options": asdict(task), "model": self.jobs[0].model}
        report |= {"seed": request.seed, "nfe": sum(answer.nfe for answer in done)}
        report["seconds"] = round(sum(answer.seconds for answer in done), 3)
        report["warnings"] = list(dict.fromkeys(line for answer in done for line in answer.warnings))
        report["inputs"] = [job.item.source for job in self.jobs if job.item is not None]
        if is_listed(task.result):
            report["distributions"] = [names for answer in done for names in answer.distributions]
        elif in_words(task.result):
            report["texts"] = [[sample.data for sample in item] for answer in done for item in answer.samples]
        if self.jobs[0].paths:
            report["outputs"] = [[str(path) for path in job.paths] for job in self.jobs]
        return report

    def say(self, report: dict[str, Any]) -> None:
        if not self.prints:
            print("\n".join(path for row in report["outputs"] for path in row))
            warn(report["warnings"])


def write(answer: Answer, i: int, job: Job, force: bool) -> None:
    """Item `i` of an answer as the files of its job."""
    from vqfusion.data.io import write as write_file
    from vqfusion.types import Sample

    if answer.distributions:
        outputs.write_json(job.paths[0], answer.distributions[i], force)
    elif in_words(modality := answer.samples[i][0].modality):
        lines = "\n".join(sample.data for sample in answer.samples[i])
        write_file(Sample(modality, lines), job.paths[0], force)
    else:
        for sample, path in zip(answer.samples[i], job.paths, strict=True):
            write_file(sample, path, force)


def show(names: Sequence[str], answer: Answer) -> None:
    """Texts, one a line, or distributions as a table each, beside the names of their inputs where there are several."""
    for name, texts in zip(names, answer.samples, strict=False):
        for text in texts:
            print(f"{name}\t{text.data}" if name else text.data, flush=True)
    if not answer.distributions:
        return
    from rich.console import Console
    from rich.table import Table

    for name, distribution in zip(names, answer.distributions, strict=True):
        table = Table(title=name or None, title_justify="left")
        table.add_column("name")
        table.add_column("probability", justify="right")
        for label, probability in distribution.items():
            table.add_row(label, f"{probability:.3f}")
        Console(markup=False, emoji=False).print(table)


def warn(lines: Iterable[str]) -> None:
    """Lines for the user on standard error."""
    for line in dict.fromkeys(lines):
        print(f"vqfusion: {line}", file=sys.stderr)
