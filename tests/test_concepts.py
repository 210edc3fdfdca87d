"""What codes say about names: mutual information against closed forms, and a probe against chance."""

import math

import numpy as np
import pytest

from vqfusion.data import Dataset, Record
from vqfusion.inspect.concepts import concepts, measure_concept, mutual_information_bits
from vqfusion.tokenizers.text import TextTokenizer
from vqfusion.types import Sample


def test_mutual_information_is_that_of_the_joint_table():
    truth = np.array([0, 0, 1, 1])
    own = np.array([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    assert mutual_information_bits(own, truth) == pytest.approx(1), "a code for each name"
    assert mutual_information_bits(np.full((4, 2), 0.5), truth) == pytest.approx(0, abs=1e-12)
    channel = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]])
    noise = -(0.9 * math.log2(0.9) + 0.1 * math.log2(0.1))
    assert mutual_information_bits(channel, truth) == pytest.approx(1 - noise), "a binary symmetric channel"


def test_names_are_told_from_codes_that_know_them_and_not_from_others():
    generator = np.random.default_rng(0)
    truth = np.arange(120) % 3
    told = generator.poisson(np.where(np.arange(9) // 3 == truth[:, None], 8.0, 2.0)) + 1e-9
    known = measure_concept("label", told, truth)
    assert known.accuracy > 0.9 and 0.1 < known.bits < known.entropy_bits == pytest.approx(math.log2(3))
    chance = measure_concept("label", generator.poisson(4.0, (120, 9)) + 1e-9, truth)
    assert chance.accuracy < 0.5 and chance.bits < 0.02 and chance.commonest == pytest.approx(1 / 3)


def test_every_slot_of_names_with_enough_items_has_its_row():
    texts = ["a red apple", "a green pear", "the dark sky", "the bright moon"] * 15
    tokenizer = TextTokenizer.train(texts, 280)
    records = []
    for i, text in enumerate(texts):
        data = {"text:en": Sample("text", text), "label": Sample("label", "food" if text[1] == " " else "sky")}
        data["alone"] = Sample("label", str(i))
        records.append(Record(str(i), "train", sources={slot: lambda one=one: one for slot, one in data.items()}))
    [row] = concepts(tokenizer, Dataset("texts", records), None, 256)
    assert (row.slot, row.names, row.items, row.accuracy) == ("label", 2, 60, 1.0)
    assert concepts(tokenizer, Dataset("none", records[:5]), None, 256) == []
