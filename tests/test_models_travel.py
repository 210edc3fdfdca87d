"""Models travel: listed, published, fetched by commit, and given away as one zip that is safe to open."""

import json
import zipfile

import pytest
import torch

import vqfusion
from vqfusion.config import PriorConfig
from vqfusion.errors import UserError
from vqfusion.hub import ZOO, find_model, zoo
from vqfusion.models.about import about
from vqfusion.models.restoration.prior import Prior
from vqfusion.nn.archive import MOST_FILES, pack
from vqfusion.nn.card import CARD, MARK
from vqfusion.nn.card_header import read_header


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of one's own, and no models of the hub."""
    from huggingface_hub import constants

    tmp_path.chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "cache" / "vqfusion" / "models"


@pytest.fixture
def run_folder(prior, tmp_path):
    """A finished run: the model, its scores, and what belongs to the training and to nobody else."""
    folder = tmp_path / "mine"
    vqfusion.load(prior, "cpu").save_pretrained(folder)
    row = {"what": "denoise", "metric": "PSNR", "unit": "dB", "value": 31.25, "baselines": {"BM3D": 30.5}}
    (folder / "eval.json").write_text(json.dumps({"rows": [row | {"low": 31.0, "high": 31.5}]}))
    run = {"name": "mine", "data": "/home/ada/patients/wards", "seed": 7, "stage": {"steps": 300, "batch": 12}}
    (folder / "prior.json").write_text(json.dumps(run))
    (folder / "tokens.safetensors").write_bytes(b"data")
    (folder / "metrics.jsonl").write_text("{}")
    (folder / "training").mkdir()
    return folder


def test_a_zip_opens_as_the_same_model(run_folder, tmp_path, cli):
    code, out, err = cli("models", "export", run_folder, "-o", tmp_path / "mine.zip", "--licence", "cc-by-4.0")
    assert code == 0 and out.strip() == str(tmp_path / "mine.zip"), err
    assert sorted(zipfile.ZipFile(tmp_path / "mine.zip").namelist()) == [
        CARD,
        "config.json",
        "eval.json",
        "prior.safetensors",
    ]
    ours, theirs = vqfusion.load(str(run_folder), "cpu"), vqfusion.load(str(tmp_path / "mine.zip"), "cpu")
    x = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ours.denoise(x, 0.1), theirs.denoise(x, 0.1))
    again = Prior.from_pretrained(tmp_path / "mine.zip")
    assert again.config == ours.config
    code, _, err = cli("models", "export", run_folder, "-o", tmp_path / "mine.zip")
    assert code == 2 and "exists already" in err


def test_the_card_states_licence_scores_baselines_data_and_command_but_no_folder(run_folder, tmp_path):
    vqfusion.load(str(run_folder), "cpu").export(tmp_path / "mine.zip", licence="cc-by-4.0")
    folder = find_model(str(tmp_path / "mine.zip"))
    page = (folder / CARD).read_text()
    for words in (
        "license: cc-by-4.0",
        "| denoise | PSNR | 31.25 dB | 31 to 31.5 | BM3D 30.5 |",
        "Trained on `wards`. Seed 7; network 300 steps of 12.",
        "vqfusion train mine.yaml",
        "vqfusion.load('mine.zip')",
        "## Limits",
    ):
        assert words in page, page
    assert "/home" not in page and "patients" not in page
    found = about(folder)
    assert (found.licence, found.score) == ("cc-by-4.0", "PSNR, denoise: 31.25 on wards")
    assert found.kind == "prior" and found.modalities == ("image",)


def test_what_was_measured_on_other_weights_stays_behind(run_folder, tmp_path):
    model = vqfusion.load(str(run_folder), "cpu")
    with torch.no_grad():
        next(model.parameters()).mul_(2)
    model.export(tmp_path / "new.zip")
    assert "eval.json" not in zipfile.ZipFile(tmp_path / "new.zip").namelist()


def test_the_shipped_prior_takes_its_intervals_along_and_they_still_fit(tmp_path):
    from vqfusion.diffusion.operators import Denoise
    from vqfusion.models.restoration.shipped_intervals import shipped_intervals

    vqfusion.load("photo", "cpu").export(tmp_path / "photo.zip")
    prior = vqfusion.load(str(tmp_path / "photo.zip"), "cpu")
    assert shipped_intervals(prior, Denoise(0.1), 0.9) is not None
    assert (prior.folder / "sources.tsv").is_file()
    with pytest.raises(UserError, match="was written by hand; state the licence in it"):
        prior.export(tmp_path / "other.zip", licence="mit")


def test_equal_models_make_equal_zips_and_are_unpacked_once(prior, tmp_path, cache):
    model = vqfusion.load(prior, "cpu")
    model.export(tmp_path / "a.zip")
    model.export(tmp_path / "b.zip")
    assert MARK in zipfile.ZipFile(tmp_path / "a.zip").read(CARD).decode()
    first = find_model(str(tmp_path / "a.zip"))
    stamp = (first / "config.json").stat().st_mtime_ns
    assert find_model(str(tmp_path / "a.zip")) == first
    assert (first / "config.json").stat().st_mtime_ns == stamp
    (tmp_path / "copy.zip").write_bytes((tmp_path / "a.zip").read_bytes())
    assert find_model(str(tmp_path / "copy.zip")) == first
    assert not list(cache.glob(".unpacking*"))


def zipped(path, entries):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return path


LINK = zipfile.ZipInfo("link.json")
LINK.external_attr = 0o120777 << 16
CONFIG = ("config.json", "{}")


