"""Restoration of animated pictures frame by frame."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vqfusion.tasks.task import Answer
from vqfusion.watch import told

if TYPE_CHECKING:
    from vqfusion.types import Sample

ENDS = ("lower", "upper")


def frame_by_frame(sample: "Sample", restored: "Callable[[Sample], Answer]") -> Answer:
    """Answer about one sample; of an animated picture each frame is restored by itself, with the same seed.

    Args:
        sample: The sample.
        restored: Restores one sample.

    Returns:
        The answer, whose samples and ends of intervals have all frames; its noise level is that of the first one.
    """
    from vqfusion.data.io.animation import animation_of, with_animation

    animation = animation_of(sample)
    if animation is None:
        return restored(sample)
    every = (with_animation(sample, None), *animation.frames)
    answers = [restored(every[i]) for i in told(range(len(every)))]

    def joined(frames: "list[Sample]") -> "Sample":
        return with_animation(frames[0], replace(animation, frames=tuple(frames[1:])))

    found = [answer.findings[0] for answer in answers]
    ends: dict[str, Any] = {
        end: joined([getattr(one, end) for one in found]) for end in ENDS if getattr(found[0], end) is not None
    }
    lines = tuple(dict.fromkeys(line for one in found for line in one.warnings))
    lines += ("the map of the uncertainty is that of the first frame",) if ends else ()
    draws = zip(*(answer.samples[0] for answer in answers), strict=True)
    return replace(
        answers[0],
        samples=[[joined(list(frames)) for frames in draws]],
        findings=[replace(found[0], **ends, warnings=lines)],
        nfe=sum(answer.nfe for answer in answers),
        seconds=sum(answer.seconds for answer in answers),
    )
