"""Every task on every modality that it takes: what must not matter does not matter (`vqfusion.check_task`)."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import vqfusion
from vqfusion import TASKS, Sample, UserError, check_task
from vqfusion.modalities import MODALITIES
from vqfusion.tasks.restoration import Restoration

GENERATOR = torch.Generator().manual_seed(5)


def noisy(data):
    return data + 0.05 * torch.randn(data.shape, generator=GENERATOR)


def samples_of(modality):
    """Two small noisy samples of a modality."""
    t = torch.linspace(0, 1, 1600)
    if modality == "image":
        rows, columns = torch.meshgrid(torch.linspace(0, 1, 36), torch.linspace(0, 1, 28), indexing="ij")
        smooth = torch.stack([0.3 + 0.4 * rows, 0.5 + 0.3 * torch.sin(6 * columns), 0.2 + 0.5 * rows * columns])
        return [Sample("image", noisy(smooth).clamp(0, 1)), Sample("image", noisy(smooth.flip(1)).clamp(0, 1))]
    if modality == "audio":
        tones = [0.3 * torch.sin(2 * torch.pi * hz * t)[None] for hz in (20, 33)]
        return [Sample("audio", noisy(tone), sample_rate_hz=16000) for tone in tones]
    if modality == "volume":
        axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in (10, 12, 14)], indexing="ij")
        ball = torch.exp(-3 * sum(axis**2 for axis in axes))[None]
        return [Sample("volume", noisy(one), spacing_mm=(1.0, 2.0, 2.0)) for one in (ball, 0.5 * ball)]
    if modality == "series":
        waves = [torch.stack([torch.sin(n * t[:200]), torch.cos(2 * n * t[:200])]) for n in (40, 70)]
        return [Sample("series", noisy(wave), rate_hz=1.0, channel_names=("a", "b")) for wave in waves]
    return [Sample("text", "cat"), Sample("text", "caf\u00e9")]


CASES = [(name, modality) for name, task in TASKS.items() for modality in task.accepts]


def task_for(name, modality, folder):
    """The task with what it cannot do without."""
    if name == "inpaint":
        if MODALITIES[modality].own_units:
            return TASKS[name]()
        mask = folder / ("mask.png" if modality == "image" else "mask.npy")
        if modality == "image":
            marks = np.zeros((36, 28), np.uint8)
            marks[10:16, 8:14] = 255
            Image.fromarray(marks).save(mask)
        else:
            np.save(mask, (np.arange(1600) // 40 == 20).astype(np.float32)[None])
        return TASKS[name](mask=str(mask))
    if name == "deblur":
        return TASKS[name](blur="gaussian:0.7")
    if name == "any":
        return None
    if name == "translate":
        return TASKS[name](target="de")
    return TASKS[name]()


@pytest.fixture(scope="module")
def priors():
    return {name: vqfusion.load(row.prior) for name, row in MODALITIES.items() if row.prior}


@pytest.mark.parametrize(("name", "modality"), CASES, ids=[f"{name} {modality}" for name, modality in CASES])
def test_what_must_not_matter_does_not(name, modality, priors, system, tmp_path):
    task = task_for(name, modality, tmp_path)
    if task is None:
        pytest.skip("`any` is every other task over slots")
    slots = not isinstance(task, Restoration)
    samples = spoken(system) if slots and modality == "audio" else samples_of(modality)
    if name == "inpaint" and MODALITIES[modality].own_units:
        samples = [_with_gap(sample) for sample in samples]
    try:
        report = check_task(task, system if slots else priors[modality], samples, steps=2)
    except UserError as error:
        if "this model has no slot" not in str(error):
            raise
        pytest.skip(f"the model that ships did not learn it: {error}")
    assert {"alone as among others", "twice the same", "given samples are not changed"} <= set(report.kept)


def spoken(system):
    """Two words that the model says itself."""
    said = system.generate({"text:en": ["broccoli", "banana"], "speaker": Sample("label", "clara")}, "audio")
    return [one[0] for one in said.samples]


def _with_gap(sample):
    data = sample.data.clone()
    data[..., 4:7] = float("nan")
    return replace(sample, data=data)


class Broken(TASKS["denoise"]):
    """A denoise with a fault; `fault` changes an answer."""

    def __call__(self, model, sample, sampling):
        answer = super().__call__(model, sample, sampling)
        return self.fault(answer, sample)


def fault(change):
    return type("Fault", (Broken,), {"fault": staticmethod(change)})()


def _data(answer, change):
    return replace(answer, samples=[[replace(s, data=change(s.data)) for s in item] for item in answer.samples])


FAULTS = {
    "alone as among others": lambda answer, given: _data(answer, lambda x: x + 0.01 * len(given)),
    "finite": lambda answer, given: _data(answer, lambda x: torch.where(x > x.mean(), x, float("nan"))),
    "what is known comes back": lambda answer, given: replace(
        answer, samples=[[replace(s, rate_hz=2.0) for s in item] for item in answer.samples]
    ),
    "another unit": lambda answer, given: _data(answer, lambda x: x.clamp(-5, 5)),
    "channels in another order": lambda answer, given: _data(answer, lambda x: (x + x[:1]) / 2),
}


@pytest.mark.parametrize("contract", FAULTS)
def test_each_contract_can_be_broken(contract, priors):
    with pytest.raises(AssertionError, match=f"breaks '{contract}'"):
        check_task(fault(FAULTS[contract]), priors["series"], samples_of("series"), steps=2)
