"""Folders, batches and standard output: nothing is skipped in silence, and one input does not stop the others."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vqfusion
from vqfusion.commands.inputs import collect
from vqfusion.config import PriorConfig
from vqfusion.errors import UserError, needs_extra
from vqfusion.models.restoration.prior import Prior

QUICK = ("--steps", "1")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> str:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("prior")
    Prior(PriorConfig(widths=(4, 6), depths=(1, 1))).save_pretrained(folder)
    return str(folder)


def picture(path: str) -> str:
    pixels = np.random.default_rng(len(path)).integers(0, 256, (20, 24, 3), np.uint8)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def damaged(path: str) -> str:
    Path(picture(path)).write_bytes(Path(path).read_bytes()[:60])
    return path


def files(folder: str) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file())


def test_sub_folders_are_entered_and_kept(cli, tiny):
    for name in ("one", "a/two", "a/b/three", ".hidden/four", "a/.five"):
        picture(f"in/{name}.png")
    code, out, err = cli("denoise", "in", "-o", "out", "--sigma", "0.1", "--model", tiny)
    assert (code, err) == (0, "")
    assert files("out") == ["a/b/three.png", "a/two.png", "one.png"]
    assert out.splitlines() == ["out/a/b/three.png", "out/a/two.png", "out/one.png"]
    assert cli("encode", "in", "-o", "codes")[0] == 0
    assert cli("decode", "codes", "-o", "back")[0] == 0
    assert files("back") == files("out")


def test_results_inside_the_folder_are_no_inputs_of_the_next_call(cli, tiny):
    picture("in/one.png")
    for _ in range(2):
        assert cli("denoise", "in", "-o", "in/out", "--report", "in/page", "--force", "--model", tiny)[0] == 0
    assert files("in/out") == ["one.png"]


def test_one_damaged_file_does_not_stop_the_batch(cli, tiny):
    damaged("in/a.png"), picture("in/b.png"), Path("in/c.png").write_bytes(b"RIFF....WAVEfmt "), picture("in/d.png")
    code, out, err = cli("denoise", "in", "-o", "out", "--sigma", "0.1", "--model", tiny)
    assert code == 2 and out.splitlines() == ["out/b.png", "out/d.png"] and files("out") == ["b.png", "d.png"]
    lines = err.splitlines()
    assert len(lines) == 2 and all(line.endswith("; skipped") for line in lines)
    assert {name for name in ("in/a.png", "in/c.png") for line in lines if name in line} == {"in/a.png", "in/c.png"}
    code, out, _ = cli("denoise", "in", "-o", "out", "--sigma", "0.1", "--model", tiny, "--force", "--json")
    report = json.loads(out)
    assert code == 2 and report["inputs"] == ["in/b.png", "in/d.png"]
    assert sorted(row["input"] for row in report["failed"]) == ["in/a.png", "in/c.png"]
    assert all(row["error"] for row in report["failed"])


@pytest.mark.parametrize("verb", [("describe",), ("encode",)])
def test_every_verb_goes_on(cli, verb):
    damaged("in/a.png"), picture("in/b.png")
    code, out, err = cli(*verb, "in", "-o", "out")
    assert code == 2 and len(files("out")) == 1 and "in/a.png" in err
    code, out, _ = cli(*verb, "in", "-o", "out", "--force", "--json")
    assert code == 2 and [row["input"] for row in json.loads(out)["failed"]] == ["in/a.png"]


def test_decode_goes_on(cli):
    assert cli("encode", picture("a.png"), "-o", "in/a.vqf")[0] == 0
    Path("in/b.vqf").write_bytes(b"nothing")
    code, out, err = cli("decode", "in", "-o", "out")
    assert (code, out) == (2, "out/a.png\n") and "in/b.vqf" in err
    Path("in/notes.txt").write_text("mine")
    assert "left out, not a .vqf file: in/notes.txt" in cli("decode", "in", "-o", "out", "--force")[2]


def test_a_mistake_in_the_request_is_one_line_however_many_inputs(cli):
    code, out, err = cli("describe", picture("a.png"), picture("b.png"), "--language", "xx", "--json")
    assert (code, out) == (2, "") and err.count("\n") == 1 and "language 'xx'" in err


def test_one_overlong_text_is_answered_and_does_not_change_the_others(cli):
    short = ["red apple", "rocket", "cat"]
    code, out, _ = cli("translate", *short, "--to", "de", "--json", *QUICK)
    alone = json.loads(out)
    code, out, _ = cli("translate", short[0], "word " * 500, *short[1:], "--to", "de", "--json", *QUICK)
    report = json.loads(out)
    assert code == 0 and len(report["texts"]) == 4
    assert report["texts"][0] == alone["texts"][0]


def test_same_stem_in_one_folder(cli, tiny):
    picture("in/small.png"), picture("in/small.jpg"), picture("in/other.png")
    code, _, err = cli("denoise", "in", "-o", "out", "--sigma", "0.1", "--model", tiny)
    assert (code, err) == (0, "") and files("out") == ["other.png", "small-jpg.png", "small-png.png"]


def test_same_name_in_several_folders(cli, tiny):
    for path in ("mon/small.png", "tue/small.png", "tue/sub/other.png", "wed/sub/other.png"):
        picture(path)
    given = ("mon/small.png", "tue/small.png", "--sigma", "0.1", "--model", tiny)
    assert cli("denoise", *given, "-o", "out")[0] == 0
    assert files("out") == ["mon/small.png", "tue/small.png"]
    assert cli("denoise", "mon", "tue", "wed", "--sigma", "0.1", "--model", tiny, "-o", "all")[0] == 0
    assert files("all") == ["mon/small.png", "tue/small.png", "tue/sub/other.png", "wed/sub/other.png"]
    code, _, err = cli("denoise", "mon/small.png", "mon/small.png", "-o", "twice", "--sigma", "0.1", "--model", tiny)
    assert code == 2 and "twice/small.png: two inputs" in err


def test_other_kinds_in_a_folder_are_named_in_one_line(cli, tiny):
    for name in ("in/a.svg", "in/sub/b.heic", "in/notes.txt", "in/.DS_Store"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"GIF89a")
    code, _, err = cli("denoise", "in")
    assert code == 2 and "it holds in/a.svg, in/notes.txt, in/sub/b.heic" in err
    picture("in/c.png")
    code, _, err = cli("denoise", "in", "-o", "out", "--sigma", "0.1", "--model", tiny)
    assert code == 0 and err.count("\n") == 1
    assert err.strip().endswith(": in/a.svg, in/notes.txt, in/sub/b.heic") and "DS_Store" not in err
    code, out, err = cli("denoise", "in", "-o", "out", "--sigma", "0.1", "--model", tiny, "--force", "--json")
    assert (code, err) == (0, "") and json.loads(out)["left_out"] == ["in/a.svg", "in/notes.txt", "in/sub/b.heic"]
    for i in range(20):
        Path(f"in/{i:02}.svg").write_bytes(b"GIF89a")
    assert "and 15 more" in cli("denoise", "in", "-o", "out", "--sigma", "0.1", "--model", tiny, "--force")[2]


def test_several_results_need_a_folder(cli):
    code, _, err = cli("denoise", picture("a.png"), picture("b.png"), "-o", "one.png")
    assert code == 2 and err.count("\n") == 1 and "one.png" in err and not Path("one.png").exists()
    assert cli("encode", "a.png", "b.png", "-o", "one.vqf")[0] == 2 and not Path("one.vqf").exists()


@pytest.mark.parametrize(
    ("arguments", "begins"),
    [
        (("denoise", "a.png", "--sigma", "0.1"), b"\x89PNG"),
        (("imagine", "red apple", *QUICK), b"\x89PNG"),
        (("speak", "red apple", *QUICK), b"RIFF"),
        (("encode", "a.png"), b"\x89VQF"),
        (("classify", "a.png"), b"{"),
    ],
)
def test_one_result_on_standard_output(tmp_path, monkeypatch, capfdbinary, arguments, begins):
    from vqfusion.cli import main

    monkeypatch.chdir(tmp_path)
    picture("a.png")
    before = files(".")
    code = main([*arguments, "-o", "-"])
    out = capfdbinary.readouterr().out
    assert code == 0 and out.startswith(begins), out[:80]
    assert files(".") == before
    if begins == b"\x89PNG":
        Image.open(io.BytesIO(out)).load()


def test_texts_on_standard_output_and_what_does_not_fit_there(cli):
    code, out, _ = cli("translate", "red apple", "--to", "de", *QUICK, "-o", "-")
    assert code == 0 and out == cli("translate", "red apple", "--to", "de", *QUICK)[1]
    for more in (("cat",), ("--samples", 2), ("--json",)):
        code, out, err = cli("imagine", "red apple", *more, "-o", "-", *QUICK)
        assert (code, out) == (2, "") and err.startswith("vqfusion: -o -")
    assert not files(".")


def test_a_text_that_begins_with_a_dash(cli):
    code, out, _ = cli("translate", "--to", "de", "--json", *QUICK, "--", "-5 degrees", "--hello there")
    assert code == 0 and json.loads(out)["inputs"] == ["-5 degrees", "--hello there"]
    for text in ("-5 degrees", "--hello there", "-of the world", "-5"):
        code, _, err = cli("translate", text, "--to", "de")
        assert code == 2 and err.count("\n") == 1 and f'-- "{text}"' in err


def test_a_file_that_begins_with_a_dash(cli, tiny):
    picture("-lead.png")
    code, _, err = cli("denoise", "-lead.png", "-o", "out.png", "--model", tiny)
    assert code == 2 and err.count("\n") == 1 and "./-lead.png" in err
    assert cli("denoise", "./-lead.png", "-o", "out.png", "--sigma", "0.1", "--model", tiny)[0] == 0


def test_no_supported_kind_lists_the_kinds(cli):
    Path("a.xyz").write_bytes(b"\x00\x01")
    for verb in ("denoise", "enhance", "encode"):
        code, _, err = cli(verb, "a.xyz")
        assert code == 2 and ".wav" in err and "no supported kind" in err, (verb, err)


def test_a_text_that_is_a_folder_or_missing_is_told(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        collect(["no.png"], ("image",))
    assert [item.is_text for item in collect(["no picture", "-5"], ("text",)).items] == [True, True]


@pytest.mark.parametrize(
    ("section", "says"), [("tokenizers: {}", "none to train"), ("size: small\ntokenizers: {}", "short form")]
)
def test_a_chain_without_tokenizers_is_told(cli, section, says):
    Path("a.yaml").write_text(f"name: x\ndata: emoji\n{section}\n")
    code, _, err = cli("train", "a.yaml", "--dry-run")
    assert code == 2 and says in err and "no such key" not in err


def test_no_list_of_nothing_to_choose_from():
    from vqfusion.tasks.task import suggest

    assert suggest("en", ()) == "it knows none"


def test_extras_are_installed_from_a_checkout(cli):
    error = needs_extra("nibabel", "volume")
    assert str(error) == 'this needs nibabel: pip install -e ".[volume]" in the checkout of vqfusion'
    source = Path(vqfusion.__file__).parent
    advice = [path for path in source.rglob("*.py") if "vqfusion[" in path.read_text(encoding="utf-8")]
    assert not advice, "no index has a package of that name"


def test_a_pipe_gets_the_picture_alone(tmp_path):
    picture(str(tmp_path / "a.png"))
    command = [sys.executable, "-m", "vqfusion", "denoise", "a.png", "-o", "-"]
    done = subprocess.run(command, capture_output=True, check=True, cwd=tmp_path)
    assert Image.open(io.BytesIO(done.stdout)).size == (24, 20)
