"""Base of all tasks: inputs, result, and the options of the command.

A task is a frozen dataclass decorated with `@task`; its fields are the options, the first line of its docstring is the
help text, and its command is created from it. This package imports without torch, so that the help is quick.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar

from vqfusion.errors import UserError
from vqfusion.models.sampling import Sampling

if TYPE_CHECKING:
    from torch import Tensor

    from vqfusion.models.decision import Decision
    from vqfusion.models.fusion.system import System
    from vqfusion.types import Sample

    Samples = Any  # a Sample, or what `vqfusion.as_sample` takes, or a list of these; None where nothing is given

ONE = Sampling()
LABEL_SLOTS = ("label", "speaker", "style")

TASKS: "dict[str, type[Task]]" = {}


@dataclass(frozen=True)
class Finding:
    """Details of the restoration of one item.

    Attributes:
        sigma: Noise level that was used, in the units of the item; the mean over its channels.
        sigmas: Noise level of each channel of a sound or series; empty where there is one.
        coverage: Nominal fraction of true values within `lower` and `upper`.
        measured: Coverage measured on similar data, where known.
        measured_on: Those data.
        lower: Lower ends of the intervals.
        upper: Upper ends of the intervals.
        drawn: Samples beside the intervals, where both were asked for.
        filled: True at values that were missing, where only these are answered.
        warnings: Warnings for the user, one line each.
        seen: What was seen in the item before, by name, where it was asked for.
        explained: The same in words, one line each.
    """

    sigma: float
    sigmas: tuple[float, ...] = ()
    coverage: float | None = None
    measured: float | None = None
    measured_on: str = ""
    lower: "Sample | None" = None
    upper: "Sample | None" = None
    drawn: "list[Sample]" = field(default_factory=list)
    filled: "Tensor | None" = None
    warnings: tuple[str, ...] = ()
    seen: dict[str, Any] | None = None
    explained: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """Result of a task, one entry per item.

    Attributes:
        task: Name of the task.
        target: Slot or modality of the result.
        samples: `samples[item][k]`, for pictures, sounds, volumes, series and texts.
        distributions: Probability by name for each item, the largest first, for labels.
        findings: Details for each item, where a prior restored it.
        decisions: Decisions, where the task decides.
        nfe: Network evaluations.
        seconds: Elapsed time.
        warnings: Warnings for the user, one line each.
    """

    task: str
    target: str
    samples: "list[list[Sample]]" = field(default_factory=list)
    distributions: Sequence[dict[str, float]] = ()
    findings: list[Finding] = field(default_factory=list)
    decisions: "list[Decision]" = field(default_factory=list)
    nfe: int = 0
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        """The samples or the most probable names of each item, and the warnings, for notebooks."""
        from vqfusion.data.display import html_of_distribution, html_of_rows
        from vqfusion.types import Sample

        names = "".join(map(html_of_distribution, self.distributions))
        return html_of_rows(self.samples) + names + html_of_rows([[Sample("text", line)] for line in self.warnings])


def option(default: Any, help: str, flag: str | None = None, place: str | None = None) -> Any:
    """Field of a task that is an option of its command.

    Args:
        default: Default value; `dataclasses.MISSING` makes the option required.
        help: Help text.
        flag: Name of the option where the field name cannot be used, as for `--from`.
        place: What the option names on the disk of the user: "file" (which is read), "written" (file or folder)
            or "slots" (files by slot). A server takes contents instead of names, and writes nothing.

    Returns:
        The dataclass field.
    """
    metadata = {"help": help, "flag": flag, "place": place}
    return field(metadata=metadata) if default is MISSING else field(default=default, metadata=metadata)


TOKENIZERS_ONLY = "tokenizers only: use it with encode, decode and inspect"


@dataclass(frozen=True)
class Task(ABC):
    """Base of all tasks.

    Attributes:
        name: Name of the task and its command.
        accepts: Modalities of the input; empty where it takes none.
        gives: Modality of the result.
        needs_input: Whether an input is required.
        way: How the command runs the task: `slots` (a model over codes) or `restoration` (a prior, one input at a
            time).
        kinds: Kinds of models that can do it, see `vqfusion.models.kinds.KINDS`.
    """

    name: ClassVar[str]
    accepts: ClassVar[tuple[str, ...]]
    gives: ClassVar[str]
    needs_input: ClassVar[bool] = True
    way: ClassVar[str] = "slots"
    kinds: ClassVar[tuple[str, ...]] = ("system", "latent-diffusion")

    @property
    def result(self) -> str:
        """Modality of the result with these options."""
        return self.gives

    def keeps(self, modality: str) -> bool:
        """Whether an input is read with what its file holds beside the values, see `vqfusion.read`."""
        return False

    @abstractmethod
    def __call__(self, system: "System", sample: "Samples", sampling: "Sampling" = ONE) -> Answer:
        """Run the task.

        Args:
            system: The model.
            sample: One input, a list of inputs, or None.
            sampling: Sampling settings.

        Returns:
            The result.

        Raises:
            UserError: The model cannot do this task, or the input does not fit.
        """

    def generate(
        self,
        system: "System",
        given: "dict[str, Any]",
        target: str,
        sampling: "Sampling",
        known: Any = None,
        warnings: tuple[str, ...] = (),
    ) -> Answer:
        """Draw samples of the target slot from the model.

        Args:
            system: The model.
            given: Samples by slot.
            target: Slot to sample.
            sampling: Sampling settings.
            known: Known part of the target, see `System.generate`.
            warnings: Warnings to put before those of the model.

        Returns:
            The result.
        """
        made = system.generate(given, target, sampling, known=known)
        lines = (*warnings, *system.warnings(given), *made.warnings)
        return Answer(self.name, target, samples=made.samples, nfe=made.nfe, seconds=made.seconds, warnings=lines)

    def distribute(self, system: "System", given: "dict[str, Any]", target: str) -> Answer:
        """Probabilities of the names of a label slot, with one network evaluation."""
        start = perf_counter()
        distributions = system.distribution(given, target)
        seconds = perf_counter() - start
        lines = system.warnings(given)
        return Answer(self.name, target, distributions=distributions, nfe=1, seconds=seconds, warnings=lines)


def task(cls: type[Task]) -> type[Task]:
    """Decorator that registers a task by its name."""
    assert cls.name not in TASKS, f"two tasks are called {cls.name}"
    TASKS[cls.name] = cls
    return cls


def text_slot(system: "System", language: str) -> str:
    """Text slot of a language, such as `text:de`; UserError that lists the languages where the model lacks it."""
    if language not in system.languages:
        known = suggest(language, system.languages) if system.slots else f"it has {TOKENIZERS_ONLY}"
        raise UserError(f"language {language!r} is not one this model knows; {known}")
    return f"text:{language}"


def named(system: "System", slot: str, name: str) -> "Sample":
    """Label sample with this name; UserError with the nearest names where the model lacks it."""
    from vqfusion.types import Sample

    names = system.labels(slot)
    if name not in names:
        raise UserError(f"{slot} {name!r} is not one this model knows; {suggest(name, names)}")
    return Sample("label", name)


def shown_in(
    system: "System", given: "dict[str, Any]", target: str, kind: str, seed: int
) -> "tuple[dict[str, Any], tuple[str, ...]]":
    """Add a speaker or style for each given text where the user chose none.

    A model that is left to choose blends styles, and picks voices that never said the name and are not understood. The
    seed selects among the labels with which the name occurred in training.

    Args:
        system: The model; without a slot of this kind nothing is added.
        given: One text slot with its samples.
        target: Target slot.
        kind: Label slot, "speaker" or "style".
        seed: Seed of the request.

    Returns:
        The given slots with the label slot, and warnings for the user.
    """
    from vqfusion.types import Sample

    if kind not in system.slots:
        return given, ()
    ((slot, value),) = given.items()
    chosen, lines = [], []
    for sample in as_list(value, "text"):
        known = system.taught.labels_for(target, slot, sample.data, kind)
        if not known and target in system.taught.together and sample.data in system.taught.names.get(slot, ()):
            lines.append(f"this model was not taught {sample.data!r} with any {kind}, so the answer is a guess")
        labels = known or system.labels(kind)
        chosen.append(Sample("label", labels[seed % len(labels)]))
    return {**given, kind: chosen if isinstance(value, list) else chosen[0]}, tuple(dict.fromkeys(lines))


def suggest(name: str, names: Sequence[str], most: int = 12) -> str:
    """Phrase `choose one of a, b, c` with the names closest to the requested one, else the first few."""
    from difflib import get_close_matches

    if not names:
        return "it knows none"
    near = get_close_matches(name, names, n=3, cutoff=0.5) if len(names) > most else []
    near = near or list(names)[:most]
    more = f" ({len(names)} in all, see `vqfusion doctor`)" if len(names) > len(near) else ""
    return f"choose one of {', '.join(near)}{more}"


def as_list(sample: "Samples", modality: str | None = None) -> "list[Sample]":
    """List of samples of one or several, or of what `as_sample` takes for them."""
    from vqfusion.data.convert import as_sample

    if sample is None:
        return []
    return [as_sample(one, modality) for one in (sample if isinstance(sample, list) else [sample])]


def together(answers: "list[Answer]") -> Answer:
    """Merge the results of several items."""
    return Answer(
        answers[0].task,
        answers[0].target,
        samples=[item for answer in answers for item in answer.samples],
        distributions=[item for answer in answers for item in answer.distributions],
        findings=[item for answer in answers for item in answer.findings],
        decisions=[item for answer in answers for item in answer.decisions],
        nfe=sum(answer.nfe for answer in answers),
        seconds=sum(answer.seconds for answer in answers),
        warnings=tuple(dict.fromkeys(line for answer in answers for line in answer.warnings)),
    )
