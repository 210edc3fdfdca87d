"""What a smaller model is judged by, on records of one's own: one class for each kind of model."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vqfusion.data import Record
from vqfusion.errors import UserError
from vqfusion.models.fusion.system import System
from vqfusion.models.restoration.any_size import AnySizePrior
from vqfusion.models.restoration.fitted import FittedSample
from vqfusion.models.restoration.prior import Prior

LEVELS = (0.02, 0.1, 0.2)  # noise, as shares of the range of the values
SIDES = {1: 8192, 2: 128, 3: 32}  # longest side of a crop, by rank
DRAWS = 4  # random masks of a likelihood


class Measure(ABC):
    """Score of a network on records.

    Attributes:
        name: What is measured, in words.
        unit: Its unit.
        higher_is_better: Whether more is better.
        file: Weights of the network in the folder of the model.
    """

    name: ClassVar[str]
    unit: ClassVar[str]
    higher_is_better: ClassVar[bool]
    file: ClassVar[str]

    @property
    @abstractmethod
    def network(self) -> nn.Module:
        """Network whose weights are rounded."""

    @abstractmethod
    def score(self, records: Sequence[Record]) -> float:
        """The measure on records; the same for the same weights."""

    @classmethod
    @abstractmethod
    def fitting(cls, model: Any, records: Sequence[Record]) -> list[Record]:
        """Records that hold what the model is judged on."""

    def loss(self, before: float, after: float) -> float:
        """How much worse a score is, in the unit."""
        return before - after if self.higher_is_better else after - before


class PriorMeasure(Measure):
    """PSNR of denoising at 2, 10 and 20 % of the range of the values, mean over crops and levels."""

    name, unit, higher_is_better, file = "PSNR of denoising", "dB", True, Prior.weights

    def __init__(self, prior: Prior):
        self.prior = prior

    @property
    def network(self) -> nn.Module:
        return self.prior

    @classmethod
    def fitting(cls, model: Any, records: Sequence[Record]) -> list[Record]:
        return [one for one in records if model.config.modality in one.slots]

    @torch.no_grad()
    def score(self, records: Sequence[Record]) -> float:
        low, high = self.prior.config.value_range
        found = []
        for i, record in enumerate(records):
            x = self._crop(record)
            any_size = AnySizePrior(self.prior, x.shape[1])
            for level in LEVELS:
                sigma = level * (high - low)
                noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(i))
                error = any_size.denoise(x + sigma * noise, sigma).clamp(low, high) - x
                found.append(20 * math.log10(high - low) - 10 * math.log10(float(error.square().mean()) + 1e-12))
        return sum(found) / len(found)

    def _crop(self, record: Record) -> Tensor:
        """Middle of the signal `[1, C, *size]`."""
        y = FittedSample.of(record.load(self.prior.config.modality), self.prior).y[:1]
        side = SIDES[y.ndim - 2]
        for axis in range(2, y.ndim):
            size = min(side, y.shape[axis])
            y = y.narrow(axis, (y.shape[axis] - size) // 2, size)
        return y


class SystemMeasure(Measure):
    """Upper bound on the bits of each slot given all others, in a mean over slots and records."""

    name, unit, higher_is_better, file = (
        "bits per token of each slot given the others",
        "bits",
        False,
        ("fusion.safetensors"),
    )

    def __init__(self, system: System):
        if system.fusion is None:
            raise UserError("this system has no transformer yet; train it first")
        self.system = system

    @property
    def network(self) -> nn.Module:
        assert self.system.fusion is not None
        return self.system.fusion

    @classmethod
    def fitting(cls, model: Any, records: Sequence[Record]) -> list[Record]:
        known = set(model.config.fusion.slots)
        return [one for one in records if len(known & set(one.slots)) > 1]

    @torch.no_grad()
    def score(self, records: Sequence[Record]) -> float:
        known = self.system.config.fusion.slots
        found = []
        for record in records:
            samples = {slot: record.load(slot) for slot in record.slots if slot in known}
            for slot, target in samples.items():
                given = {name: sample for name, sample in samples.items() if name != slot}
                found.append(self.system.likelihood(given, {slot: target}, draws=DRAWS).bits_per_token)
        return sum(found) / len(found)


MEASURES: dict[str, type[Measure]] = {"prior": PriorMeasure, "system": SystemMeasure}


def measure_of(model: Any) -> Measure:
    """Measure for a model; UserError for kinds that are not compressed."""
    if model.kind not in MEASURES:
        raise UserError(f"a {model.kind} is not compressed; give a {' or a '.join(MEASURES)}")
    return MEASURES[model.kind](model)  # type: ignore[call-arg]
