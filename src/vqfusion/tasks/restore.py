"""Tasks that make a damaged signal whole: the damaged view is given, the clean one is the target."""

from dataclasses import MISSING, dataclass
from typing import TYPE_CHECKING, ClassVar

from vqfusion.data.io import read
from vqfusion.tasks.task import Answer, Task, option, task

if TYPE_CHECKING:
    from vqfusion.models.system import Sampling, System
    from vqfusion.tasks.task import Samples


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
    """Clean a noisy voice."""

    name: ClassVar[str] = "enhance"
    accepts: ClassVar[tuple[str, ...]] = ("audio",)
    gives: ClassVar[str] = "audio"

    def __call__(self, system: "System", sample: "Samples", sampling: "Sampling") -> Answer:
        return self.generate(system, {"audio@noisy": sample}, "audio", sampling)
