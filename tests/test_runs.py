"""What the folder of a training tells: state, curves and page, also where it was killed, and the time that is left."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from accelerate import Accelerator
from PIL import Image
from test_training_folder import STAGE as SHORT
from test_training_folder import TRAINING, Net, batches, data

from vqfusion.errors import UserError
from vqfusion.pages.page import wav
from vqfusion.runs.curves import MOST, Curve, chart, curves_of, speed, thinned
from vqfusion.runs.lock import is_taken, release, take
from vqfusion.runs.page import run_page
from vqfusion.runs.record import EVERY_S, Record
from vqfusion.runs.run import FAILED, FINISHED, INTERRUPTED, Stage, read_run, runs_in
from vqfusion.runs.run import TRAINING as RUNNING
from vqfusion.runs.words import duration, left_in_words
from vqfusion.train.loop import pace
from vqfusion.train.loop.fit import fit
from vqfusion.train.loop.pace import Clock
from vqfusion.train.loop.signals import Interrupted
from vqfusion.train.restoration.trainer import run_folder, train
from vqfusion.types import Sample

LONGER = TRAINING.model_copy(update={"stage": SHORT.model_copy(update={"steps": 60})})


@pytest.fixture
def folder(tmp_path):
    """A folder as a training of two networks leaves it: 5 validations, of which that at step 300 is the best."""
    made = tmp_path / "mine"
    for stage in ("tokenizer-image", "fusion"):
        (made / stage).mkdir(parents=True)
        lines = [
            {"step": s, "loss": 2.0 - s / 500, "psnr_db": 20 + s / 100, "learning_rate": 1e-3}
            for s in range(20, 501, 20)
        ]
        text = "".join(json.dumps(line | {"seconds": line["step"] / 10}) + "\n" for line in lines)
        (made / stage / "metrics.jsonl").write_text(text + '{"step": 52')
    losses = {100: 2.1, 200: 1.9, 300: 1.7, 400: 1.8, 500: 2.0}
    rows = [{"step": step, "score": [loss], "loss": loss} for step, loss in losses.items()]
    (made / "fusion" / "validation.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    outcome = {"best_step": 300, "stopped_early": True, "gap": "new records are harder"}
    (made / "fusion" / "validation.json").write_text(json.dumps(outcome))
    (made / "chain.json").write_text(json.dumps({"name": "mine", "data": "<b>cats</b>", "seed": 3}))
    score = {
        "task": "image -> label",
        "metric": "right",
        "unit": "%",
        "value": 91.0,
        "low": 88.0,
        "high": 93.0,
        "n": 200,
    }
    score |= {"baseline": "HOG + SVM", "baseline_value": 85.0, "line": "image -> label: right 91 %"}
    (made / "results.json").write_text(json.dumps({"test": [score]}))
    (made / "samples").mkdir()
    Image.new("RGB", (4, 4)).save(made / "samples" / "step-000500.png")
    (made / "samples" / "step-000500.txt").write_text("image -> text:en  'a <cat>'\n")
    sound = Sample("audio", torch.zeros(1, 160), sample_rate_hz=16000)
    (made / "samples" / "step-000500-1.wav").write_bytes(wav(sound))
    return made


def test_the_page_shows_curves_best_step_samples_score_and_settings_and_loads_nothing(folder):
    Record(folder).end(FINISHED)
    shown = (folder / "run.html").read_text()
    assert "Finished (stopped early)" in shown and 'http-equiv="refresh"' not in shown
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", shown) and "<script" not in shown
    assert "<b>cats</b>" not in shown and "&lt;b&gt;cats&lt;/b&gt;" in shown and "a &lt;cat&gt;" in shown
    for said in ("1.7 at step 300", "psnr_db", "learning rate", "steps a second", "HOG + SVM", "88 to 93", "seed: 3"):
        assert said in shown, said
    assert 'class="best" d="M600.0 0V200"' in shown, "the best step, 300 of 500"
    assert shown.count("data:image/png") == 1 and shown.count("data:audio/wav") == 1
    assert shown.index("curves-of-fusion") < shown.index("curves-of-tokenizer-image")


def test_the_page_of_a_running_training_loads_itself_again_and_says_how_long_it_takes(folder):
    held = take(folder / "train.lock")
    try:
        record = Record(folder)
        record.begin()
        assert "Reading and preparing the data." in (folder / "run.html").read_text()
        record.stands("fusion", 500, 2000, 0.25, left_s=600.0, processor=0.5)
        shown = (folder / "run.html").read_text()
        assert '<meta http-equiv="refresh" content="15">' in shown and "In training" in shown
        assert "10 min left (busy machine: 5 min alone)" in shown and 'style="width:25.0%"' in shown
        run = read_run(folder)
        assert (run.state, run.standing.steps, run.last.best["step"]) == (RUNNING, 2000, 300)
    finally:
        release(held)
    killed = read_run(folder)
    assert killed.state == INTERRUPTED and "goes on from its last checkpoint" in killed.standing.message


def test_pages_are_written_seldom_and_cost_little(folder, monkeypatch):
    record, written = Record(folder), []
    monkeypatch.setattr("vqfusion.runs.record.write_page", lambda place: written.append(place))
    for step in range(1000):
        record.stands("fusion", step, 1000, step / 1000)
    assert len(written) == 1 and record.next_at - time.monotonic() > EVERY_S - 5
    slow = Record(folder)
    monkeypatch.setattr("vqfusion.runs.record.write_page", lambda place: time.sleep(0.3))
    slow.stands("fusion", 1, 2, 0.5)
    assert slow.next_at - time.monotonic() > 25, "a page that took 0.3 s is written again after 30 s"
    other = Record(folder, first=False)
    other.stands("fusion", 1, 2, 0.5)
    other.end(FINISHED)
    assert read_run(folder).standing.state == RUNNING or read_run(folder).state == INTERRUPTED


def test_a_record_that_cannot_be_written_does_not_end_the_training(folder, monkeypatch):
    monkeypatch.setattr("vqfusion.files.os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    Record(folder).stands("fusion", 1, 2, 0.5)
    assert not (folder / "run.html").exists()


@pytest.mark.parametrize("content", ["", "[]", "{", '{"state": 3}', '{"step": "x"}', '{"left_s": "soon"}'])
def test_a_record_of_something_else_tells_nothing(folder, content):
    (folder / "run.json").write_text(content)
    run = read_run(folder)
    assert run.state == "interrupted" and run.standing.step == 500
    run_page(run)


def test_trainings_say_how_they_ended_and_go_on(tmp_path):
    with pytest.raises(Interrupted):
        train(TRAINING, tmp_path / "run", Accelerator(cpu=True), data(), show=False, stop_after=20)
    run = read_run(tmp_path / "run")
    assert (run.kind, run.state, run.standing.step, run.standing.stage) == ("prior", INTERRUPTED, 20, "training")
    assert "stopped at step 20 of 30" in run.standing.message in (tmp_path / "run" / "run.html").read_text()
    began = run.standing.began
    train(TRAINING, tmp_path / "run", Accelerator(cpu=True), data(), show=False)
    run = read_run(tmp_path / "run")
    assert (run.state, run.standing.message, run.standing.step) == (FINISHED, "", 30) and run.standing.began == began
    written = (tmp_path / "run" / "run.json").read_bytes()
    train(TRAINING, tmp_path / "run", Accelerator(cpu=True), data(), show=False)
    assert json.loads((tmp_path / "run" / "run.json").read_bytes())["state"] == FINISHED and written
    assert [one.name for one in runs_in(tmp_path)] == [one.name for one in runs_in(tmp_path / "run")] == ["run"]


def test_a_training_that_fails_says_why(tmp_path):
    with (
        pytest.raises(UserError, match="not finite at step 3"),
        run_folder(TRAINING, tmp_path).held(Accelerator(cpu=True)) as record,
    ):
        fit(Net(broken=2), batches, SHORT, tmp_path / "training", "c", Accelerator(cpu=True), record=record, show=False)
    run = read_run(tmp_path)
    assert run.state == FAILED and "not finite at step 3 of 30" in run.standing.message
    assert 'class="warn"' in (tmp_path / "run.html").read_text()


@pytest.mark.slow
def test_a_killed_training_is_told_as_interrupted_and_its_page_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("pictures").mkdir()
    for i in range(3):
        Image.effect_noise((16, 16), 60 + i).save(f"pictures/{i}.png")
    stage = {"steps": 100000, "batch": 2, "warmup_steps": 1, "precision": "fp32"}
    config = {"name": "toy", "data": "pictures", "crop": 8, "stage": stage, "prior": {"widths": [4], "depths": [1]}}
    Path("toy.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "vqfusion", "train", "toy.yaml", "-o", "run", "--device", "cpu"]
    first = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 200
        while not Path("run/run.json").exists() or not read_run(Path("run")).standing.step:
            assert time.monotonic() < deadline and first.poll() is None
            time.sleep(0.05)
        assert read_run(Path("run")).state == RUNNING and is_taken(Path("run/train.lock"))
        first.send_signal(signal.SIGKILL)
    finally:
        first.kill()
        first.wait()
    assert read_run(Path("run")).state == INTERRUPTED and not is_taken(Path("run/train.lock"))
    config["stage"]["steps"] = 40
    Path("toy.yaml").write_text(yaml.safe_dump(config))
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    run = read_run(Path("run"))
    assert (run.state, run.standing.step) == (FINISHED, 40) and "Finished" in Path("run/run.html").read_text()


def test_curves_keep_their_ends_and_their_means_and_leave_out_what_is_not_finite():
    points = [(float(i), float(i % 7)) for i in range(5000)]
    thin = thinned(points)
    assert len(thin) <= MOST + 1 and thin[-1] == points[-1]
    assert sum(y for _, y in thin) / len(thin) == pytest.approx(3.0, abs=0.05)
    lines = [{"step": 20, "loss": float("nan"), "seconds": 2.0}, {"step": 40, "loss": 1.0, "seconds": 6.0}]
    assert speed(lines) == [(20.0, 10.0), (40.0, 5.0)]
    assert "nan" not in curves_of(Stage("x", lines, []))
    many = [{"step": 20 * n, "loss": 1.0, "often": 1.0, f"bits/{n}": 1.0, "seconds": 2.0 * n} for n in range(1, 40)]
    open_part, _, folded_part = curves_of(Stage("x", many, [])).partition("28 more")
    assert open_part.count("<b>bits/") == 11 and "often" in open_part and folded_part.count("<b>bits/") == 28
    assert chart("nothing", [Curve("a", [])]) == ""
    one = chart("loss", [Curve("a", [(0.0, 1000.0), (10.0, 10.0), (20.0, 1.0)])])
    assert "loss (logarithmic)" in one and "M0.0 5.0L500.0 131.7L1000.0 195.0" in one


def test_time_left_follows_the_pace_and_the_processor(monkeypatch):
    wall, used = [0.0], [0.0]
    monkeypatch.setattr(pace.time, "monotonic", lambda: wall[0])
    monkeypatch.setattr(pace.time, "thread_time", lambda: used[0])
    clock = Clock(alone=True)
    clock.tick(0.0)
    assert clock.left_s is None and clock.processor is None
    for second in range(1, 301):
        wall[0], used[0] = float(second), 0.4 * second
        clock.tick(second / 1000)
    assert clock.left_s == pytest.approx(700) and clock.processor == pytest.approx(0.4)
    for second in range(301, 601):  # alone from here on, and twice as fast
        wall[0], used[0] = float(second), used[0] + 1.0
        clock.tick(0.3 + 2 * (second - 300) / 1000)
    assert clock.left_s == pytest.approx(50) and clock.processor == 1.0
    assert left_in_words(700.0, 0.4) == "12 min left (busy machine: 5 min alone)"
    assert left_in_words(50.0, 1.0) == "50 s left" and left_in_words(None, 0.2) == ""
    assert [duration(s) for s in (5.0, 600.0, 9000.0, 5e5)] == ["5 s", "10 min", "2.5 h", "6 days"]


def test_no_folder_and_no_training_are_one_line(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        list(runs_in(tmp_path / "runs"))
    with pytest.raises(UserError, match="holds no training"):
        read_run(tmp_path)
    assert list(runs_in(tmp_path)) == []


def test_the_list_of_runs_says_where_they_stand_and_how_good_they_are(folder, cli, tmp_path):
    code, out, err = cli("runs")
    assert (code, out) == (0, "") and "runs: no training is here" in err and err.count("\n") == 1
    assert cli("runs", "--json")[1] == '{"runs": []}\n'
    Record(folder).end(FINISHED)
    other = tmp_path / "other"
    (other / "training").mkdir(parents=True)
    (other / "prior.json").write_text('{"name": "other"}')
    code, out, err = cli("runs", tmp_path, "--json")
    one, two = json.loads(out)["runs"]
    assert (one["name"], one["kind"], one["state"]) == ("mine", "fusion", "finished (stopped early)"), err
    assert (
        one["best"] == {"step": 300, "loss": 1.7} and one["test"][0]["baseline_value"] == 85.0 and one["bytes"] > 1000
    )
    assert one["score"] == "image -> label: right 91 %" and one["page"] == str(folder / "run.html")
    assert (two["name"], two["kind"], two["state"], two["best"]) == ("other", "prior", "interrupted", None)
    code, out, _ = cli("runs", folder)
    assert code == 0 and "91" in out and "--model NAME" in out
    code, out, err = cli("runs", tmp_path / "nowhere")
    assert (code, out, err.count("\n")) == (2, "", 1) and "no such folder" in err


def test_models_say_the_state_and_score_of_their_training(cli, prior, tmp_path):
    train(TRAINING, Path("runs/toy"), Accelerator(cpu=True), data(), show=False)
    code, out, err = cli("models", "--json")
    (toy,) = [one for one in json.loads(out)["models"] if one["in"] == "runs"]
    assert (toy["name"], toy["training"], toy["unfinished"]) == ("runs/toy", "finished", False), err
    with pytest.raises(Interrupted):
        train(LONGER, Path("runs/toy"), Accelerator(cpu=True), data(), show=False, stop_after=32)
    (toy,) = [one for one in json.loads(cli("models", "--json")[1])["models"] if one["in"] == "runs"]
    assert (toy["training"], toy["unfinished"]) == ("interrupted", True)
