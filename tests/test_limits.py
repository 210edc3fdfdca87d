"""Sizes are checked before they are believed: networks, batches, YAML that doubles, weights that cannot fit."""

import json
import time
from pathlib import Path

import pytest
import yaml
from PIL import Image

import vqfusion
from vqfusion.config import (
    ChainConfig,
    DiffusionModelConfig,
    FusionConfig,
    LatentDiffusionConfig,
    LatentTrainingConfig,
    PriorConfig,
    PriorTrainingConfig,
    ShortConfig,
    VQVAEConfig,
    load_yaml,
    validated,
)
from vqfusion.errors import UserError
from vqfusion.limits import CONFIG_VALUES, MEMORY
from vqfusion.models.restoration.prior import Prior
from vqfusion.nn.weights import count_parameters, load_json, save_json
from vqfusion.tokenizers.vqvae import VQVAE
from vqfusion.train.recipes import recipe
from vqfusion.train.restoration.recipe import RECIPES

SLOT = {"tokenizer": "image", "shape": [2000000, 2000000], "patch": [1, 1]}
TOO_MUCH = [
    (PriorConfig, {"depths": [10**8, 1, 1]}),
    (PriorConfig, {"widths": [10**9, 1, 1]}),
    (PriorConfig, {"fold": 10**6}),
    (PriorConfig, {"widths": [1] * 40, "depths": [1] * 40}),
    (VQVAEConfig, {"depths": [0, 10**8, 1]}),
    (VQVAEConfig, {"widths": [32, 10**9, 1]}),
    (VQVAEConfig, {"widths": [1] * 60, "depths": [0] * 60}),
    (VQVAEConfig, {"codebook_size": 10**12}),
    (VQVAEConfig, {"quantizer": "fsq", "levels": [8] * 20}),
    (DiffusionModelConfig, {"width": 10**9}),
    (LatentDiffusionConfig, {"width": 10**9}),
    (LatentDiffusionConfig, {"levels": 10**9}),
    (FusionConfig, {"layers": 10**9}),
    (FusionConfig, {"dim": 8 * 10**8}),
    (FusionConfig, {"slots": {"image": SLOT}}),
    (PriorTrainingConfig, {"name": "x", "data": "x", "crop": 10**8}),
    (PriorTrainingConfig, {"name": "x", "data": "x", "stage": {"batch": 10**10}}),
    (LatentTrainingConfig, {"name": "x", "data": "x", "image_size": 10**8}),
    (ShortConfig, {"name": "x", "data": "x", "image_size": 10**8}),
    (ShortConfig, {"name": "x", "data": "x", "batch": 10**10}),
    (ChainConfig, {"name": "x", "tokenizer_stages": {"image": {"batch": 10**10}}}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "values"), TOO_MUCH, ids=lambda one: getattr(one, "__name__", str(one)[:40]))
def test_what_no_memory_holds_is_one_line_that_names_the_limit(kind, values):
    started = time.monotonic()
    with pytest.raises(UserError, match=r"needs .* is the most; make it smaller, or set .* VQFUSION_MAX_MEMORY"):
        validated(kind, values, "my.yaml")
    assert time.monotonic() - started < 5


def test_a_limit_is_raised_by_its_variable(monkeypatch):
    MEMORY.require(100, "this")
    monkeypatch.setenv("VQFUSION_MAX_MEMORY", "2K")
    MEMORY.require(2048, "this")
    with pytest.raises(UserError, match="this needs 0.00195 MiB and 0.00195 MiB is the most"):
        MEMORY.require(2049, "this")
    with pytest.raises(UserError, match="this needs over a million TiB"):
        MEMORY.require(10**400, "this")
    for wrong in ("many", "-1", "0", "G", "1e9"):
        monkeypatch.setenv("VQFUSION_MAX_MEMORY", wrong)
        with pytest.raises(UserError, match="VQFUSION_MAX_MEMORY is .*; write a number such as 64G"):
            MEMORY.require(1, "this")


def test_aliases_and_merge_keys_that_double_are_counted_before_they_are_made(tmp_path):
    lines = ["a0: &a0 [1, 1]", *[f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60)]]
    merged = ["b0: &b0 {x: 1}", *[f"b{i}: &b{i} {{<<: [*b{i - 1}, *b{i - 1}]}}" for i in range(1, 60)]]
    for content in (lines, merged):
        (tmp_path / "x.yaml").write_text("\n".join(content))
        with pytest.raises(UserError, match="x.yaml needs over 10.12 values and 100,000 values is the most"):
            load_yaml(tmp_path / "x.yaml")
    (tmp_path / "x.yaml").write_text("a: &a [*a]\n")
    with pytest.raises(UserError, match="holds itself"):
        load_yaml(tmp_path / "x.yaml")
    (tmp_path / "x.yaml").write_text("a: &a {x: 1, y: [1, 2]}\nb: {<<: *a, x: 2}\nc: 2026-01-01\n")
    assert load_yaml(tmp_path / "x.yaml") == yaml.safe_load((tmp_path / "x.yaml").read_text())
    assert CONFIG_VALUES.most == 100_000


def test_fewest_parameters_are_no_more_than_there_are():
    for config in (
        VQVAEConfig(),
        VQVAEConfig(widths=(8,), depths=(2,)),
        VQVAEConfig(depths=(1, 1, 1), quantizer="fsq"),
    ):
        assert 0.5 * count_parameters(VQVAE(config)) < config.least_parameters <= count_parameters(VQVAE(config))
    for make in RECIPES.values():
        config = make().prior
        assert 0.5 * count_parameters(Prior(config)) < config.least_parameters <= count_parameters(Prior(config))
    fusion = vqfusion.load("emoji").fusion
    assert 0.3 * count_parameters(fusion) < fusion.config.least_parameters <= count_parameters(fusion)
    assert recipe("emoji").fusion.least_parameters == fusion.config.least_parameters


def test_weights_that_cannot_fit_are_refused_before_the_network_is_built(tmp_path, monkeypatch):
    Prior(PriorConfig(widths=(4,), depths=(1,))).save_pretrained(tmp_path)
    stored = load_json(tmp_path / "config.json")
    stored["config"] |= {"widths": [2000], "depths": [2]}
    save_json(tmp_path / "config.json", stored)
    monkeypatch.setattr(Prior, "__init__", lambda *_: pytest.fail("the network was built"))
    with pytest.raises(UserError, match=r"prior.safetensors: its \d+ bytes do not fit the config beside it"):
        Prior.from_pretrained(tmp_path)
    assert json.loads(Path(tmp_path / "config.json").read_text())["kind"] == "prior"


def test_a_picture_is_measured_before_it_is_unpacked(tmp_path, monkeypatch, cli):
    Image.new("RGBA", (600, 500)).save(tmp_path / "a.png")
    monkeypatch.setenv("VQFUSION_MAX_MEMORY", "1M")
    code, _, text = cli("denoise", "a.png")
    assert code == 2 and "a.png needs 18.3 MiB and 1 MiB is the most" in text and "VQFUSION_MAX_MEMORY" in text
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
