"""Tasks on text: write, translate and classify."""

from dataclasses import MISSING, dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from vqfusion.errors import UserError
from vqfusion.modalities import in_words
from vqfusion.models.sampling import Distribution
from vqfusion.tasks.task import ONE, Answer, Task, as_list, option, task, text_slot, together

if TYPE_CHECKING:
    from vqfusion.models.fusion.system import System
    from vqfusion.models.sampling import Sampling
    from vqfusion.tasks.task import Samples


@task
@dataclass(frozen=True)
class Write(Task):
    """Write a text, freely or from its beginning."""

    name: ClassVar[str] = "write"
    accepts: ClassVar[tuple[str, ...]] = ("text",)
    gives: ClassVar[str] = "text"
    needs_input: ClassVar[bool] = False
    language: str = option("en", "language to write in")

    def __call__(self, system: "System", sample: "Samples", sampling: "Sampling" = ONE) -> Answer:
        known = None if sample is None else (sample, None)
        return self.generate(system, {}, text_slot(system, self.language), sampling, known=known)


@task
@dataclass(frozen=True)
class Translate(Task):
    """Translate a text."""

    name: ClassVar[str] = "translate"
    accepts: ClassVar[tuple[str, ...]] = ("text",)
    gives: ClassVar[str] = "text"
    target: str = option(MISSING, "language to translate into", flag="--to")
    source: str = option("en", "language of the text", flag="--from")
    via: str | None = option(
        None, "language to go through; default: none, or the model's first where it was never trained on the pair"
    )

    def __call__(self, system: "System", sample: "Samples", sampling: "Sampling" = ONE) -> Answer:
        source, target = text_slot(system, self.source), text_slot(system, self.target)
        via = self.via or self.detour(system)
        if via is None:
            return self.generate(system, {source: sample}, target, sampling)
        between = text_slot(system, via)
        first = self.generate(system, {source: sample}, between, replace(sampling, samples=1))
        second = self.generate(system, {between: [one[0] for one in first.samples]}, target, sampling)
        nfe, seconds = first.nfe + second.nfe, first.seconds + second.seconds
        return replace(second, nfe=nfe, seconds=seconds, warnings=first.warnings)

    def detour(self, system: "System") -> str | None:
        """First language of the model that was trained together with both, where the pair itself was not; else None."""
        trained = system.config.trained_together
        if trained(self.source, self.target):
            return None
        others = [name for name in system.config.languages if name not in (self.source, self.target)]
        return next((name for name in others if trained(self.source, name) and trained(name, self.target)), None)


@task
@dataclass(frozen=True)
class Classify(Task):
    """Tell what kind of thing a picture, a sound or a text is, with probabilities."""

    name: ClassVar[str] = "classify"
    accepts: ClassVar[tuple[str, ...]] = ("image", "audio", "text")
    gives: ClassVar[str] = "label"
    language: str = option("en", "language, where the input is a text")
    top: int = option(5, "how many names to give")
    slot: str | None = option(
        None, "slot of the names, such as emotion; default: label, or the only other one that the model has"
    )

    def __post_init__(self) -> None:
        if self.top < 1:
            raise UserError(f"--top {self.top}: give at least one name")

    def __call__(self, system: "System", sample: "Samples", sampling: "Sampling" = ONE) -> Answer:
        answers, target = [], self.slot or self.classes(system)
        for one in as_list(sample):
            slot = text_slot(system, self.language) if in_words(one.modality) else one.modality
            answers.append(self.distribute(system, {slot: one}, target))
        answer = together(answers)
        shown = [Distribution(list(names.items())[: self.top]) for names in answer.distributions]
        return replace(answer, distributions=shown)

    def classes(self, system: "System") -> str:
        """Slot of the names where none is asked for: the only one beside speaker and style, else the label."""
        others = [name for name in system.slots if name not in (self.gives, "speaker", "style")]
        named = [name for name in others if system.tokenizers[name].closed]
        return named[0] if self.gives not in system.slots and len(named) == 1 else self.gives
