"""Temperature scaling: calibration of the probabilities of labels on validation data."""

import random

import torch

from vqfusion.data import Dataset
from vqfusion.data.record import Record
from vqfusion.models.decision.calibration import fitted_temperature
from vqfusion.models.fusion.slots import SlotName
from vqfusion.models.fusion.system import System

MOST_RECORDS, FEWEST_RECORDS = 512, 20


def calibrated(system: System, dataset: Dataset) -> System:
    """The system with a fitted temperature for each label slot and each modality from which it was trained.

    Fitted on at most `MOST_RECORDS` validation records of known classes; with fewer than `FEWEST_RECORDS`, or without
    validation data, the temperature stays 1.
    """
    slots = system.config.fusion.slots
    for target, slot in slots.items():
        if slot.shape != (1,) or slot.is_length:
            continue
        names = {name: i for i, name in enumerate(system.labels(target))}
        found = {}
        for given in _told_from(system, target):
            records = _records(system, dataset, given, target, names)
            if len(records) < FEWEST_RECORDS:
                continue
            plain = system.distribution({given: [r.load(given) for r in records]}, target, temperature=1.0)
            log_p = torch.tensor([[one[name] for name in names] for one in plain]).clamp(min=1e-30).log()
            truth = torch.tensor([names[record.load(target).data] for record in records])
            found[SlotName.parse(given).modality] = round(fitted_temperature(log_p, truth), 3)
        slots = {**slots, target: slot.model_copy(update={"calibration": found})}
    fusion = system.config.fusion.model_copy(update={"slots": slots})
    return System(system.config.model_copy(update={"fusion": fusion}), system.tokenizers, system.fusion, system.taught)


def _told_from(system: System, target: str) -> list[str]:
    """One slot for each modality from which alone this label is predicted in training; of texts the first language."""
    slots: dict[str, str] = {}
    for row in system.config.draws:
        if len(row.given) == 1 and any(target in group for group in (row.target, *row.also)):
            given = row.given[0].replace("*", system.config.languages[0]).replace("^", system.config.languages[0])
            if given in system.config.fusion.slots:
                slots.setdefault(SlotName.parse(given).modality, given)
    return list(slots.values())


def _records(system: System, dataset: Dataset, given: str, target: str, names: dict[str, int]) -> list[Record]:
    """Validation records of known classes whose samples fit their slots."""
    records = [r for r in dataset.select("val", slots=(given, target)) if r.load(target).data in names]
    chosen = random.Random(0).sample(records, min(MOST_RECORDS, len(records)))
    if not chosen:
        return []
    fitting = system.tokenizers.encode_fitting(given, [record.load(given) for record in chosen])
    return [record for record, ids in zip(chosen, fitting, strict=True) if ids is not None]
