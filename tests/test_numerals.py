"""Digits that are seen, heard and named: the data of the model `digits`, and the public sets."""

import json

import pytest
import torch

import vqfusion
from vqfusion.data import PUBLIC, open_dataset, public
from vqfusion.data.numerals import NAMES, UNHEARD, held_out_items
from vqfusion.data.record import Record, by_hash, in_turn
from vqfusion.demo.numerals import every_direction
from vqfusion.demo.stage import Stage
from vqfusion.errors import UserError
from vqfusion.train.fusion.public import PUBLIC as PUBLIC_RECIPES
from vqfusion.train.fusion.recipe import RECIPES


def test_each_language_has_ten_different_names():
    assert len(NAMES) == 24
    for language, line in NAMES.items():
        assert len(set(line.split())) == 10, language


def test_the_items_that_ship_are_two_pictures_and_two_clips_of_each_digit():
    records = held_out_items().records
    for slot in ("image", "audio"):
        held = [one for one in records if slot in one.slots]
        assert sorted(one.key for one in held) == sorted(2 * "0123456789")
        assert {one.split for one in held} == {"test"}
    for record in records:
        assert record.load("label").data == record.key
        assert record.load("text:de").data == NAMES["de"].split()[int(record.key)]
        if "image" in record.slots:
            picture = record.load("image").data
            assert picture.shape == (1, 32, 32) and picture.max() > 0.9 and not picture[:, :2].any()
        else:
            sound = record.load("audio")
            assert record.held_out == "voice" and record.load("speaker").data == UNHEARD
            assert sound.sample_rate_hz == 8000 and 0.1 < sound.data.shape[1] / 8000 < 1.5


def test_what_is_held_out_is_never_trained_on():
    try:
        data = open_dataset("numerals")
    except UserError as error:
        pytest.skip(str(error))
    voices = {
        split: {r.load("speaker").data for r in data.select(split, slots=("audio",))} for split in ("train", "val")
    }
    assert UNHEARD not in voices["train"] | voices["val"] and len(voices["train"]) == 5
    unheard = [one for one in data.records if one.held_out]
    assert {one.load("speaker").data for one in unheard} == {UNHEARD} and len(unheard) == 500
    assert len(data.select("test", slots=("image",))) == 1505
    shipped = torch.stack([r.load("image").data for r in held_out_items().records if "image" in r.slots])
    test = torch.stack([r.load("image").data for r in data.select("test", slots=("image",))])
    assert all((test == one).flatten(1).all(1).any() for one in shipped)


def test_records_come_in_turn_of_their_keys():
    records = [Record(key, "train", sources={}) for key in "aaabbc"]
    found = [one.key for one in in_turn(records)]
    order = sorted("abc", key=by_hash)
    assert found[:3] == order and found[3:5] == [key for key in order if key in "ab"] and found[5:] == ["a"]
    alone = [Record(key, "train", sources={}) for key in "fedcba"]
    assert [one.key for one in in_turn(alone)] == sorted("abcdef", key=by_hash)


def test_the_recipe_asks_for_every_direction():
    chain = RECIPES["digits"]()
    asked = {(given, target) for row in chain.draws for given in row.given for target in row.target}
    kinds = ("image", "audio", "text:*")
    assert {(a, b) for a in kinds for b in kinds if not a == b == "audio" and not a == b == "image"} <= asked
    assert json.loads(chain.model_dump_json())["data"] == "numerals"


def test_public_sets_are_open_by_name_and_have_recipes():
    assert tuple(public.PUBLIC) == PUBLIC == tuple(PUBLIC_RECIPES)


@pytest.mark.parametrize("name", ["mnist", "clinc150", "snips"])
def test_public_sets_keep_their_parts_apart(name):
    try:
        data = open_dataset(name)
    except UserError as error:
        pytest.skip(str(error))
    train, val, test = ({one.key for one in data.select(split)} for split in ("train", "val", "test"))
    assert train and val and test and not train & val and not train & test and not val & test
    assert all(data.records[i].load(slot) for i in (0, -1) for slot in data.records[i].slots)


def test_spoken_digits_hold_out_the_speaker_that_is_named():
    try:
        data = public.open_fsdd("lucas")
    except UserError as error:
        pytest.skip(str(error))
    assert {one.load("speaker").data for one in data.select("test")} == {"lucas"}
    assert len(data.select("test")) == 500 and len(data.select("val")) == 250
    with pytest.raises(UserError, match="lucas"):
        public.open_fsdd("bob")


def test_the_demo_shows_what_the_shipped_model_reads_hears_draws_and_says():
    stage = Stage(vqfusion.load("digits"), held_out_items())
    section = every_direction(stage)
    assert section.asked == 30 and section.right >= 27
    assert [one["digit"] for one in section.items] == list(range(10))
    assert section.body.count("<audio") == 20
