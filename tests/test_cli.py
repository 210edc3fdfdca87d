"""The command: what each verb makes, where it puts it, and that it never surprises."""

import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import soundfile
import typer
from PIL import Image

import vqfusion
from vqfusion.commands.verbs import add_verbs
from vqfusion.tasks import TASKS, Task
from vqfusion.tasks.task import option

UNLIKE = "vqfusion: the picture is unlike those that this model was trained on, so the answer is a guess\n"
UNLIKE_SOUND = UNLIKE.replace("picture", "sound")
QUICK = ("--steps", "2")
CODES = ("--model", "emoji", *QUICK)  # restoration by the model over codes


def picture(path: str, size: tuple[int, int] = (64, 64)) -> str:
    y, x = np.mgrid[: size[1], : size[0]] / max(size)
    Path(path).parent.mkdir(exist_ok=True)
    Image.fromarray((255 * np.stack([x, y, 1 - x], -1)).astype(np.uint8)).save(path)
    return path


def sound(path: str) -> str:
    soundfile.write(path, 0.3 * np.sin(np.arange(8000) / 8), 16000)
    return path


def files() -> list[str]:
    return sorted(str(path) for path in Path().rglob("*") if path.is_file())


@pytest.mark.parametrize("verb", ["denoise", "upscale"])
def test_a_picture_gives_a_picture(cli, verb):
    code, out, err = cli(verb, picture("a.png", (100, 80)), *CODES)
    assert (code, out, err) == (0, f"a.{verb}.png\n", "")
    with Image.open(f"a.{verb}.png") as made:
        assert made.size == (64, 64) and made.mode == "RGB"


def test_enhance_keeps_the_length(cli):
    code, out, _ = cli("enhance", sound("a.wav"), "-o", "b.flac", *CODES)
    assert (code, out) == (0, "b.flac\n")
    wave, rate = soundfile.read("b.flac")
    assert rate == 16000 and len(wave) == 8000


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_imagine_draws_in_the_format_of_the_suffix(cli, suffix):
    code, *_ = cli("imagine", "red apple", "--style", "noto", "-o", f"a.{suffix}", *QUICK)
    assert code == 0
    with Image.open(f"a.{suffix}") as made:
        assert made.format == {"png": "PNG", "jpg": "JPEG", "webp": "WEBP"}[suffix]


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_speak_writes_in_the_format_of_the_suffix(cli, suffix):
    code, *_ = cli("speak", "red apple", "-o", f"a.{suffix}", *QUICK)
    assert code == 0
    wave, rate = soundfile.read(f"a.{suffix}")
    assert rate == 16000 and wave.ndim == 1 and len(wave) > 0 and np.abs(wave).max() <= 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("describe", "a.png", "--language", "de"),
        ("transcribe", "a.wav"),
        ("translate", "broccoli", "--to", "fr"),
        ("write",),
        ("write", "red"),
        ("any", "--given", "image=a.png", "--given", "text:de=Brokkoli", "--target", "text:en"),
    ],
    ids=" ".join,
)
def test_a_text_goes_to_the_terminal_or_to_a_file(cli, arguments):
    picture("a.png"), sound("a.wav")
    given = " ".join(arguments)
    told = UNLIKE if "a.png" in given else UNLIKE_SOUND if "a.wav" in given else ""
    code, out, err = cli(*arguments, *QUICK)
    assert code == 0 and err == told and out.count("\n") == 1
    assert cli(*arguments, *QUICK, "-o", "b.txt") == (0, "b.txt\n", told)
    assert Path("b.txt").read_text() == out


def test_inpaint_changes_the_white_part_only(cli):
    picture("a.png")
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 32:] = 255
    Image.fromarray(mask).save("mask.png")
    made = []
    for seed in (0, 1):
        arguments = ("inpaint", "a.png", "--mask", "mask.png", "-o", f"{seed}.png", "--seed", seed, *CODES)
        assert cli(*arguments)[0] == 0
        made.append(np.asarray(Image.open(f"{seed}.png"), np.float32))
    by_column = np.abs(made[0] - made[1]).mean((0, 2))
    assert by_column[:12].mean() < by_column[32:].mean() / 4, "the codes of the kept part stay as they are"


@pytest.mark.parametrize("verb, slot", [("classify", "label"), ("speaker", "speaker")])
def test_a_distribution_is_a_table_or_json(cli, system, verb, slot):
    sound("a.wav")
    code, out, _ = cli(verb, "a.wav")
    assert code == 0 and "probability" in out
    code, out, _ = cli(verb, "a.wav", "--json")
    [distribution] = json.loads(out)["distributions"]
    assert set(distribution) <= set(system.labels(slot))
    values = list(distribution.values())
    assert values == sorted(values, reverse=True) and 0 < sum(values) <= 1 + 1e-6
    assert cli(verb, "a.wav", "-o", "b.json") == (0, "b.json\n", UNLIKE_SOUND)
    assert json.loads(Path("b.json").read_text()) == pytest.approx(distribution)


