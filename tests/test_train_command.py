"""`train`: one's own pictures, cost before, samples and metrics on the way, stops anywhere, mistakes in one line."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image, ImageDraw

from vqfusion.config import ShortConfig
from vqfusion.data import open_dataset
from vqfusion.nn.weights import load_weights
from vqfusion.train.fusion.own_data import beside, expand
from vqfusion.train.fusion.trainer import train
from vqfusion.train.loop.accelerator import make_accelerator
from vqfusion.train.recipes import recipe

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parent.parent / "examples" / "own_pictures.yaml"
COLOURS = ("red", "green", "blue", "orange", "purple", "black")
SHAPES = {"square": "rectangle", "disc": "ellipse", "cross": "line", "bow": "arc"}
QUICK = {"size": "tiny", "image_size": 16, "tokenizer_steps": 20, "steps": 40, "batch": 8}


def draw_pictures(folder: Path) -> None:
    """24 drawings with their captions beside them."""
    folder.mkdir()
    for colour in COLOURS:
        for shape, method in SHAPES.items():
            picture = Image.new("RGB", (40, 30), "white")
            pen = ImageDraw.Draw(picture)
            box, extra = (8, 4, 32, 26), {"arc": {"start": 0, "end": 270}, "line": {"width": 4}}.get(method, {})
            getattr(pen, method)(box, fill=colour, **extra)
            picture.save(folder / f"{colour}-{shape}.png")
            (folder / f"{colour}-{shape}.txt").write_text(f"a {colour} {shape}\n")


def run(capsys, *arguments) -> tuple[int, str, str]:
    from vqfusion.cli import main

    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """The example, made quick, beside its pictures."""
    folder = tmp_path_factory.mktemp("own")
    draw_pictures(folder / "pictures")
    content = yaml.safe_load(EXAMPLE.read_text()) | QUICK
    (folder / "own.yaml").write_text(yaml.safe_dump(content))
    return folder


@pytest.fixture(scope="module")
def trained(own):
    """What the real command makes of the example, and what it says."""
    from vqfusion.cli import main

    with pytest.MonkeyPatch.context() as patch, open(own / "said.json", "w") as out:
        patch.setattr(sys, "stdout", out)
        arguments = ["train", "own.yaml", "-o", "run", "--device", "cpu", "--tensorboard", "--json"]
        patch.chdir(own)
        assert main(arguments) == 0
    return own / "run"


def test_the_example_is_short_and_says_only_what_the_config_knows():
    assert len(EXAMPLE.read_text().splitlines()) <= 15
    assert ShortConfig.model_validate(yaml.safe_load(EXAMPLE.read_text())).data == "pictures"


def test_own_pictures_train_by_the_command_and_the_model_is_used(trained, capsys, tmp_path, monkeypatch):
    said = json.loads((trained.parent / "said.json").read_text())
    assert said["recipe"] == "own-pictures" and said["device"] == "cpu" and said["seed"] == 0
    assert said["slots"] == ["image", "text:en"] and said["parameters"] > 0
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "imagine", "a red square", "--model", trained, "-o", "a.png")
    assert (code, out, err) == (0, "a.png\n", "")
    with Image.open("a.png") as made:
        assert made.size == (16, 16)
    code, out, err = run(capsys, "describe", trained.parent / "pictures" / "red-disc.png", "--model", trained)
    assert code == 0 and out.count("\n") == 1 and err == ""


def test_samples_are_written_as_it_trains(trained):
    names = sorted(path.name for path in (trained / "samples").iterdir())
    assert names == [f"step-{step:06d}.{suffix}" for step in (20, 40) for suffix in ("png", "txt")]
    with Image.open(trained / "samples" / "step-000040.png") as grid:
        assert grid.width > 8 * 128 and grid.height > 2 * 128
    lines = (trained / "samples" / "step-000040.txt").read_text().splitlines()
    assert len(lines) == 4
    assert all(re.fullmatch(r"image -> text:en  .* \((val|train): 'a \w+ \w+'\)", line) for line in lines)
    assert "(val: " in lines[0], "unseen ones come first"


def test_looking_does_not_change_the_weights(trained, own, tmp_path, monkeypatch):
    monkeypatch.chdir(own)
    train(recipe("own.yaml"), tmp_path, make_accelerator("cpu"))
    for stage in ("tokenizer-image", "fusion"):
        watched, alone = (load_weights(folder / stage / "state.safetensors") for folder in (trained, tmp_path))
        assert watched.keys() == alone.keys()
        assert all(torch.equal(watched[name], alone[name]) for name in alone), stage


def test_tensorboard_gets_what_the_metrics_file_gets(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(trained / "tensorboard")).Reload()
    for stage in ("tokenizer-image", "fusion"):
        lines = [json.loads(line) for line in (trained / stage / "metrics.jsonl").read_text().splitlines()]
        for name in {"loss", "learning_rate"}:
            points = [(event.step, event.value) for event in events.Scalars(f"{stage}/{name}")]
            assert points == [(line["step"], pytest.approx(line[name])) for line in lines]


def test_tensorboard_without_its_package_is_one_line_before_any_work(own, capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # what Python does for a missing module
    code, out, err = run(capsys, "train", own / "own.yaml", "-o", tmp_path / "run", "--tensorboard")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert 'pip install -e ".[track]"' in err
    assert list(tmp_path.rglob("*")) == []


def test_dry_run_tells_the_cost_and_writes_nothing(trained, own, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    started = time.monotonic()
    code, out, err = run(capsys, "train", own / "own.yaml", "--dry-run", "--json", "--seed", "7", "--device", "cpu")
    elapsed = time.monotonic() - started
    plan = json.loads(out)
    assert code == 0 and err == "" and list(tmp_path.iterdir()) == []
    assert plan["chain"]["seed"] == 7 and plan["output"] == "runs/own-pictures" and not plan["goes_on"]
    tokenizer, fusion = plan["networks"]
    assert (tokenizer["name"], tokenizer["steps"]) == ("tokenizer image", 20)
    assert (fusion["name"], fusion["steps"]) == ("fusion", 40)
    made = {name: t for name, t in load_weights(trained / "fusion" / "state.safetensors").items() if "average/" in name}
    said = json.loads((own / "said.json").read_text())["parameters"]
    assert said == sum(t.numel() for t in made.values())
    assert fusion["parameters"] == pytest.approx(said, rel=0.2), "the size of the vocabulary is not known before"
    for one in plan["networks"]:
        assert one["state_bytes"] == 20 * one["parameters"]
        assert one["peak_bytes"] == one["state_bytes"] + one["activation_bytes"] > one["state_bytes"]
        assert 0 < one["seconds_per_step"] < elapsed
        assert one["seconds"] == pytest.approx(one["seconds_per_step"] * one["steps"])
    assert plan["seconds"] == pytest.approx(tokenizer["seconds"] + fusion["seconds"])


def test_activations_grow_with_the_batch_and_weights_do_not():
    from vqfusion.train.fusion.estimate import estimate

    few, many = (
        estimate(
            expand(ShortConfig(name="x", data="digits", size="tiny", batch=batch), open_dataset("digits")),
            make_accelerator("cpu"),
        )
        for batch in (4, 8)
    )
    for a, b in zip(few, many, strict=True):
        assert a.state_bytes == b.state_bytes and a.parameters == b.parameters
        assert 1.5 < b.activation_bytes / a.activation_bytes < 2.5


def test_another_seed_is_another_run(trained, own, capsys, monkeypatch):
    monkeypatch.chdir(own)
    code, out, err = run(capsys, "train", "own.yaml", "-o", "run", "--seed", "1")
    assert (code, out) == (2, "") and "another config" in err
    first = load_weights(trained / "tokenizer-image" / "state.safetensors")
    code, *_ = run(capsys, "train", "own.yaml", "-o", "other", "--seed", "1", "--device", "cpu")
    other = load_weights(own / "other" / "tokenizer-image" / "state.safetensors")
    assert code == 0 and any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("recipe", ["own.yaml", "photo-prior", "digits-latent"])
def test_the_folder_of_another_model_is_left_alone(own, capsys, tmp_path, monkeypatch, recipe):
    monkeypatch.chdir(own)
    (tmp_path / "config.json").write_text("{}")
    code, out, err = run(capsys, "train", recipe, "-o", tmp_path)
    assert (code, out) == (2, "") and "holds another model" in err and err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_what_does_not_fit_its_slot_is_told(tmp_path, capsys, monkeypatch):
    draw_pictures(tmp_path / "pictures")
    (tmp_path / "pictures" / "red-disc.txt").write_text("a red disc " * 40)
    (tmp_path / "own.yaml").write_text(
        yaml.safe_dump({"name": "x", "data": "pictures", "max_length": 32} | QUICK | {"steps": 1})
    )
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, "train", "own.yaml", "--device", "cpu")
    assert code == 0 and re.search(r"text:en: 1 of \d+ left out, empty or longer than 32 tokens", err)


def test_two_processes_speak_as_one(tmp_path):
    short = ShortConfig(
        name="two", data="digits", size="tiny", image_size=16, limit_keys=60, tokenizer_steps=2, steps=2
    )
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(short.model_dump(mode="json")))
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone", "-m", "vqfusion"]
    done = subprocess.run([*launch, "train", "two.yaml", "--json"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout)["recipe"] == "two"
    assert (tmp_path / "runs" / "two" / "config.json").exists()


def test_an_absent_device_is_one_line(own, capsys, tmp_path):
    code, out, err = run(capsys, "train", own / "own.yaml", "-o", tmp_path, "--device", "cuda:63")
    assert (code, out, err.count("\n")) == (2, "", 1) and "cuda:63" in err


MISTAKES = {
    "not YAML": ("name: x\ndata: [1,\n", "my.yaml:3: not valid YAML"),
    "tab": ("name: x\n\tdata: pictures\n", "my.yaml:2: not valid YAML"),
    "unknown key": ("name: x\ndata: pictures\nlerning_rate: 1\n", "my.yaml: lerning_rate"),
    "key that is no word": ("name: x\ndata: pictures\n1: 2\n", "my.yaml: 1"),
    "missing key": ("data: pictures\n", "my.yaml: name"),
    "wrong value": ("name: x\ndata: pictures\nsteps: many\n", "my.yaml: steps"),
    "unknown size": ("name: x\ndata: pictures\nsize: huge\n", "my.yaml: size"),
    "unknown key deep inside": ("name: x\nfusion: {dim: 8, heds: 2}\n", "my.yaml: fusion.heds"),
    "no such folder": ("name: x\ndata: photographs\n", "photographs"),
    "language that the data lack": ("name: x\ndata: pictures\nlanguages: [de]\n", "no text in 'de', but text:en"),
    "crop that the network cannot take": (
        "name: x\ndata: pictures\ncrop: 10\nprior: {}\n",
        "crop 10 is not a multiple of 8",
    ),
    "slot that the data lack": ("name: x\ndata: pictures\nslots: [image, audio]\n", "audio"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("flags", [(), ("--dry-run",)], ids=["train", "dry run"])
def test_a_mistake_in_the_file_is_one_line_that_names_it(own, capsys, tmp_path, monkeypatch, mistake, flags):
    content, words = MISTAKES[mistake]
    monkeypatch.chdir(tmp_path)
    os.symlink(own / "pictures", "pictures")
    Path("my.yaml").write_text(content)
    code, out, err = run(capsys, "train", "my.yaml", *flags)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith("vqfusion: ") and words in err and "Traceback" not in err
    assert not Path("runs").exists()


def whole(**changes) -> dict:
    """The example as a full config, with slots of pictures changed or added."""
    slots = {name: {"tokenizer": "image", "patch": [1, 1], **slot} for name, slot in changes.pop("slots", {}).items()}
    short = ShortConfig(name="x", data="pictures", **QUICK)
    config = expand(short, open_dataset("pictures")).model_dump(mode="json")
    config["fusion"]["slots"] |= slots
    return config | changes


REFUSED = {
    "a size that its small view does not divide": (
        lambda: whole(image_size=18, slots={"image@16": {"shape": [4, 4], "patch": [2, 2]}}),
        "image_size is 18, and the slot image@16 needs a multiple of 4",
    ),
    "a grid that is no square": (lambda: whole(slots={"image": {"shape": [4, 2]}}), "write [4, 4]"),
    "a tokenizer that the data lack": (
        lambda: {"name": "x", "data": "pictures", "tokenizers": {"audio": {"kind": "audio"}}},
        "has no audio in its train split; it has image, text:en",
    ),
    "a draw that the data lack": (
        lambda: whole(languages=["en"], draws=[{"given": ["label"], "target": ["image"]}]),
        "no training record has what the draw ('label',) -> ('image',) needs",
    ),
    "volumes that the data lack": (
        lambda: {"name": "x", "data": "pictures", "prior": {"modality": "volume"}},
        "holds no volume; it has image, text:en",
    ),
    "classes that the data lack": (lambda: {"name": "x", "data": "pictures", "latent": {}, "label": "label"}, "label"),
    "another size than that of the start": (
        lambda: {"name": "x", "data": "pictures"} | QUICK,
        "the model to start from is 256 wide",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_dry_run_refuses_what_the_run_refuses(own, capsys, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    os.symlink(own / "pictures", "pictures")
    content, words = REFUSED[case]
    Path("my.yaml").write_text(yaml.safe_dump(content()))
    begin = ("--start", "emoji") if "start" in case else ()
    dry, real = (run(capsys, "train", "my.yaml", "--device", "cpu", *begin, *more) for more in (("--dry-run",), ()))
    assert dry == real and dry[:2] == (2, "") and words in dry[2] and dry[2].count("\n") == 1, (dry, real)
    assert not Path("runs").exists()


def stop(arguments: list[str], seen, number: int) -> tuple[int, list[str]]:
    """Run the command, send a signal as soon as `seen()`, and give exit code and lines of standard error."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not seen() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    return process.returncode, [line for line in err.splitlines() if line.startswith("vqfusion")]


