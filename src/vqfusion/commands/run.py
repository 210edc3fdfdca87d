"""Runs a task from the inputs of the command to its results."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vqfusion.commands import outputs
from vqfusion.commands.failures import Failures
from vqfusion.commands.inputs import collect
from vqfusion.commands.options import Request
from vqfusion.commands.progress import tracked
from vqfusion.commands.restoration import RestorationWay
from vqfusion.commands.slots import SlotWay
from vqfusion.commands.way import Job, Way
from vqfusion.errors import UserError
from vqfusion.tasks import Answer, Task

if TYPE_CHECKING:
    from vqfusion.types import Sample

WAYS: dict[str, type[Way[Any, Any]]] = {"slots": SlotWay, "restoration": RestorationWay}


def run(task: Task, arguments: list[str], request: Request) -> None:
    """Plan outputs, read inputs, run the models, and write or print the results.

    Of several inputs, those that fail are skipped and listed at the end, with exit code 2.

    Args:
        task: The task with its options.
        arguments: Inputs of the command.
        request: Common options.
    """
    with outputs.destination(request.output, request.json) as output:
        way = WAYS[task.way](task, replace(request, output=output))
        inputs = collect(arguments, task.accepts, way.made)
        failures = Failures(several=len(inputs.items) > 1)
        jobs = way.plan(inputs, failures)
        outputs.check_single(request.output, [path for job in jobs for path in job.files])
        inputs.say(request.json)
        done = _work(way, jobs, failures)
        failures.check(done)
        report = way.report({"left_out": inputs.left_out, "failed": failures.rows})
        if request.json:
            print(json.dumps(report, ensure_ascii=False))
        else:
            way.say(report)
    failures.end()


def _work(way: Way[Any, Any], jobs: Sequence[Job], failures: Failures) -> int:
    """Read inputs, run models and write results batch by batch; returns the number of finished jobs."""
    from vqfusion.data.content import item_numbers

    models = Models(way)
    kinds = {name: models.find(name) for name in dict.fromkeys(job.model for job in jobs)}
    batches, seen = way.batches(jobs, kinds), set[int]()
    done = 0
    for batch in tracked(batches, way.doing, way.bar and len(batches) > 1):
        taken: list[Taken] = []
        for job in batch:
            with failures.skipping(job.source):
                if job.item is None:
                    taken.append(Taken(job))
                else:
                    given = way.read(job)
                    taken.append(Taken(job, given, item_numbers([given], seen)))
        for part, answer in _ask(way, models, taken, failures):
            for i, one in enumerate(part):
                with failures.skipping(one.job.source):
                    way.finish(one.job, one.given, answer, i)
                    done += 1
    return done


@dataclass(frozen=True)
class Taken:
    """A job with its input and the number that seeds its samples; both are missing where it has no input."""

    job: Job
    given: "Sample | None" = None
    number: tuple[int, ...] = ()


def _ask(
    way: Way[Any, Any], models: "Models", taken: list[Taken], failures: Failures
) -> list[tuple[list[Taken], Answer]]:
    """Results of a batch; where it fails as a whole, those of its items one by one."""
    from vqfusion.models.sampling import Sampling

    if not taken:
        return []
    request, model = way.request, models.load(taken[0].job.model)
    sampling = Sampling(
        samples=request.samples,
        seed=request.seed,
        steps=request.steps,
        items=tuple(number for one in taken for number in one.number),
    )
    try:
        return [(taken, way.task(model, [one.given for one in taken if one.given is not None] or None, sampling))]
    except UserError:
        if len(taken) == 1:
            with failures.skipping(taken[0].job.source):
                raise
            return []
    return [answered for one in taken for answered in _ask(way, models, [one], failures)]


class Models:
    """Models of one call of a command, each looked up once, and loaded when its first input has been read."""

    def __init__(self, way: Way[Any, Any]):
        self._way = way
        self._found: dict[str, Path] = {}
        self._loaded: dict[str, Any] = {}

    def find(self, name: str) -> str:
        """Kind of a model; UserError where it is missing or cannot do the task."""
        from vqfusion.hub import find_model
        from vqfusion.models.kinds import kind_of

        self._found[name] = find_model(name)
        kind = kind_of(self._found[name])
        if refusal := self._way.refusal(name, kind):
            raise UserError(refusal)
        return kind

    def load(self, name: str) -> Any:
        """Load a model."""
        from vqfusion.models.kinds import open_model

        if name not in self._loaded:
            self._loaded[name] = open_model(self._found[name], self._way.request.device)
        return self._loaded[name]
