"""Weights in few bits: exact storage, rounding that allows for the inputs, and a choice that is measured."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_kinds import small_system
from torch import nn

import vqfusion
from vqfusion.compress.compressor import compress, parts_of
from vqfusion.compress.moments import layers_of, moments
from vqfusion.compress.rounding import rounded
from vqfusion.config import PriorConfig
from vqfusion.data import Record
from vqfusion.errors import UserError
from vqfusion.models.restoration.prior import Prior
from vqfusion.nn.few_bits import BITS, KEY, from_bytes, packed_tensors, to_bytes, unpacked
from vqfusion.nn.weights import load_weights
from vqfusion.types import Sample


@pytest.mark.parametrize("bits", BITS)
def test_bits_come_back(bits):
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    numbers = torch.randint(low, high + 1, (13, 7), generator=torch.Generator().manual_seed(0))
    numbers[0, :2] = torch.tensor([low, high])
    data = to_bytes(numbers, bits)
    assert len(data) == -(-91 * bits // 8)
    assert torch.equal(from_bytes(data, bits, 91).long(), numbers.flatten())


@pytest.mark.parametrize("bits", [4, 8])
def test_without_moments_every_number_goes_to_its_nearest(bits):
    weight = torch.randn(6, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    one = rounded(weight, bits, 20)
    wide = one.scale.float().repeat_interleave(20, 1)[:, :45]
    inside = one.numbers.abs() < 2 ** (bits - 1) - 1
    error = (one.values().flatten(1) - weight.flatten(1)).abs()
    assert bool((error <= wide / 2 + 1e-3)[inside].all()) and one.values().shape == weight.shape
    assert one.scale.shape == (6, 3)


def test_rounding_with_moments_changes_the_outputs_less():
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(48, 48, generator=generator) ** 3
    x = torch.randn(4000, 48, generator=generator) @ mixing
    weight = torch.randn(32, 48, generator=generator)
    second = x.t() @ x / len(x)

    def change(one):
        return float(((one.values() - weight) @ second * (one.values() - weight)).sum())

    nearest, allowed = rounded(weight, 4, 16), rounded(weight, 4, 16, second)
    assert change(allowed) < 0.6 * change(nearest)
    white = rounded(weight, 4, 16, torch.eye(48))
    assert torch.equal(white.numbers, nearest.numbers), "independent inputs: nothing to pass on"


def test_moments_are_those_of_the_inputs():
    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.Flatten(), nn.Linear(3 * 4 * 5, 2))
    x = torch.randn(6, 2, 4, 5, generator=generator)
    found = moments(layers_of(network), lambda: network(x))
    given = network[1](network[0](x)).detach()
    torch.testing.assert_close(found["2.weight"], given.t() @ given / 6)
    patches = nn.functional.unfold(x, 3, padding=1).transpose(1, 2).reshape(-1, 18)
    exact = patches.t() @ patches / len(patches)
    torch.testing.assert_close(found["0.weight"], exact, atol=0.35, rtol=0)  # 1,024 of the patches, drawn
    torch.testing.assert_close(found["0.weight"].diagonal().mean(), exact.diagonal().mean(), atol=0.06, rtol=0)


def test_damaged_descriptions_are_one_line():
    one = rounded(torch.randn(4, 40), 5, 16)
    tensors, metadata = packed_tensors({"w": one})
    assert torch.equal(unpacked(tensors, metadata, "here")["w"], one.values())
    said = json.loads(metadata[KEY])["w"]
    for wrong in ({"bits": 9}, {"bits": 0}, {"group": 0}, {"shape": [4, 41]}, {"shape": [4]}, {"shape": [-4, -40]}):
        with pytest.raises(UserError, match="here: its packed weights are damaged"):
            unpacked(dict(tensors), {KEY: json.dumps({"w": said | wrong})}, "here")
    for text in ("[]", "{", '{"v": 3}', '{"w": null}'):
        with pytest.raises(UserError, match="damaged"):
            unpacked(dict(tensors), {KEY: text}, "here")


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """Folder of a small prior, and one of pictures."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    made = Prior(PriorConfig(widths=(16, 24), depths=(1, 1), sigma_range=(0.01, 1.0)))
    for parameter in made.parameters():
        if not parameter.abs().max():
            nn.init.normal_(parameter, std=0.05)
    made.eval().save_pretrained(folder / "model")
    (folder / "data").mkdir()
    rng = np.random.default_rng(0)
    for i in range(6):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
        coarse.resize((40, 32), Image.Resampling.BICUBIC).save(folder / "data" / f"{i}.png")
    return folder