def test_a_stop_at_any_stage_is_one_line_and_the_same_command_goes_on(tmp_path):
    short = ShortConfig(
        name="stop", data="digits", size="tiny", image_size=16, limit_keys=60, batch=4, tokenizer_steps=60, steps=4
    )
    chain = expand(short, open_dataset("digits")).model_copy(update={"views_per_sample": 120})
    (tmp_path / "chain.yaml").write_text(json.dumps(chain.model_dump(mode="json")))
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "vqfusion", "train", str(tmp_path / "chain.yaml"), "-o", str(folder)]
    metrics, state = (folder / "tokenizer-image" / name for name in ("metrics.jsonl", "state.safetensors"))

    code, lines = stop(command, lambda: metrics.exists() and metrics.read_text(), signal.SIGINT)
    assert code == 130 and len(lines) == 1 and re.search(r"stopped at step \d+ of 60", lines[0])
    assert state.exists()

    finished = folder / "tokenizer-image.safetensors"
    for number, expected in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        if finished.exists():
            finished.unlink()  # written again when the tokenizer is ready, just before the tokens
        code, lines = stop(command, finished.exists, number)
        assert code == expected and len(lines) == 1, lines
        assert not (folder / "tokens.safetensors").exists() and not (folder / "fusion").exists()
    steps = [json.loads(line)["step"] for line in metrics.read_text().splitlines()]
    assert steps == [20, 40, 60], "went on, not again"

    trained_at = state.stat().st_mtime_ns
    assert subprocess.run(command, capture_output=True, timeout=120).returncode == 0
    assert state.stat().st_mtime_ns == trained_at and (folder / "config.json").exists()


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(tmp_path):
    draw_pictures(tmp_path / "pictures")
    content = {"name": "full", "data": "pictures"} | QUICK | {"tokenizer_steps": 2, "steps": 2}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(content))
    command = [sys.executable, "-m", "vqfusion", "train", "own.yaml", "-o", "run", "--device", "cpu"]

    def run_on(disk: int) -> subprocess.CompletedProcess:
        """The command where no file may have more bytes."""
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (disk, disk))  # noqa: E731
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, preexec_fn=limit, timeout=120)

    for disk, name in ((100, "chain.json"), (10_000, "tokenizer-image/state.safetensors")):
        done = run_on(disk)
        lines = [line for line in done.stderr.splitlines() if line.startswith("vqfusion")]
        assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
        assert len(lines) == 1 and f"run/{name}" in lines[0] and "cannot be written" in lines[0], lines
        assert not [path for path in tmp_path.rglob("*") if ".part" in path.name or path.name.startswith(".")]
    with (tmp_path / "run" / "tokenizer-image" / "metrics.jsonl").open("a") as metrics:
        metrics.write('{"step": 40, "lo')  # what a full disk leaves of a line
    assert run_on(2**30).returncode == 0 and (tmp_path / "run" / "config.json").exists()


