"""Tasks that make a damaged signal whole: the damaged view is given, the clean one is the target."""

from dataclasses import MISSING, dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from vqfusion.data.io import read
from vqfusion.tasks.task import Answer, Task, as_list, option, task

if TYPE_CHECKING:
    from vqfusion.models.system import Sampling, System
    from vqfusion.tasks.task import Samples
    from vqfusion.types import Sample


@task
@dataclass(frozen=True)
class Denoise(Task):
    """Clean a noisy picture."""

    name: ClassVar[str] = "denoise"
    accepts: ClassVar[tuple[str, ...]] = ("image",)
    gives: ClassVar[str] = "image"

    def __call__(self, system: "System", sample: "Samples", sampling: "Sampling") -> Answer:
        return self.generate(system, {"image@noisy": sample}, "image", sampling)


@task
@dataclass(frozen=True)
class Upscale(Task):
    """Enlarge a small picture: it is shrunk to 16 pixels a side and drawn anew at full size."""

    name: ClassVar[str] = "upscale"
    accepts: ClassVar[tuple[str, ...]] = ("image",)
    gives: ClassVar[str] = "image"

    def __call__(self, system: "System", sample: "Samples", sampling: "Sampling") -> Answer:
        return self.generate(system, {"image@16": sample}, "image", sampling)


@task
@dataclass(frozen=True)
class Inpaint(Task):
    """Fill in a part of a picture."""

    name: ClassVar[str] = "inpaint"
    accepts: ClassVar[tuple[str, ...]] = ("image",)
    gives: ClassVar[str] = "image"
    mask: str = option(MISSING, "picture of the same size, white where to fill in")

    def __call__(self, system: "System", sample: "Samples", sampling: "Sampling") -> Answer:
        keep = read(self.mask, "image").data.mean(0) < 0.5
        return self.generate(system, {}, "image", sampling, known=(sample, keep))


@task
@dataclass(frozen=True)
class Enhance(Task):
    """Clean a noisy voice; the result lasts as long as the input."""

    name: ClassVar[str] = "enhance"
    accepts: ClassVar[tuple[str, ...]] = ("audio",)
    gives: ClassVar[str] = "audio"

    def __call__(self, system: "System", sample: "Samples", sampling: "Sampling") -> Answer:
        answer = self.generate(system, {"audio@noisy": sample}, "audio", sampling)
        pairs = zip(as_list(sample), answer.samples, strict=True)
        return replace(answer, samples=[[as_long_as(noisy, one) for one in made] for noisy, made in pairs])


def as_long_as(model: "Sample", sound: "Sample") -> "Sample":
    """The sound cut, or filled with silence, to the duration of another."""
    from torch.nn.functional import pad

    assert model.sample_rate_hz and sound.sample_rate_hz
    length = max(1, round(model.data.shape[1] * sound.sample_rate_hz / model.sample_rate_hz))
    return replace(sound, data=pad(sound.data, (0, length - sound.data.shape[1])))
