"""Distillation of a prior: a smaller network learns the answers of a larger one (Hinton, Vinyals, Dean, 2015)."""

from collections.abc import Callable
from pathlib import Path

import torch

from vqfusion.config import PriorTrainingConfig
from vqfusion.errors import UserError
from vqfusion.models.restoration.prior import NoisyBatch, Prior

Batches = Callable[[int, int, int], NoisyBatch]


def load_teacher(training: PriorTrainingConfig, folder: Path) -> Prior:
    """The prior to learn from; UserError where its data are not those of the training."""
    teacher: Prior = Prior.from_pretrained(folder)
    for name in ("modality", "channels", "value_range", "sample_rate_hz"):
        theirs, ours = getattr(teacher.config, name), getattr(training.prior, name)
        if theirs != ours:
            raise UserError(f"distill: {training.distill} has {name} {theirs} and the prior {ours}; give both the same")
    for crop in (training.crop, training.late_crop or training.crop):
        if crop % teacher.multiple:
            raise UserError(
                f"distill: crops of {crop} are no multiple of {teacher.multiple}; {training.distill} needs it"
            )
    return teacher


def taught_by(teacher: Prior, batches: Batches) -> Batches:
    """The same batches with the answers of a teacher in place of the clean data.

    The answer is the mean of what the data may have been, and that is what the network learns from the data too, but
    for their scatter about it, which only slows it down.
    """

    def answered(step: int, rank: int, processes: int) -> NoisyBatch:
        batch = batches(step, rank, processes)
        with torch.no_grad():
            return batch._replace(clean=teacher.answer(batch))

    return answered