def test_top_says_how_many_names_are_shown(cli):
    _, out, _ = cli("classify", picture("a.png"), "--top", "2", "--json")
    assert [len(names) for names in json.loads(out)["distributions"]] == [2]


def test_classify_takes_every_modality_at_once(cli):
    _, out, _ = cli("classify", picture("a.png"), sound("b.wav"), "red apple", "--json")
    assert len(json.loads(out)["distributions"]) == 3


def test_json_is_one_object_and_says_everything(cli):
    code, out, err = cli("imagine", "rocket", "apple", "-o", "out", "--seed", "5", "--json", *QUICK)
    report = json.loads(out)
    assert code == 0 and err == "" and out.count("\n") == 1
    assert report["outputs"] == [["out/rocket.png"], ["out/apple.png"]]
    assert report["inputs"] == ["rocket", "apple"]
    assert (report["task"], report["model"], report["seed"]) == ("imagine", "emoji", 5)
    assert report["nfe"] > 0 and report["seconds"] > 0


def test_same_seed_same_bytes_and_another_seed_others(cli):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert cli("imagine", "rocket", "-o", f"{name}.png", "--seed", seed, *QUICK)[0] == 0
    a, b, c = (Path(f"{name}.png").read_bytes() for name in "abc")
    assert a == b and a != c


def test_samples_are_numbered(cli):
    cli("imagine", "rocket", "--samples", "3", *QUICK)
    cli("imagine", "rocket", "--samples", "2", "-o", "b.webp", *QUICK)
    assert files() == ["b-1.webp", "b-2.webp", *(f"rocket.imagine-{k}.png" for k in (1, 2, 3))]


def test_a_folder_gives_a_folder_with_the_same_stems(cli):
    picture("in/one.png"), picture("in/two.jpg"), Path("in/notes.pdf").write_text("no picture")
    assert cli("denoise", "in", "-o", "out", *CODES)[0] == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["one.png", "two.png"]
    code, out, _ = cli("describe", "in", *QUICK)
    assert code == 0
    assert [line.split("\t")[0] for line in out.splitlines()] == ["in/one.png", "in/two.jpg"]


def test_hidden_files_and_folders_within_a_folder_are_left_out(cli):
    picture("in/one.png"), Path("in/._one.png").write_bytes(b"resource fork"), Path("in/two.png").mkdir()
    assert cli("denoise", "in", *CODES)[:2] == (0, "one.denoise.png\n")
    assert cli("encode", "in", "-o", "in")[0] == 0
    Path("in/._one.vqf").write_bytes(b"resource fork"), Path("in/two.vqf").mkdir()
    assert cli("decode", "in", "-o", "out")[:2] == (0, "out/one.png\n")


def test_texts_are_printed_as_soon_as_they_are_known(cli):
    Path("bad.txt").write_bytes(b"\xff\xfe")
    texts = [f"{i} apples" for i in range(8)]
    code, out, err = cli("translate", *texts, "bad.txt", "--to", "de", *QUICK)
    assert code == 2 and [line.split("\t")[0] for line in out.splitlines()] == texts
    assert err.splitlines()[-1].startswith("vqfusion: bad.txt: is not UTF-8")
    code, out, err = cli("translate", *texts, "bad.txt", "--to", "de", "--json", *QUICK)
    report = json.loads(out)
    assert (code, err.count("\n"), report["inputs"]) == (2, 1, texts)
    assert [row["input"] for row in report["failed"]] == ["bad.txt"]
    made = cli("classify", *texts, sound("a.wav"))[1]
    Path("a.wav").write_bytes(b"x")
    code, out, _ = cli("classify", *texts, "a.wav")
    assert code == 2 and out.count("probability") == 8 and made.startswith(out)


def test_brackets_in_names_are_shown_as_they_are(cli):
    for name in ("photo [final].png", "a [red] :cat:.png"):
        picture(name)
    code, out, _ = cli("classify", "photo [final].png", "a [red] :cat:.png", "[/b]")
    assert code == 0 and "photo [final].png" in out and "a [red] :cat:.png" in out and "[/b]" in out


