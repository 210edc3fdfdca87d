"""Tasks on speech: speak, transcribe and recognise the speaker."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from vqfusion.tasks.task import ONE, Answer, Task, as_list, named, option, shown_in, task, text_slot

if TYPE_CHECKING:
    from vqfusion.models.fusion.system import System
    from vqfusion.models.sampling import Sampling
    from vqfusion.tasks.task import Samples


@task
@dataclass(frozen=True)
class Speak(Task):
    """Say a text aloud."""

    name: ClassVar[str] = "speak"
    accepts: ClassVar[tuple[str, ...]] = ("text",)
    gives: ClassVar[str] = "audio"
    language: str = option("en", "language of the text")
    speaker: str | None = option(
        None, "voice, see `vqfusion doctor`; default: one that said the name in training, by the seed"
    )

    def __call__(self, system: "System", sample: "Samples", sampling: "Sampling" = ONE) -> Answer:
        given: dict[str, Any] = {text_slot(system, self.language): sample}
        if self.speaker is None:
            given, lines = shown_in(system, given, "audio", "speaker", sampling.seed)
            return self.generate(system, given, "audio", sampling, warnings=lines)
        given["speaker"] = named(system, "speaker", self.speaker)
        return self.generate(system, given, "audio", sampling, warnings=self.unheard(system, given))

    def unheard(self, system: "System", given: dict[str, Any]) -> tuple[str, ...]:
        """A warning for each given name that the chosen speaker never said in training, where others did."""
        slot, lines = f"text:{self.language}", []
        for text in {one.data for one in as_list(given[slot], "text")}:
            heard = system.taught.labels_for("audio", slot, text, "speaker")
            if heard and self.speaker not in heard:
                some = ", ".join(heard[:3])
                lines.append(f"{self.speaker} never said {text!r} in training, so it may not be understood; {some} did")
        return tuple(lines)


@task
@dataclass(frozen=True)
class Transcribe(Task):
    """Write down what a voice says."""

    name: ClassVar[str] = "transcribe"
    accepts: ClassVar[tuple[str, ...]] = ("audio",)
    gives: ClassVar[str] = "text"
    language: str = option("en", "language that is spoken")

    def __call__(self, system: "System", sample: "Samples", sampling: "Sampling" = ONE) -> Answer:
        return self.generate(system, {"audio": sample}, text_slot(system, self.language), sampling)


@task
@dataclass(frozen=True)
class Speaker(Task):
    """Tell who speaks, as a probability for each voice."""

    name: ClassVar[str] = "speaker"
    accepts: ClassVar[tuple[str, ...]] = ("audio",)
    gives: ClassVar[str] = "label"

    def __call__(self, system: "System", sample: "Samples", sampling: "Sampling" = ONE) -> Answer:
        return self.distribute(system, {"audio": sample}, "speaker")
