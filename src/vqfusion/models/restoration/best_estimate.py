"""The estimate with the least squared error: one call, or plug-and-play through a schedule of noise levels."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vqfusion.diffusion.operators import JPEG, Denoise, Downsample, Mask
from vqfusion.diffusion.posterior.proximal import plug_and_play
from vqfusion.diffusion.posterior.question import Question, noise_levels, sloped
from vqfusion.nn.windows import box_mean

SLOPE = 0.011  # slope of the error of a denoiser of photographs, see `sloped`


@dataclass(frozen=True)
class Schedule:
    """Noise levels of plug-and-play from `first` to `last`, in sample units; number of steps and momentum."""

    first: float
    last: float
    steps: int
    momentum: float


HOLES = Schedule(0.05, 0.01, 12, 0.7)
SCHEDULES = {"mask": HOLES, "gaps": HOLES, "stft_mask": HOLES}
OTHER = Schedule(0.1, 0.02, 8, 0.5)
PICTURE = Schedule(0.2, 0.01, 12, 0.5)  # for holes in pictures and for their enlargement
# for priors that know holes and uneven noise: told a level, they take away the noise that they see and smooth less
TRAINED = Schedule(1.0, 0.2, 12, 0.7)
FILLED = Schedule(1.0, 0.1, 12, 0.5)  # for their masks, from what one call fills in
SCATTERED, NEAR = 0.4, 4  # first level where every lost value has known ones within so many positions
# all numbers were chosen on pictures that were not in training: docs/restoration.md, docs/restoring.md


def best_estimate(question: Question, steps: int | None) -> Float[Tensor, "B C ..."]:
    """Estimate with the least squared error.

    Args:
        question: What is asked, of all items.
        steps: Network evaluations; None takes those of the operator.

    Returns:
        The estimate.
    """
    operator, sigma, learned = question.operator, question.sigma, getattr(question.prior, "learned", ())
    if isinstance(operator, Denoise) and sigma[0].numel() == 1:
        return question.prior.denoise(question.y, sigma.flatten().expand(len(question.y)))
    if isinstance(operator, Denoise) and "uneven" in learned:
        return question.prior.denoise(question.y, sigma.expand(len(question.y), *sigma.shape[1:]))
    if isinstance(operator, Mask) and "holes" in learned:
        seen = (operator.weights(question.y) > 0).expand_as(question.y)
        start = _filled(question, seen)
        if steps == 1:
            return start
        near = (box_mean(seen.to(question.y.dtype), NEAR) > 0).flatten(1).all(dim=1)
        return _climbed(question, start, FILLED, steps, torch.where(near, SCATTERED, FILLED.first))
    schedule = SCHEDULES.get(operator.kind, OTHER)
    if question.y.ndim == 4 and isinstance(operator, Mask | Downsample):
        schedule = PICTURE
    if "holes" in learned:
        schedule = TRAINED
    if isinstance(operator, JPEG):
        level = operator.level * (3 if "holes" in learned else 1)  # see TRAINED
        schedule = Schedule(level, level / 2, 2, 0.0)
    return _climbed(question, operator.first_guess(question.y), schedule, steps)


def _filled(question: Question, seen: Bool[Tensor, "B C ..."]) -> Tensor:
    """What one call of a prior that knows holes makes of those of a mask."""
    answer = question.prior.denoise(question.y, torch.where(seen, question.sigma, torch.inf))
    return torch.where(seen & (question.sigma == 0), question.y, answer)


def _climbed(
    question: Question, start: Tensor, schedule: Schedule, steps: int | None, first: Tensor | None = None
) -> Tensor:
    """Plug-and-play from a start through the levels of a schedule, from a first level of its own for each item."""
    lowest = torch.full((len(start),), schedule.first, device=start.device) if first is None else first
    highest = torch.maximum(question.sigma.flatten(1).amax(1).expand(len(start)), lowest.to(start.dtype))
    levels = noise_levels(highest, torch.full_like(highest, schedule.last), steps or schedule.steps)
    return plug_and_play(question, start, levels, sloped(SLOPE), schedule.momentum)
