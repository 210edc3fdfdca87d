"""The one way from the inputs of a verb to its results."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from vqfusion.commands.inputs import collect
from vqfusion.commands.options import Request
from vqfusion.commands.progress import tracked
from vqfusion.commands.restoration import RestorationWay
from vqfusion.commands.slots import SlotWay
from vqfusion.commands.way import Way
from vqfusion.errors import UserError
from vqfusion.tasks import Task

WAYS: dict[str, type[Way[Any, Any]]] = {"slots": SlotWay, "restoration": RestorationWay}


def run(task: Task, arguments: list[str], request: Request) -> None:
    """Plan the outputs, read the inputs, ask the models, write or print the answers."""
    from vqfusion.data.content import item_numbers
    from vqfusion.models.sampling import Sampling

    way = WAYS[task.way](task, request)
    jobs = way.plan(collect(arguments, task.accepts))
    models = Models(way)
    kinds = {name: models.find(name) for name in dict.fromkeys(job.model for job in jobs)}
    sampling = Sampling(samples=request.samples, seed=request.seed, steps=request.steps)
    batches, seen = way.batches(jobs, kinds), Counter[int]()
    for batch in tracked(batches, way.doing, way.bar and len(batches) > 1):
        given = [way.read(job) for job in batch if job.item is not None]
        numbered = replace(sampling, items=item_numbers(given, seen))
        answer = task(models.load(batch[0].model), given or None, numbered)
        way.finish(batch, given, answer)
        del given, answer
    report = way.report()
    if request.json:
        print(json.dumps(report, ensure_ascii=False))
    else:
        way.say(report)


class Models:
    """The models of one call of a verb: each is looked up once, and loaded once, when its first input is at hand."""

    def __init__(self, way: Way[Any, Any]):
        self._way = way
        self._found: dict[str, Path] = {}
        self._loaded: dict[str, Any] = {}

    def find(self, name: str) -> str:
        """The kind of a model; UserError where there is none of that name, or it cannot do the task."""
        from vqfusion.hub import find_model
        from vqfusion.models.kinds import kind_of

        self._found[name] = find_model(name)
        kind = kind_of(self._found[name])
        if refusal := self._way.refusal(name, kind):
            raise UserError(refusal)
        return kind

    def load(self, name: str) -> Any:
        """The model, ready to be asked."""
        from vqfusion.models.kinds import open_model

        if name not in self._loaded:
            self._loaded[name] = open_model(self._found[name], self._way.request.device)
        return self._loaded[name]