@pytest.mark.filterwarnings("ignore:Duplicate name")  # zipfile warns of what this test makes on purpose
@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([CONFIG, ("../out.json", "{}")], "begin with a dot"),
        ([CONFIG, ("/etc/out.json", "{}")], "leave out '/'"),
        ([CONFIG, ("a/b.json", "{}")], "leave out '/'"),
        ([CONFIG, ("a\\b.json", "{}")], "no plain name|leave out"),
        ([CONFIG, (LINK, "/etc/passwd")], "not a file that a model consists of"),
        ([CONFIG, ("run.py", "import os")], "not a file that a model consists of"),
        ([CONFIG, ("model.pkl", "x")], "not a file that a model consists of"),
        ([CONFIG, ("a.json", "{}"), ("A.json", "{}")], "in it twice"),
        ([CONFIG, CONFIG], "in it twice"),
        ([("a.json", "{}")], "no config.json at its top"),
        ([CONFIG, *((f"{i}.json", "") for i in range(MOST_FILES))], "holds 257 files"),
    ],
)
def test_a_zip_with_anything_else_is_refused_and_nothing_is_written(tmp_path, cache, entries, said):
    path = zipped(tmp_path / "bad.zip", entries)
    before = sorted(tmp_path.glob("*"))
    with pytest.raises(UserError, match=said) as caught:
        find_model(str(path))
    assert "\n" not in str(caught.value)
    assert sorted(set(tmp_path.glob("*")) - set(before)) in ([], [tmp_path / "cache"])
    assert not [one for one in cache.rglob("*") if one.is_file()]


def test_a_zip_that_swells_is_refused_by_its_size(tmp_path, cache, monkeypatch):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("a.txt", bytes(3 * 2**20))
    assert path.stat().st_size < 10_000
    monkeypatch.setenv("VQFUSION_MAX_MODEL_BYTES", "1M")
    with pytest.raises(UserError, match="needs 3 MiB and 1 MiB is the most.*VQFUSION_MAX_MODEL_BYTES"):
        find_model(str(path))
    assert not [one for one in cache.rglob("*") if one.is_file()]


@pytest.mark.parametrize("cut", [0, 10, 200, -30])
def test_a_damaged_zip_is_one_line(prior, tmp_path, cut):
    pack(find_model(prior), tmp_path / "whole.zip")
    data = bytearray((tmp_path / "whole.zip").read_bytes())
    if cut == 200:
        data[200:260] = bytes(60)
    else:
        data = data[:cut]
    (tmp_path / "cut.zip").write_bytes(data)
    with pytest.raises(UserError, match="cut.zip: not a readable zip"):
        find_model(str(tmp_path / "cut.zip"))
    with pytest.raises(UserError, match="none.zip: cannot be read"):
        find_model(str(tmp_path / "none.zip"))


def test_the_list_has_package_cache_and_runs(cli, run_folder, tmp_path, cache):
    vqfusion.load(str(run_folder), "cpu").export(tmp_path / "mine.zip")
    folder = find_model(str(tmp_path / "mine.zip"))
    Prior(PriorConfig(widths=(4, 8), depths=(1, 1))).save_pretrained(tmp_path / "runs" / "own")
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "config.json").write_text("[]")
    commit = tmp_path / "hub" / "models--ada--small" / "snapshots" / ("1" * 40)
    commit.parent.mkdir(parents=True)
    commit.symlink_to(run_folder)
    other = tmp_path / "hub" / "models--bert--base" / "snapshots" / ("2" * 40)
    other.mkdir(parents=True)
    (other / "config.json").write_text('{"model_type": "bert"}')
    code, out, err = cli("models", "--json")
    assert code == 0, err
    rows = {row["name"]: row for row in json.loads(out)["models"]}
    assert {name: row["in"] for name, row in rows.items()} == {name: "package" for name in zoo()} | {
        f"ada/small@{'1' * 40}": "cache",
        str(folder): "cache",
        "runs/own": "runs",
    }
    assert "runs/broken" in err and "bert" not in err
    code, out, _ = cli("models")
    assert code == 0 and "apache-2.0" in out and "not stated" in out
    code, _, err = cli("models", "--json", "export", "photo")
    assert code == 2 and "--json belongs after" in err


@pytest.mark.parametrize("name", zoo())
def test_the_score_of_a_shipped_model_is_one_of_those_in_its_card(name):
    path = ZOO / name / CARD
    header = read_header(path)
    value = header.score.partition(": ")[2].split()[0]
    assert header.licence == ("cc-by-sa-4.0" if name == "digits" else "apache-2.0"), "as its data where they ask for it"
    assert value in path.read_text(encoding="utf-8").split("## Scores")[1]


@pytest.mark.parametrize(
    "text",
    [
        "---\n- a\n---\n",
        "---\nlicense: [1]\nmodel-index: 3\n---\n",
        "---\na: &a [*a]\n---\n",
        "---\n\x00\n---\n",
        "none",
    ],
)
def test_a_strange_header_says_nothing(tmp_path, text):
    (tmp_path / CARD).write_text(text)
    header = read_header(tmp_path / CARD)
    assert (header.licence, header.score) == ("", "")
    assert read_header(tmp_path / "missing").licence == ""


@pytest.mark.parametrize(
    "arguments", [("push", "photo", "small"), ("push", "photo", "ada/a@b"), ("pull", "small"), ("pull", "../a/b")]
)
def test_a_name_that_is_no_repository_is_one_line(cli, arguments):
    code, _, err = cli("models", *arguments)
    assert code == 2 and "not the name of a repository" in err


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_zip_is_one_line_however_it_is_packed(tmp_path, cache, method):
    path = tmp_path / "bad.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("config.json", "{}" + " " * 300)
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):  # offsets before the file among them, which no system can seek
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            find_model(str(path))
        except UserError as error:
            assert "\n" not in str(error)
