"""Frames of animated pictures (GIF, PNG, WebP) after the first, with their durations."""

from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from vqfusion.types import Sample

ANIMATED = ("GIF", "PNG", "WEBP")  # formats of which all frames are read


@dataclass(frozen=True)
class Animation:
    """What an animated picture holds beside its first frame.

    Attributes:
        frames: The other frames, each with its transparency as `extras`.
        durations_ms: How long each frame is shown, the first one included.
        loop: How often it is played, 0 for ever; None once.
    """

    frames: tuple[Sample, ...]
    durations_ms: tuple[float, ...]
    loop: int | None

    @property
    def options(self) -> dict[str, Any]:
        """Arguments with which Pillow writes it."""
        loop = {} if self.loop is None else {"loop": self.loop}
        return {"save_all": True, "duration": [round(one) for one in self.durations_ms], **loop}


def frames_in(picture: Image.Image) -> int:
    """Number of frames that are read from an open file: 1 for formats other than those of `ANIMATED`."""
    return int(getattr(picture, "n_frames", 1)) if picture.format in ANIMATED else 1


def animation_of(sample: Sample) -> Animation | None:
    """The frames of a sample after the first; None where it is no animated picture."""
    return getattr(sample.extras, "animation", None)


def with_animation(sample: Sample, animation: Animation | None) -> Sample:
    """A picture with other further frames, or without any."""
    if sample.extras is None or not hasattr(sample.extras, "animation"):
        return sample
    return replace(sample, extras=replace(sample.extras, animation=animation))