def test_a_smaller_prior_opens_as_any_other(cli, learned):
    model, data = learned / "model", learned / "data"
    code, out, _ = cli("compress", model, "--data", data, "--max-loss", "0.5", "-o", "small", "--json")
    assert code == 0
    told = json.loads(out)
    names = [form["name"] for form in told["forms"]]
    assert names == ["as it is", "8 bits", "6 bits", "5 bits", "4 bits"]
    sizes = [form["mib"] for form in told["forms"]]
    assert sizes == sorted(sizes, reverse=True)
    chosen = next(form for form in told["forms"] if form["name"] == told["chosen"])
    assert chosen["loss"] <= 0.5 and all(
        form["loss"] > 0.5 for form in told["forms"][1:] if form["mib"] < chosen["mib"]
    )
    small, large = Path("small", Prior.weights), model / Prior.weights
    assert small.stat().st_size < 0.75 * large.stat().st_size
    opened = vqfusion.load("small")
    assert opened.kind == "prior"
    assert cli("denoise", data / "0.png", "--sigma", "0.1", "--model", "small", "-o", "b.png")[0] == 0
    opened.export("small.zip")
    other = vqfusion.load("small.zip")
    assert Path(other.folder, Prior.weights).read_bytes() == small.read_bytes(), "it travels as it is"
    assert all(torch.equal(a, b) for a, b in zip(opened.parameters(), other.parameters(), strict=True))


def test_the_model_that_was_given_is_put_back(learned, tmp_path):
    prior = vqfusion.load(str(learned / "model"))
    before = {name: tensor.clone() for name, tensor in prior.state_dict().items()}
    records = vqfusion.data.open_dataset(learned / "data").records
    made = compress(prior, records, tmp_path / "a", max_loss=100.0)
    assert made.chosen == "4 bits"
    assert all(torch.equal(tensor, before[name]) for name, tensor in prior.state_dict().items())
    stored = load_weights(tmp_path / "a" / Prior.weights)
    assert stored.keys() == before.keys() and any(not torch.equal(stored[name], before[name]) for name in stored)


@pytest.mark.parametrize(
    "arguments, line",
    [
        (("--target-mib", "0.001"), "the nearest is 4 bits"),
        (("--max-loss", "-1"), "--max-loss"),
        (("--data", "solids"), "0 records that fit"),
        (("-o", "."), "exists already"),
    ],
)
def test_what_cannot_be_done_is_one_line(cli, learned, arguments, line):
    Path("a.txt").write_text("mine")
    code, _, err = cli("compress", learned / "model", "--data", learned / "data", "-o", "small", *arguments)
    assert code == 2 and line in err and err.count("\n") == 1
    assert not Path("small").exists()


def test_a_system_is_judged_by_its_bits(tmp_path):
    system = small_system()
    generator = torch.Generator().manual_seed(0)

    def record(i: int) -> Record:
        picture = torch.rand(3, 8, 8, generator=generator)
        sources = {"image": lambda: Sample("image", picture), "label": lambda: Sample("label", ("cat", "dog")[i % 2])}
        return Record(str(i), "train", sources=sources)

    records = [record(i) for i in range(6)]
    rounding, choosing, test = parts_of(records)
    assert {one.key for one in rounding} | {one.key for one in choosing} | {one.key for one in test} == set("012345")
    made = compress(system, records, tmp_path / "small", max_loss=1.0)
    assert made.unit == "bits" and made.forms[0].loss == 0
    again = vqfusion.load(str(tmp_path / "small"))
    assert again.kind == "system" and again.fusion is not None
