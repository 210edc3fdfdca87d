"""What a prior is asked and what it is compared with, in training without clean data."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from vqfusion.config import PriorTrainingConfig
from vqfusion.diffusion.gaussian.odd_areas import clipped_ends
from vqfusion.models.restoration.own_noise import held_out
from vqfusion.models.restoration.prior import Prior
from vqfusion.nn.blind_spot import corners, separated, spots
from vqfusion.train.codec.crops import random_box
from vqfusion.train.loop.steps import share, step_generator
from vqfusion.train.restoration.damage import turned
from vqfusion.train.restoration.noisy.choose import Chosen
from vqfusion.train.restoration.noisy.signals import NoisySignals

NEAR, FAR = (0.4, 1.6), 8.0  # ratio of the noise that is added to the noise that is there: mostly, and at most
SELDOM = 0.15  # fraction of the items with a ratio above NEAR, for samplers, and of those without a level
CONSISTENT = 1.0  # weight of the regulariser of Huang et al. (2021), eq. 6


class Lesson(NamedTuple):
    """A training batch; all tensors are `[B, C, *size]` but `halves`.

    Attributes:
        given: Noisy data that the network sees.
        level: Noise levels that it receives, 0 for unknown.
        target: Other noisy data of the same scene.
        weight: Weight of each squared error; 0 where there is nothing to compare with.
        halves: For each cell of 2 elements along each axis, the two elements that become `given` and `target` of
            coarser signals `[B, 2, *cells]`, for the method "neighbours".
    """

    given: Float[Tensor, "B C ..."]
    level: Float[Tensor, "B C ..."]
    target: Float[Tensor, "B C ..."]
    weight: Float[Tensor, "B C ..."]
    halves: Int[Tensor, "B 2 ..."]

    @property
    def items(self) -> int:
        """Number of signals."""
        return len(self.given)

    def to(self, device: torch.device) -> "Lesson":
        """The batch on another device."""
        return Lesson(*(tensor.to(device) for tensor in self))


class Taught(nn.Module):
    """A prior with the loss of its lessons."""

    def __init__(self, prior: Prior):
        super().__init__()
        self.prior = prior

    def loss(self, lesson: Lesson) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Weighted squared error against noisy data, and its value without weights."""
        noise = self.prior.config.noise
        assert noise is not None
        if noise.method == "neighbours":
            return self._of_neighbours(lesson)
        if noise.method == "blind_spot":
            corner = corners(noise.cell)[int(lesson.halves.flatten()[0])]
            chosen = spots(lesson.given.shape[2:], noise.cell, corner)
            made = self.prior.at_blind_spots(lesson.given, chosen)
            return _error(made, lesson.target, lesson.weight * chosen)
        return _error(self.prior._clean(lesson.given, lesson.level), lesson.target, lesson.weight)

    def _of_neighbours(self, lesson: Lesson) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Neighbor2Neighbor (Huang et al., 2021), eq. 6: one half of the elements from the other."""
        untold = torch.zeros_like(lesson.level)
        first, second = halves(lesson.given, lesson.halves)
        weights = torch.minimum(*halves(lesson.weight, lesson.halves))
        made = self.prior._clean(first, halves(untold, lesson.halves)[0])
        with torch.no_grad():
            whole = halves(self.prior._clean(lesson.given, untold), lesson.halves)
        loss, report = _error(made, second, weights)
        between, _ = _error(made - second, whole[0] - whole[1], weights)
        return loss + CONSISTENT * between, report


def halves(
    x: Float[Tensor, "B C ..."], places: Int[Tensor, "B 2 ..."]
) -> tuple[Float[Tensor, "B C ..."], Float[Tensor, "B C ..."]]:
    """Two signals of half the size, each of one element of every cell of 2 along each axis.

    Args:
        x: Signals with even axes.
        places: Number of the element in each cell, two for each.

    Returns:
        The two signals.
    """
    rank = x.ndim - 2
    parts = torch.stack(separated(x, (2,) * rank).chunk(2**rank), dim=2)  # [B, C, 2^rank, *cells]
    chosen = [places[:, i, None, None].expand(-1, x.shape[1], -1, *parts.shape[3:]) for i in (0, 1)]
    return parts.gather(2, chosen[0])[:, :, 0], parts.gather(2, chosen[1])[:, :, 0]


def lessons(data: NoisySignals, chosen: Chosen, training: PriorTrainingConfig) -> Callable[[int, int, int], Lesson]:
    """Batches of random crops, determined by the step.

    A few elements (`held_out`), at places that depend on the signal only, is never compared with, so that errors there
    can be measured after training.
    """
    weights = [compared(signal, i) for i, signal in enumerate(data.signals)]
    sizes = torch.tensor([float(signal[0].numel()) ** 0.5 for signal in data.signals])

    def batches(step: int, rank: int, processes: int) -> Lesson:
        batch = training.stage.batch
        common = step_generator(training.seed, step, batch)
        corner = int(torch.randint(10**6, (1,), generator=common))
        items = []
        for item in share(range(batch), rank, processes):
            generator = step_generator(training.seed, step, item)
            items.append(_item(data, chosen, training, weights, sizes, corner, generator))
        return Lesson(*(torch.stack(parts) for parts in zip(*items, strict=True)))

    return batches


def compared(signal: Float[Tensor, "C ..."], number: int) -> Float[Tensor, "C ..."]:
    """1 where a signal may be compared with, 0 at its held-out and its clipped elements."""
    low, high = clipped_ends(signal)
    return ((signal > low) & (signal < high) & ~held_out(signal.shape, number)).float()


def _item(
    data: NoisySignals,
    chosen: Chosen,
    training: PriorTrainingConfig,
    weights: list[Tensor],
    sizes: Tensor,
    corner: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    noise, rank, crop = chosen.noise, training.prior.rank, training.crop
    number, other = _signal(chosen, sizes, generator)
    size = tuple(crop * step for step in noise.stride)
    stacked = _at_least(data.signals[number], data.signals[other], weights[number] * weights[other], size)
    box = random_box(stacked, size, generator)
    part = int(torch.randint(2**30, (1,), generator=generator))
    parts = separated(box[None], noise.stride)
    box = parts[part % len(parts)]
    if rank > 1 and len(set(noise.reach)) == 1:
        box = turned(box, generator)
    y, target, weight = box.chunk(3)
    level, places = torch.zeros_like(y), torch.zeros(2, *[1] * rank, dtype=torch.long)
    if noise.method == "recorrupted":
        y, target, level, weight = _recorrupted(y, weight, chosen, number, training, generator)
    if noise.method == "neighbours":
        cells = tuple(n // 2 for n in y.shape[1:])
        places = torch.rand(2**rank, *cells, generator=generator).argsort(0)[:2]
    if noise.method == "blind_spot":
        places = places + corner % len(corners(noise.cell))
    usual = max(chosen.levels[number], 1e-6)
    return y, level, target, weight / usual**2, places


def _at_least(y: Tensor, target: Tensor, weight: Tensor, size: tuple[int, ...]) -> Tensor:
    """Channels of y, target and weight, padded at their ends to a size; nothing is compared with in the padding."""
    missing = [max(0, least - n) for n, least in zip(y.shape[1:], size, strict=True)]
    pads = [pad for more in reversed(missing) for pad in (0, more)]
    if not any(pads):
        return torch.cat([y, target, weight])
    edged = functional.pad(torch.cat([y, target])[None], pads, mode="replicate")[0]
    return torch.cat([edged, functional.pad(weight, pads)])


def _signal(chosen: Chosen, sizes: Tensor, generator: torch.Generator) -> tuple[int, int]:
    """A signal, and the one that it is compared with: of a repeated acquisition its neighbour in time, else itself."""
    if chosen.noise.method != "pairs":
        number = int(torch.multinomial(sizes, 1, generator=generator))
        return number, number
    group = chosen.repeats[int(torch.randint(len(chosen.repeats), (1,), generator=generator))]
    place = int(torch.randint(len(group) - 1, (1,), generator=generator))
    pair = group[place], group[place + 1]
    return pair if float(torch.rand(1, generator=generator)) < 0.5 else pair[::-1]


def _recorrupted(
    y: Tensor,
    weight: Tensor,
    chosen: Chosen,
    number: int,
    training: PriorTrainingConfig,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two independent noisy versions of noisy data (Pang et al., 2021), for noise of a known level.

    y + a s z and y - s z / a, with the level s of the noise and normal z, have independent noise: the covariance is s^2
    - s^2 = 0. The network is told the level s sqrt(1 + a^2) of the first one. Small a mean much noise in the target, so
    that squared errors count by a^2 / (1 + a^2).
    """
    curve, most = chosen.curves[number], training.prior.sigma_range[1]
    level = torch.full_like(y, chosen.levels[number]) if curve is None else curve.sigma(y[None])[0]
    seldom, draw, untold = torch.rand(3, generator=generator).tolist()
    low, high = NEAR
    ratio = low * (high / low) ** draw
    if seldom < SELDOM:
        ratio = high * (FAR / high) ** draw
    ratio = min(ratio, max(high, most / max(float(level.max()), 1e-6)))
    z = level * torch.randn(y.shape, generator=generator)
    told = level * (1 + ratio**2) ** 0.5 * (untold >= SELDOM)
    return y + ratio * z, y - z / ratio, told, weight * ratio**2 / (1 + ratio**2)


def _error(made: Tensor, target: Tensor, weight: Tensor) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """Weighted mean of the squared errors; the report has the root of the one where the weight is not 0."""
    errors = (made - target).square()
    loss = (weight * errors).sum() / (weight > 0).sum().clamp(min=1)
    counted = errors.detach()[weight.expand_as(errors) > 0]
    return loss, {"error": counted.mean().sqrt() if counted.numel() else loss.detach()}
