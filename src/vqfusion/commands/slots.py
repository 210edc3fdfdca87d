"""How the command runs tasks over slots: a model over codes generates a slot."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from vqfusion.commands import outputs
from vqfusion.commands.failures import Failures
from vqfusion.commands.inputs import Inputs, Item
from vqfusion.commands.options import Model
from vqfusion.commands.say import say
from vqfusion.commands.way import BATCH, Job, Way
from vqfusion.hub import DEFAULT_MODEL
from vqfusion.modalities import in_words, is_listed
from vqfusion.tasks import Answer, Task

if TYPE_CHECKING:
    from vqfusion.types import Sample


class SlotWay(Way[Task, Job]):
    """Runs eight inputs at once; prints texts and distributions as soon as they are known."""

    doing = "working"
    model_option = (Model, DEFAULT_MODEL)

    def plan(self, inputs: Inputs, failures: Failures) -> list[Job]:
        task, request = self.task, self.request
        items: Sequence[Item | None] = inputs.items or [None]
        names = [task.name if item is None else item.name for item in items]
        planned = outputs.plan(
            names, task.result, task.name, request.output, request.samples, inputs.are_many, request.force
        )
        self.model = request.model or DEFAULT_MODEL
        self.prints = not planned and not request.json
        self.bar = not self.prints
        self.names_inputs = len(items) > 1
        self.nfe, self.seconds = 0, 0.0
        self.warnings: dict[str, None] = {}
        self.rows: list[dict[str, Any]] = []
        paths = planned or [[] for _ in names]
        return [Job(item=item, model=self.model, paths=own) for item, own in zip(items, paths, strict=True)]

    def refusal(self, model: str, kind: str) -> str | None:
        if kind in self.task.kinds:
            return None
        from vqfusion.models.kinds import KINDS

        return f"model {model!r} is a {kind}, {KINDS[kind].use}; give a system such as {DEFAULT_MODEL}"

    def batches(self, jobs: Sequence[Job], kinds: dict[str, str]) -> list[list[Job]]:
        return [list(jobs[at : at + BATCH]) for at in range(0, len(jobs), BATCH)]

    def read(self, job: Job) -> "Sample":
        assert job.item is not None
        return job.item.read()

    def finish(self, job: Job, given: "Sample | None", answer: Answer, i: int) -> None:
        row: dict[str, Any] = {"outputs": [str(path) for path in job.paths]}
        if job.paths:
            write(answer, i, job, self.request.force)
        if answer.decisions:
            row["decisions"] = [asdict(one) for one in answer.decisions]
        elif answer.distributions:
            row["distributions"] = answer.distributions[i]
        elif in_words(self.task.result):
            row["texts"] = [sample.data for sample in answer.samples[i]]
        if job.item is not None:
            row["inputs"] = job.item.source
        warnings = (*(f"{job.source}: {line}" for line in given.notes), *answer.warnings) if given else answer.warnings
        if self.prints:
            show(job.source if self.names_inputs else "", row)
            warn(line for line in warnings if line not in self.warnings)
        if i == 0:  # warnings that concern all items
            self.nfe, self.seconds = self.nfe + answer.nfe, self.seconds + answer.seconds
        self.warnings |= dict.fromkeys(warnings)
        self.rows.append(row)

    def report(self, skipped: dict[str, Any]) -> dict[str, Any]:
        task, rows = self.task, self.rows
        report: dict[str, Any] = {"task": task.name, "options": asdict(task), "model": self.model}
        report |= {"seed": self.request.seed, "nfe": self.nfe, "seconds": round(self.seconds, 3)}
        report["warnings"] = list(self.warnings)
        report["inputs"] = [row["inputs"] for row in rows if "inputs" in row]
        for what, is_it in (("distributions", is_listed), ("texts", in_words)):
            if is_it(task.result) and all(what in row for row in rows):
                report[what] = [row[what] for row in rows]
        if any("decisions" in row for row in rows):
            report["decisions"] = [one for row in rows for one in row["decisions"]]
        if any(row["outputs"] for row in rows):
            report["outputs"] = [row["outputs"] for row in rows]
        return report | skipped

    def say(self, report: dict[str, Any]) -> None:
        if not self.prints:
            for path in (path for row in report.get("outputs", ()) for path in row):
                print(path)
            warn(report["warnings"])


def write(answer: Answer, i: int, job: Job, force: bool) -> None:
    """Write item `i` of the results to the files of its job.

    Args:
        answer: The results.
        i: Index of the item.
        job: Its job.
        force: Overwrite existing files.
    """
    from vqfusion.data.io import write as write_file
    from vqfusion.types import Sample

    if answer.decisions:
        outputs.write_json(job.paths[0], [asdict(one) for one in answer.decisions], force)
    elif answer.distributions:
        outputs.write_json(job.paths[0], answer.distributions[i], force)
    elif in_words(modality := answer.samples[i][0].modality):
        lines = "\n".join(sample.data for sample in answer.samples[i])
        write_file(Sample(modality, lines), job.paths[0], force)
    else:
        for sample, path in zip(answer.samples[i], job.paths, strict=True):
            write_file(sample, path, force)


def show(name: str, row: dict[str, Any]) -> None:
    """Print texts, one per line, or a distribution as a table, with the name of the input where there are several."""
    for text in row.get("texts", ()):
        print(f"{name}\t{text}" if name else text, flush=True)
    from rich.console import Console
    from rich.table import Table

    if "decisions" in row:
        Console(markup=False, emoji=False).print(decided(row["decisions"]))
        return
    if "distributions" not in row:
        return
    table = Table(title=name or None, title_justify="left")
    table.add_column("name")
    table.add_column("probability", justify="right")
    for label, probability in row["distributions"].items():
        table.add_row(label, f"{probability:.3f}")
    Console(markup=False, emoji=False).print(table)


def decided(decisions: Sequence[dict[str, Any]]) -> Any:
    """Table of decisions: the most probable name, the set, the action, and what to acquire next."""
    from rich.table import Table

    table = Table(
        "case", "most probable", f"holds the truth ({decisions[0]['coverage']:.0%})", "action", "acquire next"
    )
    for number, one in enumerate(decisions, start=1):
        name, probability = next(iter(one["probabilities"].items()))
        held = ", ".join(one["names"][:3]) + (f" and {len(one['names']) - 5} more" if len(one["names"]) > 5 else "")
        action = "abstain" if one["action"] is None else f"{one['action']} ({one['expected_cost']:.3g})"
        best = one["acquire"][0] if one["acquire"] else None
        gain = f"{best['slot']}: {best['bits']:.2f} bits, saves {best['saving']:.3g}" if best else ""
        table.add_row(str(number), f"{name} {probability:.3f}", held or "no name: unlike the calibration", action, gain)
    return table


def warn(lines: Iterable[str]) -> None:
    """Print warnings on standard error."""
    for line in dict.fromkeys(lines):
        say(line)
