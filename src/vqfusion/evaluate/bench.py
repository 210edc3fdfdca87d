"""The bench: one system, one data set, and the operations that the rows of the table are made of."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vqfusion.evaluate.metrics import Proportion
from vqfusion.evaluate.report import Row
from vqfusion.modalities import MODALITIES
from vqfusion.types import Sample

if TYPE_CHECKING:
    from vqfusion.data import Dataset, Record
    from vqfusion.models.fusion.system import System


@dataclass(frozen=True)
class Bench:
    """Everything that a row of the table needs.

    Attributes:
        system: The model.
        dataset: Data that the system was trained on, with all splits.
        split: "test" for results, "val" for decisions during development.
        limit: Largest number of items of each row.
        seed: Random seed.
        progress: Called with messages.
        everything: Data set with also the records that only some tasks were trained on.
    """

    system: "System"
    dataset: "Dataset"
    split: str = "test"
    limit: int | None = None
    seed: int = 0
    progress: Callable[[str], None] = lambda text: None
    everything: "Dataset | None" = None

    def held_out(self, kind: str, *slots: str) -> list["Record"]:
        """Records with these slots that training never used: of a held-out "concept", "pair" or "voice".

        In a data set that was split at random, all records of the split.
        """
        return self._fitting(self.dataset.select(self.split, kind if self._kinds else None, slots), slots)

    def unseen(self, kind: str) -> str:
        """Name of such records in the name of a row."""
        words = {"concept": "unseen concepts", "pair": "unseen (concept, style) pairs", "voice": "unseen voices"}
        return words[kind] if self._kinds else f"{self.split} items"

    @property
    def _kinds(self) -> bool:
        return any(record.held_out for record in self.dataset.records)

    def training(self, *slots: str) -> list["Record"]:
        """Training records with these slots."""
        return self._fitting(self.dataset.select("train", slots=slots), slots)

    def learned_from(self, given: str, target: str) -> list["Record"]:
        """Training records that taught the system `target` from `given`; a baseline learns from the same."""
        rows = self.system.config.draws
        beyond = any(row.all_keys and given in row.given and target in row.target for row in rows)
        dataset = self.everything if beyond and self.everything else self.dataset
        return self._fitting(dataset.select("train", slots=(given, target)), (given, target))

    def pick(self, records: Sequence, n: int) -> list:
        """At most `n` and at most `limit` of the records to measure, determined by the seed."""
        return self.sample(records, min(n, self.limit or n))

    def sample(self, records: Sequence, n: int) -> list:
        """At most `n` of the records in their order, without `limit`; for the training of baselines."""
        chosen = random.Random(self.seed).sample(range(len(records)), min(n, len(records)))
        return [records[i] for i in sorted(chosen)]

    def load(self, records: Sequence["Record"], slot: str) -> list[Sample]:
        """Samples of a slot."""
        return [record.load(slot) for record in records]

    def texts(self, records: Sequence["Record"], slot: str) -> list[str]:
        """Texts or names of a slot."""
        return [record.load(slot).data for record in records]

    def pictures(self, samples: Sequence["Record | Sample"]) -> Float[Tensor, "N C S S"]:
        """Pictures in [0, 1] at the size of the system, so that every method is measured on the same pixels."""
        from vqfusion.data.transforms import fit_picture

        loaded = [s if isinstance(s, Sample) else s.load("image") for s in samples]
        side = self.system.image_size
        return torch.stack([fit_picture(sample.data, side).clamp(0, 1) for sample in loaded])

    def sounds(self, records: Sequence["Record"]) -> list[Sample]:
        """Sounds at the sample rate of the system."""
        from vqfusion.data.transforms import resample

        return [resample(sound, self.system.sample_rate_hz) for sound in self.load(records, "audio")]

    def generate(self, given: dict[str, list[Sample]], target: str) -> list[Sample]:
        """One sample for each item, determined by the seed."""
        from vqfusion.models.sampling import Sampling

        made = self.system.generate(given, target, Sampling(seed=self.seed))
        return [samples[0] for samples in made.samples]

    def fill(self, pictures: list[Sample], keep: Bool[Tensor, "H W"]) -> Float[Tensor, "N C S S"]:
        """Pictures with the part outside of `keep` generated."""
        from vqfusion.models.sampling import Sampling

        made = self.system.generate({}, "image", Sampling(seed=self.seed), known=(pictures, keep))
        return self.pictures([samples[0] for samples in made.samples])

    def reconstruct(self, samples: Sequence[Sample]) -> list[Sample]:
        """Samples after encoding and decoding by their tokenizer."""
        return [self.system.reconstruct(sample) for sample in samples]

    def _fitting(self, records: list["Record"], slots: Sequence[str]) -> list["Record"]:
        """Records without the few whose text or sound is too long for its slot."""
        for slot in slots:
            if slot.startswith("text:") and slot in self.system.slots and records:
                encoded = self.system.tokenizers.encode_fitting(slot, self.load(records, slot))
                records = [r for r, ids in zip(records, encoded, strict=True) if ids is not None]
            if slot in MODALITIES and MODALITIES[slot].heard and slot in self.system.slots:
                longest = self.system.tokenizers.longest_s(slot)
                records = [r for r in records if self._lasts(r) <= longest]
        return records

    def _lasts(self, record: "Record") -> float:
        sound = record.load("audio")
        return sound.data.shape[-1] / (sound.sample_rate_hz or self.system.sample_rate_hz)


def row(group: str, what: str, metric: str, result: Proportion | float, unit: str = "", **more) -> Row:
    """Row of the table from a proportion or a number; fractions become percent where the unit is "%"."""
    scale = 100.0 if unit == "%" else 1.0
    if isinstance(result, Proportion):
        more = {"n": result.n, "low": scale * result.low, "high": scale * result.high, **more}
        result = result.value
    return Row(group, what, metric, scale * result, unit, **more)


def top(distribution: dict[str, float]) -> str:
    """Most probable name."""
    return max(distribution, key=distribution.__getitem__)