def test_data_and_doctor_speak_json(own, capsys):
    code, out, err = run(capsys, "data", own / "pictures", "--json")
    report = json.loads(out)
    assert code == 0 and err == "" and out.count("\n") == 1
    assert report["records"] == report["keys"] == sum(report["splits"].values()) == 24
    assert report["slots"]["image"] == report["slots"]["text:en"] == report["splits"]
    code, out, err = run(capsys, "doctor", "--json")
    report = json.loads(out)
    assert code == 0 and err == "" and out.count("\n") == 1
    assert report["packages"]["torch"] == torch.__version__ and report["devices"][0] == "cpu"


def test_eval_and_demo_speak_json(trained, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ("--data", trained.parent / "pictures", "--only", "likelihood", "--limit", "2", "-o", "eval.json")
    code, out, err = run(capsys, "eval", "--model", trained, "--json", *arguments)
    assert code == 0 and json.loads(out) == json.loads(Path("eval.json").read_text()), err
    monkeypatch.chdir(trained.parent)  # the data that it was trained on are named from there
    code, out, err = run(capsys, "demo", "--model", trained, "--json", "-o", tmp_path / "site")
    assert code == 0 and Path(json.loads(out)["page"]) == tmp_path / "site" / "index.html", err
    assert (tmp_path / "site" / "index.html").exists()


def test_data_beside_the_file_comes_before_a_built_in_set(tmp_path, monkeypatch):
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "a.txt").write_text("one")
    monkeypatch.chdir(tmp_path)
    for file in (Path("own.yaml"), tmp_path / "own.yaml"):
        data = beside(file, "digits")
        assert data != "digits" and Path(data).samefile(tmp_path / "digits")
    assert beside(Path("elsewhere/own.yaml"), "digits") == "digits"
