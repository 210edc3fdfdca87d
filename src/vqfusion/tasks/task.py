"""The task: what is given, what is asked for, and the options of its verb.

A task is a frozen dataclass decorated with `@task`; its fields are the options, the first line of its
docstring is the help, and the command line grows the verb by itself. This file and its siblings import
without torch, so that the help stays quick.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar

from vqfusion.errors import UserError

if TYPE_CHECKING:
    from vqfusion.models.fusion.system import System
    from vqfusion.models.sampling import Sampling
    from vqfusion.types import Sample

    Samples = Sample | list[Sample] | None

LABEL_SLOTS = ("label", "speaker", "style")

TASKS: "dict[str, type[Task]]" = {}


@dataclass(frozen=True)
class Finding:
    """What the restoration of one item says beside its samples.

    `sigma` is the noise level that was used, in the units of the item; `lower` and `upper` hold a share `coverage`
    of the true values, and `measured` of those of data like it, `measured_on`, where that is known; `warnings` are
    lines for the user.
    """

    sigma: float
    coverage: float | None = None
    measured: float | None = None
    measured_on: str = ""
    lower: "Sample | None" = None
    upper: "Sample | None" = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What a task gives back, one entry per item.

    `samples[item][k]` for pictures, sounds and texts; `distributions[item]` (name to probability, largest
    first, each sums to 1) for labels; the other one is empty. `findings[item]` where a prior restored. `target`
    is the slot that was asked for, `nfe` the number of network evaluations, `seconds` the wall-clock time.
    `warnings` are lines for the user.
    """

    task: str
    target: str
    samples: "list[list[Sample]]" = field(default_factory=list)
    distributions: list[dict[str, float]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    nfe: int = 0
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()


def option(default: Any, help: str, flag: str | None = None) -> Any:
    """A field of a task that is an option of its verb; `default` may be `dataclasses.MISSING` (required).

    `flag` names the option where the name of the field cannot, as in `--from`.
    """
    metadata = {"help": help, "flag": flag}
    return field(metadata=metadata) if default is MISSING else field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Task(ABC):
    """The base of all tasks.

    `accepts` lists the modalities of the input (empty: the task takes none), `gives` is the modality of the
    result, `needs_input` is False where the input may be left out. `way` says how the command runs
    it: `slots` (a model over codes is asked for a slot) or `restoration` (a prior, one input at a time).
    """

    name: ClassVar[str]
    accepts: ClassVar[tuple[str, ...]]
    gives: ClassVar[str]
    needs_input: ClassVar[bool] = True
    way: ClassVar[str] = "slots"

    @property
    def result(self) -> str:
        """The modality of the result of this very task."""
        return self.gives

    @abstractmethod
    def __call__(self, system: "System", sample: "Samples", sampling: "Sampling") -> Answer:
        """Do the task for one sample or a list of them; UserError where the model cannot do it."""

    def generate(
        self,
        system: "System",
        given: "dict[str, Any]",
        target: str,
        sampling: "Sampling",
        known: Any = None,
        warnings: tuple[str, ...] = (),
    ) -> Answer:
        """Ask the model for samples of the target slot; `warnings` come before those of the model."""
        made = system.generate(given, target, sampling, known=known)
        lines = (*warnings, *system.warnings(given))
        return Answer(self.name, target, samples=made.samples, nfe=made.nfe, seconds=made.seconds, warnings=lines)

    def distribute(self, system: "System", given: "dict[str, Any]", target: str) -> Answer:
        """Ask the model how probable each name of a label slot is: one network evaluation."""
        start = perf_counter()
        distributions = system.distribution(given, target)
        seconds = perf_counter() - start
        lines = system.warnings(given)
        return Answer(self.name, target, distributions=distributions, nfe=1, seconds=seconds, warnings=lines)


def task(cls: type[Task]) -> type[Task]:
    """Register a task under its name."""
    assert cls.name not in TASKS, f"two tasks are called {cls.name}"
    TASKS[cls.name] = cls
    return cls


def text_slot(system: "System", language: str) -> str:
    """The slot of a language, `text:de`; UserError that lists the languages where the model lacks it."""
    if language not in system.languages:
        raise UserError(f"language {language!r} is not one this model knows; {suggest(language, system.languages)}")
    return f"text:{language}"


def named(system: "System", slot: str, name: str) -> "Sample":
    """The sample of a named class; UserError with the nearest names where the model lacks it."""
    from vqfusion.types import Sample

    names = system.labels(slot)
    if name not in names:
        raise UserError(f"{slot} {name!r} is not one this model knows; {suggest(name, names)}")
    return Sample("label", name)


def shown_in(
    system: "System", given: "dict[str, Any]", target: str, kind: str, seed: int
) -> "tuple[dict[str, Any], tuple[str, ...]]":
    """Add a voice or style for each given text where nobody chose one, and lines for the user.

    A model that is left to pick blends styles, and takes voices that never said a name, in which it is not understood.
    The seed chooses among the labels with which the name was taught.

    Args:
        system: The model; without a slot of this kind nothing is added.
        given: One text slot with its samples.
        target: Slot that is asked for.
        kind: Label slot, "speaker" or "style".
        seed: Seed of the request.
    """
    from vqfusion.types import Sample

    if kind not in system.slots:
        return given, ()
    ((slot, value),) = given.items()
    chosen, lines = [], []
    for sample in as_list(value):
        known = system.taught.labels_for(target, slot, sample.data, kind)
        if not known and target in system.taught.together and sample.data in system.taught.names.get(slot, ()):
            lines.append(f"this model was not taught {sample.data!r} with any {kind}, so the answer is a guess")
        labels = known or system.labels(kind)
        chosen.append(Sample("label", labels[seed % len(labels)]))
    return {**given, kind: chosen if isinstance(value, list) else chosen[0]}, tuple(dict.fromkeys(lines))


def suggest(name: str, names: Sequence[str], most: int = 12) -> str:
    """`choose one of a, b, c`: the names close to the one asked for, else the first few; `it knows none`."""
    from difflib import get_close_matches

    if not names:
        return "it knows none"
    near = get_close_matches(name, names, n=3, cutoff=0.5) if len(names) > most else []
    near = near or list(names)[:most]
    more = f" ({len(names)} in all, see `vqfusion doctor`)" if len(names) > len(near) else ""
    return f"choose one of {', '.join(near)}{more}"


def as_list(sample: "Samples") -> "list[Sample]":
    """One sample or many, always as a list."""
    if sample is None:
        return []
    return sample if isinstance(sample, list) else [sample]


def together(answers: "list[Answer]") -> Answer:
    """The answers of several items as one."""
    return Answer(
        answers[0].task,
        answers[0].target,
        samples=[item for answer in answers for item in answer.samples],
        distributions=[item for answer in answers for item in answer.distributions],
        findings=[item for answer in answers for item in answer.findings],
        nfe=sum(answer.nfe for answer in answers),
        seconds=sum(answer.seconds for answer in answers),
        warnings=tuple(dict.fromkeys(line for answer in answers for line in answer.warnings)),
    )
