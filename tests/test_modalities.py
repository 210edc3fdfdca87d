"""The table of modalities: every row is complete, and a new modality is three files."""

import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vqfusion.config.tokenizers import TOKENIZER_CONFIGS
from vqfusion.data.io import read, write
from vqfusion.modalities import FILES, MODALITIES, SIGNALS, imported
from vqfusion.tokenizers.base import BaseTokenizer
from vqfusion.tokenizers.build import NETWORKS, build_network
from vqfusion.tokenizers.conformance.check import check_tokenizer, made_up
from vqfusion.train.restoration.recipe import RECIPES

SOURCE = Path(__file__).parents[1] / "src" / "vqfusion"


@pytest.mark.parametrize("row", MODALITIES.values(), ids=lambda row: row.name)
def test_every_row_is_complete(row):
    assert re.fullmatch("an? [a-z]+", row.noun) and row.plural and row.unit and row.written
    assert set(row.written) - {".json"} <= set(row.suffixes), "what is written can be read"
    assert "keep" in inspect.signature(imported(row.reader)).parameters or not row.keeps
    assert list(inspect.signature(imported(row.writer)).parameters) == ["sample", "path", "force"]
    assert issubclass(imported(row.tokenizer), BaseTokenizer) and row.name in TOKENIZER_CONFIGS
    if row.rank:
        assert row.name in SIGNALS and row.name in FILES and row.name in NETWORKS
        assert row.prior and row.prior_recipe in RECIPES
    assert (row.pictured + row.heard + row.by_channel + row.listed + row.in_words) <= 1


@pytest.mark.parametrize("name", SIGNALS)
def test_the_tokenizer_of_a_row_keeps_its_contract_and_what_it_takes_survives_its_files(name, tmp_path):
    tokenizer = build_network(TOKENIZER_CONFIGS[name]()).eval()
    assert type(tokenizer) is imported(MODALITIES[name].tokenizer) and tokenizer.modality == name
    sample = made_up(tokenizer)
    check_tokenizer(tokenizer, sample)
    for suffix in MODALITIES[name].written:
        write(sample, tmp_path / f"one{suffix}")
        back = read(tmp_path / f"one{suffix}", name)
        assert back.modality == name and tokenizer.extent(back)[-1] == tokenizer.extent(sample)[-1]
        assert tokenizer.cut(back, tokenizer.extent(sample), sample.sample_rate_hz).data.shape == sample.data.shape


ROW = """
    Modality(
        name="depth",
        noun="a depth map",
        plural="depth maps",
        unit="point",
        rank=2,
        suffixes=(".depth",),
        written=(".depth",),
        reader="vqfusion.data.io.depth:read_depth",
        writer="vqfusion.data.io.depth:write_depth",
        tokenizer="vqfusion.tokenizers.standardised:StandardisedTokenizer",
        own_units=True,
        prior="photo",
        prior_recipe="photo-prior",
    ),
)

MODALITIES ="""
CONFIG = '''class DepthTokenizerConfig(Config):
    """Distances in metres `[1, H, W]` to a grid of codes."""

    kind: Literal["depth"] = "depth"
    crop: Count = 16
    vqvae: VQVAEConfig = VQVAEConfig(channels=1, widths=(8, 16), depths=(0, 1))


TokenizerConfig = Annotated[
    DepthTokenizerConfig
    | '''
READER = '''"""Distances in metres as text <-> `Sample("depth")`."""

import numpy as np
import torch

from vqfusion.data.io.file import check_target, read_bytes
from vqfusion.files import write_bytes
from vqfusion.types import Sample


def read_depth(source):
    rows = [line.split() for line in read_bytes(source).decode().splitlines()]
    return Sample("depth", torch.from_numpy(np.array(rows, np.float32))[None])


def write_depth(sample, path, force=False):
    path = check_target(path, (".depth",), force)
    write_bytes(path, "\\n".join(" ".join(map(str, row)) for row in sample.data[0].tolist()).encode())
'''
TRIED = """
import torch
from vqfusion.config import ChainConfig, ShortConfig
from vqfusion.data import open_dataset, write
from vqfusion.inspect.atlases import atlas
from vqfusion.models.codec.codec import Codec
from vqfusion.models.fusion.slot_tokenizers import SlotTokenizers
from vqfusion.tasks import TASKS
from vqfusion.tokenizers import build_network, check_tokenizer
from vqfusion.train.codec.tokenizers import batches_for
from vqfusion.train.fusion.own_data import expand
from vqfusion.types import Sample
from pathlib import Path

Path("maps").mkdir()
for i in range(12):
    write(Sample("depth", 3 + torch.rand(1, 19, 22)), f"maps/{i}.depth")
dataset = open_dataset("maps")
assert dataset.slots() == ("depth",)
chain = expand(ShortConfig(name="mine", data="maps"), dataset)
tokenizer = build_network(chain.tokenizers["depth"]).eval()
check_tokenizer(tokenizer, dataset.records[0].load("depth").__class__("depth", torch.rand(1, 16, 16)))
batch = batches_for(tokenizer, chain, chain.tokenizer_stages["depth"], dataset)(0, 0, 1)
assert batch.shape[1:] == (1, 16, 16)
tokenizer.loss(batch)[0].backward()
codec = Codec(SlotTokenizers(chain, {"depth": tokenizer}), {})
given = dataset.records[0].load("depth")
back = codec.decode(codec.encode(given))
assert back.modality == "depth" and back.data.shape == given.data.shape and 2.5 < float(back.data.mean()) < 4.5
assert atlas(tokenizer, torch.ones(tokenizer.codebook_size, dtype=torch.long)).shape[0] == 3
assert "depth" in TASKS["denoise"].accepts and "depth" in TASKS["upscale"].accepts
"""


def test_a_new_modality_is_three_files(tmp_path):
    """A row, a config and a reader with its writer: then folders, training, codec, atlas and tasks know it."""
    package = tmp_path / "src" / "vqfusion"
    shutil.copytree(SOURCE, package, ignore=lambda _, names: [n for n in names if "." in n and not n.endswith(".py")])
    for name, old, new in (
        ("modalities.py", "\n)\n\nMODALITIES =", ROW),
        ("config/tokenizers.py", "TokenizerConfig = Annotated[\n    ", CONFIG),
    ):
        text = (package / name).read_text(encoding="utf-8")
        assert text.count(old) == (2 if "Latent" + old in text else 1)
        (package / name).write_text(text.replace(old, new, 1), encoding="utf-8")
    (package / "data" / "io" / "depth.py").write_text(READER, encoding="utf-8")
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", TRIED],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr[-3000:]
