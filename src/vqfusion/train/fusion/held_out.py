"""Validation of Fusion: its loss, and its answers where names are asked for, on records that it does not learn from."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from vqfusion.config import ChainConfig, DrawConfig
from vqfusion.data import Dataset
from vqfusion.data.record import in_turn
from vqfusion.errors import UserError
from vqfusion.models.fusion.fusion import Fusion, FusionBatch
from vqfusion.models.fusion.generate import given_prefix, slot_distribution
from vqfusion.models.fusion.given import stacked
from vqfusion.models.fusion.slot_tokenizers import SlotTokenizers
from vqfusion.nn.weights import save_json
from vqfusion.train.fusion.draws import DrawSource, TokenRecord
from vqfusion.train.fusion.views import tokenize_records
from vqfusion.train.loop.validation import Found, Validation

MOST_RECORDS, MOST_BATCHES, TIMED_BATCHES, ANSWERED, ROWS = 2000, 48, 12, 768, 64
SHARE = 0.15  # batches of a validation for each batch of training between two; one costs a third of the other


def held_out_tokens(dataset: Dataset, slots: SlotTokenizers, chain: ChainConfig, split: str) -> list[TokenRecord]:
    """Tokens of at most `MOST_RECORDS` records of a split, in the order of `in_turn`."""
    records = in_turn(dataset.select(split=split))
    plain = chain.model_copy(update={"views_per_sample": 1})
    return tokenize_records(replace(dataset, records=records[:MOST_RECORDS]), slots, plain, split, first=False)


@dataclass(frozen=True)
class _Question:
    """A name that is asked for, given other slots."""

    given: tuple[str, ...]
    target: str


class HeldOut:
    """Measures Fusion on fixed draws from some records, always the same.

    The loss is that of training, weighted as the draws, with nothing left out of what is given. Where names are asked
    for, the share of wrong answers is measured too; a model that is asked for nothing else is judged by it first.
    """

    def __init__(self, records: list[TokenRecord], chain: ChainConfig, held_out_pairs: frozenset[frozenset[str]]):
        stage = chain.fusion_stage
        rows = [row for row in map(_as_it_is, chain.draws) if _has(row, records, chain, held_out_pairs)]
        between = stage.draws_per_step * stage.steps / max(1, stage.validations)
        count = TIMED_BATCHES if chain.minutes else min(MOST_BATCHES, max(4, int(SHARE * between)))
        total = sum(row.weight for row in rows) or 1.0
        self.records = records
        self.weighted: list[tuple[float, list[FusionBatch]]] = []
        if rows:
            source = DrawSource(records, chain.model_copy(update={"draws": tuple(rows)}), held_out_pairs)
            for i, row in enumerate(rows):
                many = max(1, round(count * row.weight / total))
                batches = [one for k in range(many) for one in source.batches(row, f"validation/{i}/{k}", 0, 1)]
                self.weighted.append((row.weight / total, batches))
        self.questions = list(dict.fromkeys(one for row in rows for one in _questions(row, chain)))
        targets = {name for row in rows for group in (row.target, *row.also) for name in group}
        asked = {question.target for question in self.questions}
        self.names_only = bool(asked) and targets == asked

    def __call__(self, module: nn.Module) -> Found:
        """Loss, and error of each name that is asked for."""
        assert isinstance(module, Fusion)
        values = {"loss": self.loss(module)}
        errors = [1 - self.accuracy(module, question) for question in self.questions]
        for question, error in zip(self.questions, errors, strict=True):
            values[f"error {'+'.join(question.given)}>{question.target}"] = error
        score = (sum(errors) / len(errors), values["loss"]) if self.names_only else (values["loss"],)
        return Found(score, values)

    @torch.no_grad()
    def loss(self, fusion: Fusion) -> float:
        """Loss of the draws, in nats for each token."""
        device, total = fusion.sink.device, 0.0
        for weight, batches in self.weighted:
            losses = [float(fusion.loss([replace(one, same_given=False).to(device)])[0]) for one in batches]
            total += weight * sum(losses) / len(losses)
        return total

    @torch.no_grad()
    def accuracy(self, fusion: Fusion, question: _Question) -> float:
        """Share of right answers to one question."""
        having = [one for one in self.records if {*question.given, question.target} <= one.slots.keys()]
        right, device = 0, fusion.sink.device
        for at in range(0, len(having[:ANSWERED]), ROWS):
            rows = having[at : min(at + ROWS, ANSWERED)]
            given = {name: stacked([_given(row, name) for row in rows]).to(device) for name in question.given}
            log_p = slot_distribution(fusion, question.target, given_prefix(fusion, given, len(rows)))
            truth = torch.stack([row.slots[question.target].flatten()[0] for row in rows])
            right += int((log_p.argmax(dim=1).cpu() == truth).sum())
        return right / max(1, min(len(having), ANSWERED))


def _given(record: TokenRecord, slot: str) -> Tensor:
    """What a model is given of a record: frames where it has them, else tokens."""
    return record.features[slot].float() if slot in record.features else record.slots[slot]


def _as_it_is(row: DrawConfig) -> DrawConfig:
    """The draw with everything given, and without augmentation."""
    return row.model_copy(update={"hide_given": 0.0, "drop_given": 0.0, "augment": False, "masks": 1})


def _has(row: DrawConfig, records: list[TokenRecord], chain: ChainConfig, pairs: frozenset[frozenset[str]]) -> bool:
    """Whether the records have what a draw needs."""
    try:
        source = DrawSource(records, chain.model_copy(update={"draws": (row,)}), pairs)
        source.batches(row, "try", 0, 1)
    except UserError:
        return False
    return row.weight > 0


def _questions(row: DrawConfig, chain: ChainConfig) -> Iterator[_Question]:
    """Names that a draw asks for, where its slots are of no language that is drawn at random."""
    slots = chain.fusion.slots
    if not all(name in slots for name in row.given):
        return
    for group in (row.target, *row.also):
        if len(group) == 1 and group[0] in slots and slots[group[0]].shape == (1,) and not slots[group[0]].is_length:
            yield _Question(row.given, group[0])


def tell_outcome(validation: Validation, learned: HeldOut, fusion: Fusion, folder: Path) -> None:
    """Write `validation.json`: best step, whether it stopped before its end, and the losses on old and new records."""
    best, last = validation.best, validation.lines[-1] if validation.lines else None
    if best is None or last is None:
        return
    train = learned.loss(fusion)
    outcome = {
        "best_step": best["step"],
        "last_step": last["step"],
        "stopped_early": validation.exhausted,
        "train_loss": round(train, 5),
        "loss": round(best["loss"], 5),
        "records": len(learned.records),
        "gap": gap_in_words(train, best["loss"], len(learned.records)),
    }
    save_json(folder / "validation.json", outcome)


def gap_in_words(train: float, held_out: float, records: int) -> str:
    """What the losses on learned and on new records say together."""
    if held_out > 3 * train and held_out > 0.1:
        return (
            f"it has learned its {records:,} records by heart (loss {train:.3g}) and knows new ones less well "
            f"({held_out:.3g}): more data would help, or a smaller size"
        )
    if held_out > 1.3 * train:
        return f"new records are harder for it ({held_out:.3g}) than its {records:,} own ({train:.3g}), as usual"
    return (
        f"new records are as easy for it ({held_out:.3g}) as its {records:,} own ({train:.3g}): longer training or a "
        "larger size may help"
    )
