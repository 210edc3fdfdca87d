"""Validation on the way: the best weights are kept, training stops, goes on exactly, and ends with its time."""

import json
import time

import pytest
import torch
from accelerate import Accelerator

from vqfusion.config import ChainConfig, ShortConfig, StageConfig
from vqfusion.data import Dataset, Record
from vqfusion.models.fusion.system import System
from vqfusion.nn.weights import load_json, load_weights
from vqfusion.train.fusion.held_out import gap_in_words
from vqfusion.train.fusion.own_data import expand
from vqfusion.train.fusion.trainer import train
from vqfusion.train.loop.accelerator import make_accelerator
from vqfusion.train.loop.fit import fit
from vqfusion.train.loop.pace import fraction_done, learning_rate
from vqfusion.train.loop.signals import Interrupted
from vqfusion.train.loop.steps import share, step_generator
from vqfusion.train.loop.validation import Found, Validation
from vqfusion.types import Sample

STAGE = StageConfig(steps=40, batch=4, warmup_steps=2, precision="fp32", learning_rate=3e-2, validations=10)


class Net(torch.nn.Module):
    """Learns to add two numbers."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.map = torch.nn.Linear(2, 1)

    def loss(self, x):
        return (self.map(x) - x.sum(dim=1, keepdim=True)).square().mean(), {}


def batches(step: int, rank: int, processes: int) -> torch.Tensor:
    return torch.stack([torch.randn(2, generator=step_generator(0, step, i)) for i in share(range(4), rank, processes)])


def fitted(folder, measure, stage=STAGE, **more):
    validation = Validation(folder, measure, stage.validations, stage.patience)
    contract = json.dumps([stage.model_dump(mode="json")])
    net = fit(Net(), batches, stage, folder, contract, Accelerator(cpu=True), validation=validation, show=False, **more)
    return net, validation


def nearest_half(net) -> Found:
    """Best where the first weight is 0.5, through which it passes on its way to 1."""
    away = abs(float(net.map.weight[0, 0].detach()) - 0.5)
    return Found((away,), {"away": away})


def test_the_best_weights_are_kept_and_training_stops_after_patience(tmp_path):
    _, whole = fitted(tmp_path / "whole", nearest_half)
    assert [line["step"] for line in whole.lines] == [4 * i for i in range(1, 11)]
    best = min(range(10), key=lambda i: whole.lines[i]["away"])
    assert 0 < best <= 6, "the best is neither the first nor the last"
    net, stopped = fitted(tmp_path / "short", nearest_half, STAGE.model_copy(update={"patience": 2}))
    assert [line["step"] for line in stopped.lines] == [4 * i for i in range(1, best + 4)]
    assert stopped.lines == whole.lines[: best + 3]
    assert nearest_half(net).values["away"] == pytest.approx(stopped.best["away"], rel=1e-6)
    assert json.loads((tmp_path / "short" / "validation.jsonl").read_text().splitlines()[best]) == stopped.best
    again, twice = fitted(tmp_path / "short", nearest_half, STAGE.model_copy(update={"patience": 2}))
    assert twice.lines == stopped.lines and torch.equal(again.map.weight, net.map.weight), "it does not go on"
    longer, more = fitted(tmp_path / "short", nearest_half, STAGE.model_copy(update={"patience": 8}))
    assert len(more.lines) > len(stopped.lines) and more.lines == whole.lines[: len(more.lines)]


def test_a_resumed_run_has_the_validations_of_one_that_was_never_stopped(tmp_path):
    net, whole = fitted(tmp_path / "whole", nearest_half)
    with pytest.raises(Interrupted):
        fitted(tmp_path / "parts", nearest_half, stop_after=18)
    parted, parts = fitted(tmp_path / "parts", nearest_half)
    assert parts.lines == whole.lines and torch.equal(parted.map.weight, net.map.weight)


def test_a_stage_with_minutes_ends_with_its_time_and_its_schedule(tmp_path):
    stage = STAGE.model_copy(update={"steps": 10**6, "minutes": 3 / 60, "validations": 4})

    def slow(step: int, rank: int, processes: int) -> torch.Tensor:
        time.sleep(0.02 if step % 2 else 0.05)
        return batches(step, rank, processes)

    validation = Validation(tmp_path, nearest_half, 4, 0)
    started = time.monotonic()
    fit(Net(), slow, stage, tmp_path, "[]", Accelerator(cpu=True), validation=validation, show=False)
    assert time.monotonic() - started == pytest.approx(3, rel=0.1)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["learning_rate"] < 0.01 * stage.learning_rate and len(validation.lines) == 4
    seconds = time.monotonic()
    fit(Net(), slow, stage, tmp_path, "[]", Accelerator(cpu=True), show=False)
    assert time.monotonic() - seconds < 1, "its time is over"
    longer = stage.model_copy(update={"minutes": 4 / 60})
    fit(Net(), slow, longer, tmp_path, "[]", Accelerator(cpu=True), show=False)
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) > len(lines)


def test_the_pace_is_that_of_the_steps_or_of_the_time():
    timed = StageConfig(steps=100, minutes=1, warmup_steps=50, learning_rate=1.0)
    assert fraction_done(timed, 10, 30.0) == 0.5 and fraction_done(timed, 70, 30.0) == 0.7
    assert fraction_done(timed, 10, 90.0) == 1.0 and fraction_done(StageConfig(steps=0), 0, 0.0) == 1.0
    assert learning_rate(timed, 10, 0.5) == pytest.approx(0.5), "the warm-up is over"
    assert learning_rate(timed, 10, 1.0) == 0.0


def moods(count: int = 200) -> Dataset:
    """Sentences whose second word is their label."""
    parts = ("train",) * 6 + ("val", "val", "test", "test")
    rows = [(f"a {mood} thing number {i}", mood, parts[i // 2 % 10]) for i in range(count) for mood in ("good", "bad")]
    return Dataset(
        "moods",
        [
            Record(
                text,
                split,
                sources={"text:en": lambda t=text: Sample("text", t), "label": lambda m=mood: Sample("label", m)},
            )
            for text, mood, split in rows
        ],
    )


def short(**more) -> ChainConfig:
    base = {"name": "x", "data": "moods", "size": "tiny", "batch": 16, "steps": 60}
    return expand(ShortConfig(**base | more), moods())


@pytest.mark.slow
def test_a_classifier_is_judged_by_its_answers_and_says_what_it_has_learned(tmp_path):
    system = train(short(), tmp_path, make_accelerator("cpu"), moods())
    lines = [json.loads(line) for line in (tmp_path / "fusion" / "validation.jsonl").read_text().splitlines()]
    assert lines[0].keys() == {"step", "score", "loss", "error text:en>label"}
    assert lines[-1]["score"] == [lines[-1]["error text:en>label"], lines[-1]["loss"]]
    test = moods().select("test")
    found = system.distribution({"text:en": [one.load("text:en") for one in test]}, "label")
    right = sum(next(iter(one)) == record.load("label").data for one, record in zip(found, test, strict=True))
    assert right / len(test) > 0.95
    outcome = load_json(tmp_path / "validation.json")
    assert outcome["best_step"] <= outcome["last_step"] <= 60 and "new records" in outcome["gap"]
    best = load_weights(tmp_path / "fusion" / "best.safetensors")
    loaded = System.from_pretrained(tmp_path)
    for name, value in loaded.fusion.state_dict().items():
        assert torch.allclose(value.float(), best[name].float(), rtol=1e-2, atol=1e-3), name


@pytest.mark.slow
def test_minutes_are_those_of_the_whole_training_and_may_change(tmp_path):
    started = time.monotonic()
    train(short(steps=None, minutes=0.5, patience=0), tmp_path, make_accelerator("cpu"), moods())
    assert 0.7 * 30 < time.monotonic() - started < 1.2 * 30  # 5 % of minutes, as real ones are, on a free machine
    steps = load_json(tmp_path / "validation.json")["last_step"]
    train(short(steps=None, minutes=0.7, patience=0), tmp_path, make_accelerator("cpu"), moods())
    assert load_json(tmp_path / "validation.json")["last_step"] > steps


def test_the_gap_is_told_in_words():
    assert "by heart" in gap_in_words(0.01, 0.8, 4000) and "4,000" in gap_in_words(0.01, 0.8, 4000)
    assert "as usual" in gap_in_words(0.5, 0.8, 40)
    assert "longer training" in gap_in_words(0.5, 0.55, 40)
