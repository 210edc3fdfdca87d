"""Baselines of one data set for the tasks of a model, each fitted once to the train part."""

from typing import Any

from vqfusion.config import ChainConfig
from vqfusion.data import Dataset, Record
from vqfusion.data.record import in_turn
from vqfusion.evaluate.baselines.classifiers import MOST, Classifier
from vqfusion.evaluate.baselines.memory import TranslationMemory
from vqfusion.evaluate.baselines.ngrams import CharacterModel
from vqfusion.modalities import MODALITIES, in_words
from vqfusion.models.fusion.slots import SlotName

FEW = 64  # texts of which there are no more are names

Pair = tuple[tuple[str, ...], str]
"""Given slots and target."""


def in_order(dataset: Dataset, split: str) -> list[Record]:
    """Records of a split in the order of `in_turn`."""
    return in_turn(dataset.select(split))


def pairs_of(chain: ChainConfig) -> list[Pair]:
    """Given slots and target of each draw that names its slots, and of further targets of the same given ones.

    Names come first; a name from nothing is no task.
    """
    slots, found = chain.fusion.slots, dict[Pair, None]()
    for draw in chain.draws:
        for target in (one for group in (draw.target, *draw.also) for one in group):
            if {*draw.given, target} <= slots.keys() and not slots[target].is_length:
                found[draw.given, target] = None
    made = {pair: slots[pair[1]].shape != (1,) for pair in found}
    return sorted((pair for pair in found if pair[0] or made[pair]), key=lambda pair: made[pair])


def is_word(slot: str) -> bool:
    """Whether a slot holds names or texts."""
    modality = SlotName.parse(slot).modality
    return modality not in MODALITIES or not MODALITIES[modality].rank


class Rivals:
    """Classifiers of names, translation memories and models of letters, fitted when they are first asked for."""

    def __init__(self, dataset: Dataset):
        self.train = in_order(dataset, "train")
        self.made: dict[tuple[str, ...], Any] = {}

    def prepare(self, chain: ChainConfig) -> None:
        """Fit the baselines of all tasks of a chain."""
        for given, target in pairs_of(chain):
            if chain.fusion.slots[target].shape == (1,) or (given and self.is_few(target)):
                self.classifier(given, target)
            elif not is_word(target):
                self.judge(given, target)
            elif not given:
                self.letters(target)
            elif source := self.source(given):
                self.memory(source, target)

    def is_few(self, slot: str) -> bool:
        """Whether the texts of a slot are so few that they are names."""
        if not in_words(SlotName.parse(slot).modality):
            return False
        return len({record.load(slot).data for record in self.train if slot in record.sources}) <= FEW

    def source(self, given: tuple[str, ...]) -> str | None:
        """Text among the given slots."""
        return next((one for one in given if in_words(SlotName.parse(one).modality)), None)

    def classifier(self, given: tuple[str, ...], names: str) -> tuple[str, Classifier] | None:
        """First given slot that has a classifier, fitted to its names; None where there is none to fit."""
        slot = next((one for one in given if Classifier.takes(SlotName.parse(one).modality)), None)
        if slot is None:
            return None
        fitted = self._once("names", slot, names, lambda: self._classifier(slot, names))
        return None if fitted is None else (slot, fitted)

    def judge(self, given: tuple[str, ...], target: str) -> tuple[str, Classifier] | None:
        """Names that a picture or sound is made from, with a classifier of real ones; None where there is none."""
        names = next((one for one in given if is_word(one)), None)
        if names is None or not Classifier.takes(SlotName.parse(target).modality):
            return None
        if len({record.load(names).data for record in self._having(target, names)}) > FEW:
            return None
        fitted = self._once("names", target, names, lambda: self._classifier(target, names))
        return None if fitted is None else (names, fitted)

    def memory(self, source: str, target: str) -> TranslationMemory:
        """Translation memory of two text slots."""
        records = self._having(source, target)
        texts = [[record.load(slot).data for record in records] for slot in (source, target)]
        memory: TranslationMemory = self._once("memory", source, target, lambda: TranslationMemory(*texts))
        return memory

    def letters(self, slot: str) -> CharacterModel:
        """Model of the letters of a text slot."""
        texts = (record.load(slot).data for record in self._having(slot))
        letters: CharacterModel = self._once("letters", slot, "", lambda: CharacterModel(texts))
        return letters

    def _classifier(self, slot: str, names: str) -> Classifier | None:
        records = self._having(slot, names)
        known = [record.load(names).data for record in records]
        if len(set(known)) < 2:
            return None
        return Classifier(SlotName.parse(slot).modality, len(known)).fit([one.load(slot) for one in records], known)

    def _having(self, *slots: str) -> list[Record]:
        return [record for record in self.train if {*slots} <= record.sources.keys()][:MOST]

    def _once(self, kind: str, one: str, other: str, make: Any) -> Any:
        key = (kind, one, other)
        if key not in self.made:
            self.made[key] = make()
        return self.made[key]