def test_text_comes_from_standard_input(cli, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Apfel\n")))
    code, out, _ = cli("translate", "-", "--from", "de", "--to", "en", *QUICK)
    assert code == 0 and out.count("\n") == 1


def test_a_pair_of_languages_that_was_never_trained_goes_through_another(cli):
    """German and French never met; English met both."""
    answers = [
        json.loads(cli("translate", "Apfel", "--from", "de", "--to", to, *via, "--json", *QUICK)[1])
        for to, via in (("fr", ()), ("fr", ("--via", "en")), ("es", ()))
    ]
    chosen, told, met = answers
    assert (chosen["texts"], chosen["nfe"]) == (told["texts"], told["nfe"])
    assert met["nfe"] < told["nfe"]


def test_a_seed_may_be_any_number(cli):
    for name, seed in (("a", 20251127184512), ("b", 20251127184512), ("c", 20251127184513), ("d", 10**40)):
        assert cli("imagine", "rocket", "-o", f"{name}.png", "--seed", seed, *QUICK)[0] == 0
    a, b, c, d = (Path(f"{name}.png").read_bytes() for name in "abcd")
    assert a == b and len({a, c, d}) == 3


def test_an_existing_file_is_refused_before_any_work_and_replaced_when_forced(cli):
    Path("rocket.imagine.png").write_text("mine")
    code, _, err = cli("imagine", "rocket", "--model", "nowhere")
    assert code == 2 and "exists already" in err, "the output is checked before the model is looked for"
    assert Path("rocket.imagine.png").read_text() == "mine"
    assert cli("imagine", "rocket", "--force", *QUICK)[0] == 0
    assert Path("rocket.imagine.png").read_bytes().startswith(b"\x89PNG")


def test_any_reads_standard_input_too(cli, monkeypatch):
    given = cli("any", "--given", "text:de=Apfel", "--target", "text:en", *QUICK)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Apfel\n")))
    assert cli("any", "--given", "text:de=-", "--target", "text:en", *QUICK) == given


def test_any_goes_from_a_picture_to_a_sound(cli):
    arguments = ("any", "--given", f"image={picture('a.png')}", "--target", "audio", *QUICK)
    assert cli(*arguments) == (0, "any.wav\n", UNLIKE)


def test_a_new_task_is_one_class():
    @dataclass(frozen=True)
    class Shout(Task):
        """Say it louder."""

        name: ClassVar[str] = "shout"
        accepts: ClassVar[tuple[str, ...]] = ("text",)
        gives: ClassVar[str] = "text"
        marks: int = option(1, "how many exclamation marks")

        def __call__(self, system, sample, sampling):
            raise AssertionError("only its verb is looked at")

    app = typer.Typer()
    TASKS["shout"] = Shout
    try:
        add_verbs(app)
    finally:
        del TASKS["shout"]
    verb = typer.main.get_command(app).commands["shout"]
    assert verb.help == "Say it louder."
    assert "--marks" in {flag for parameter in verb.params for flag in parameter.opts}


def test_version_doctor_and_data(cli):
    assert cli("--version") == (0, vqfusion.__version__ + "\n", "")
    code, out, _ = cli("doctor")
    assert code == 0 and "emoji" in out and "torch" in out and "prior of volume" in out
    code, out, _ = cli("data", "digits")
    assert code == 0 and "1797" in out


def test_train_dry_run_writes_nothing(cli):
    code, out, _ = cli("train", "emoji", "--dry-run")
    assert code == 0 and "runs/emoji" in out
    assert files() == []


def test_help_of_every_verb(cli):
    for verb in ("imagine", "any", "train", "eval"):
        code, out, _ = cli(verb, "--help")
        assert code == 0 and "Usage" in out


def test_eval_writes_the_report(cli):
    code, out, err = cli("eval", "--only", "likelihood", "--limit", "2", "-o", "report.json")
    assert code == 0, err
    report = json.loads(Path("report.json").read_text())
    assert report["rows"] and all(row["group"] == "likelihood" for row in report["rows"])


def test_demo_makes_one_page_and_leaves_foreign_ones_alone(cli):
    Path("site").mkdir()
    Path("site/index.html").write_text("mine")
    code, _, err = cli("demo", "-o", "site")
    assert code == 2 and "no demo" in err
    assert Path("site/index.html").read_text() == "mine"


@pytest.mark.parametrize("name", ["index.html", "report.json", "overview.png"])
@pytest.mark.parametrize("report", [{"task": "denoise", "seconds": 1.0}, {"rows": []}, None])
def test_demo_leaves_the_files_of_other_verbs_alone(cli, name, report):
    Path("site").mkdir()
    if report is not None:
        Path("site/report.json").write_text(json.dumps(report))
    Path(f"site/{name}").touch()
    before = {path: path.read_bytes() for path in Path("site").iterdir()}
    code, out, err = cli("demo", "-o", "site")
    assert (code, out, err.count("\n")) == (2, "", 1) and "no demo" in err
    assert {path: path.read_bytes() for path in Path("site").iterdir()} == before
