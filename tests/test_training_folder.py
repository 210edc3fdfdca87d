"""The folder of a training: one process at a time, kills, changes of the config, what a stopped run is good for."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from accelerate import Accelerator
from PIL import Image

from vqfusion.config import PriorConfig, PriorTrainingConfig, ShortConfig, StageConfig
from vqfusion.data import Dataset, Record, open_dataset
from vqfusion.errors import Note, UserError
from vqfusion.files import remove_unfinished
from vqfusion.hub import load
from vqfusion.models.restoration.prior import Prior
from vqfusion.nn.weights import load_weights, load_with_metadata, save_weights
from vqfusion.runs.lock import release, take
from vqfusion.train.fusion.own_data import expand
from vqfusion.train.fusion.trainer import train as train_chain
from vqfusion.train.loop.accelerator import make_accelerator
from vqfusion.train.loop.contract import differences, refused
from vqfusion.train.loop.fit import fit
from vqfusion.train.loop.pace import learning_rate
from vqfusion.train.loop.run import FINISHED, GOES_ON, OTHER_RUN
from vqfusion.train.loop.signals import Interrupted
from vqfusion.train.loop.steps import share, step_generator
from vqfusion.train.restoration.trainer import run_folder, train
from vqfusion.types import Sample

pytestmark = pytest.mark.slow

STAGE = StageConfig(steps=30, batch=4, warmup_steps=2, precision="fp32", learning_rate=3e-3)
TRAINING = PriorTrainingConfig(
    name="toy", data="pictures", prior=PriorConfig(widths=(4,), depths=(1,)), stage=STAGE, crop=8
)


class Net(torch.nn.Module):
    """A line through noise, whose loss is NaN from the step `broken` on."""

    def __init__(self, broken: int = 10**6):
        super().__init__()
        torch.manual_seed(0)
        self.map, self.broken, self.steps = torch.nn.Linear(2, 1), broken, 0

    def loss(self, x):
        self.steps += 1
        loss = (self.map(x) - x.sum(dim=1, keepdim=True)).square().mean()
        return (loss * torch.nan if self.steps > self.broken else loss), {"error": loss.detach()}


def batches(step: int, rank: int, processes: int) -> torch.Tensor:
    items = share(range(STAGE.batch), rank, processes)
    return torch.stack([torch.randn(2, generator=step_generator(0, step, i)) for i in items])


def fitted(net: Net, folder: Path, stage: StageConfig = STAGE, **more) -> torch.nn.Module:
    contract = json.dumps([stage.model_dump(mode="json")])
    return fit(net, batches, stage, folder, contract, Accelerator(cpu=True), **more)


def lines(folder: Path) -> list[dict]:
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in found]


def data() -> Dataset:
    noise = [torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    sources = [{"image": partial(Sample, "image", one)} for one in noise]
    return Dataset("noise", [Record(str(i), "train", sources=one) for i, one in enumerate(sources)])


def test_metrics_after_a_resume_are_those_of_a_run_that_was_never_stopped(tmp_path):
    fitted(Net(), tmp_path / "whole")
    with pytest.raises(Interrupted):
        fitted(Net(), tmp_path / "parts", stop_after=11)
    fitted(Net(), tmp_path / "parts")
    assert lines(tmp_path / "parts") == lines(tmp_path / "whole") and len(lines(tmp_path / "whole")) == 2


def test_steps_may_change_on_resuming_and_the_learning_rate_follows(tmp_path, capsys):
    with pytest.raises(Interrupted):
        fitted(Net(), tmp_path, stop_after=10)
    longer = STAGE.model_copy(update={"steps": 60})
    fitted(Net(), tmp_path, longer)
    told = capsys.readouterr().err
    assert (
        "steps 30 -> 60" in told and f"{learning_rate(longer, 10):.3g}, it was {learning_rate(STAGE, 10):.3g}" in told
    )
    assert [line["step"] for line in lines(tmp_path)] == [20, 40, 60]
    assert lines(tmp_path)[0]["learning_rate"] == pytest.approx(learning_rate(longer, 19), rel=1e-5)
    with pytest.raises(UserError, match="has 60 steps behind it, more than `steps: 20`; raise `steps`"):
        fitted(Net(), tmp_path, STAGE.model_copy(update={"steps": 20}))
    with pytest.raises(UserError, match=r"another config \(0.batch was 4 and is 8\)"):
        fitted(Net(), tmp_path, STAGE.model_copy(update={"batch": 8}))


def test_only_stages_may_change():
    old = {"stage": {"steps": 1, "warmup_steps": 0}, "slots": {"image": {"steps": 2}}}
    new = {"stage": {"steps": 9, "warmup_steps": 0}, "slots": {"image": {"steps": 9}}}
    assert [(one.where, one.allowed) for one in differences(old, new)] == [
        ("stage.steps", True),
        ("slots.image.steps", False),
    ]
    assert refused(json.dumps(old), json.dumps(old | {"stage": new["stage"]})) is None
    assert refused("no JSON", "other") == ""


def test_a_loss_that_is_not_finite_stops_the_run_and_the_checkpoint_before_stays(tmp_path):
    often = STAGE.model_copy(update={"checkpoint_every_s": 0.0})
    with pytest.raises(UserError, match="not finite at step 6 of 30; the checkpoint of step 5 is kept.*learning_rate"):
        fitted(Net(broken=5), tmp_path, often)
    tensors, notes = load_with_metadata(tmp_path / "state.safetensors")
    assert notes["step"] == "5" and all(torch.isfinite(one.float()).all() for one in tensors.values())
    fitted(Net(), tmp_path, often)
    with pytest.raises(UserError, match="not finite"):  # weights that leave the numbers in the last step
        fitted(Net(), tmp_path / "wild", STAGE.model_copy(update={"learning_rate": 1e30, "clip_norm": 0.0}))


def test_weights_that_are_not_finite_are_not_loaded(tmp_path):
    prior = Prior(TRAINING.prior)
    prior.save_pretrained(tmp_path)
    weights = load_weights(tmp_path / "prior.safetensors")
    name = next(iter(weights))
    save_weights(tmp_path / "prior.safetensors", weights | {name: weights[name] * torch.nan})
    with pytest.raises(UserError, match="prior.safetensors: the weights hold NaN or infinity"):
        Prior.from_pretrained(tmp_path)


def test_a_checkpoint_is_read_back_and_nothing_lies_beside_it(tmp_path):
    odd = {"a/ü": torch.randn(3, 5).half().T, "b": torch.tensor(3), "c": torch.zeros(0, 4), "d": torch.ones(5).bool()}
    save_weights(tmp_path / "x.safetensors", odd, {"step": "1"})
    tensors, notes = load_with_metadata(tmp_path / "x.safetensors")
    assert notes == {"step": "1"} and tensors.keys() == odd.keys()
    assert all(torch.equal(tensors[name], odd[name]) and tensors[name].dtype == odd[name].dtype for name in odd)
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors"]


WRITER = """
import sys, torch
from pathlib import Path
from vqfusion.nn.weights import save_weights
values = {str(i): torch.full((200_000,), float(i)) for i in range(20)}
print("ready", flush=True)
while True:
    save_weights(Path(sys.argv[1]), values, {"note": "x"})
"""


def test_a_killed_write_leaves_the_old_file_and_nothing_that_is_not_cleaned_up(tmp_path):
    path = tmp_path / "state.safetensors"
    for wait in (0.05, 0.17, 0.31):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
        writer.stdout.readline()
        deadline = time.monotonic() + 60
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(wait)
        writer.kill()
        writer.communicate()
        assert len(load_weights(path)) == 20
    remove_unfinished(tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["state.safetensors"]


HOLDER = """
import sys
from pathlib import Path
from vqfusion.runs.lock import take
take(Path(sys.argv[1]))
print("held", flush=True)
input()
"""


def test_a_lock_names_its_holder_and_ends_with_its_process(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / "x")], stdin=-1, stdout=-1)
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(UserError, match=f"process {holder.pid} on .* is training here; wait for it"):
        take(tmp_path / "x")
    holder.kill()
    holder.communicate()
    release(take(tmp_path / "x"))
    release(take(tmp_path / "x"))
    os.symlink(tmp_path / "target", tmp_path / "planted")
    with pytest.raises(UserError, match="planted: cannot be written"):
        take(tmp_path / "planted")
    assert not (tmp_path / "target").exists()


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A folder with pictures and a training of them that takes long enough to be met."""
    (tmp_path / "pictures").mkdir()
    for i in range(8):
        Image.effect_noise((16, 16), 60 + i).save(tmp_path / "pictures" / f"{i}.png")
    stage = {"steps": 4000, "batch": 4, "checkpoint_every_s": 0.0, "warmup_steps": 2}
    content = {"name": "toy", "data": "pictures", "prior": {"channels": 1, "widths": [4], "depths": [1]}, "crop": 8}
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(content | {"sizes": [], "stage": stage}))
    monkeypatch.chdir(tmp_path)
    return [sys.executable, "-m", "vqfusion"]


def test_one_training_at_a_time_and_a_stopped_one_can_be_used_and_lengthened(toy):
    first = subprocess.Popen([*toy, "train", "toy.yaml", "-o", "run"], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 200
    while not Path("run/unfinished.json").exists() and first.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    second = subprocess.run([*toy, "train", "toy.yaml", "-o", "run"], capture_output=True, text=True, timeout=200)
    assert second.returncode == 2 and f"process {first.pid} on" in second.stderr and "training here" in second.stderr
    assert second.stderr.count("\n") == 1, second.stderr
    first.send_signal(signal.SIGINT)
    _, told = first.communicate(timeout=100)
    assert first.returncode == 130 and "--model takes what it has learned so far" in told, told
    step = json.loads(Path("run/unfinished.json").read_text())["step"]
    used = subprocess.run(
        [*toy, "denoise", "pictures/0.png", "--model", "run", "--sigma", "0.1", "-o", "clean.png"],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert used.returncode == 0 and f"run: unfinished: step {step} of 4000 of prior" in used.stderr, used.stderr
    with pytest.warns(Note, match=f"unfinished: step {step} of 4000"):
        assert isinstance(load("run", "cpu"), Prior)
    content = yaml.safe_load(Path("toy.yaml").read_text())
    content["stage"] |= {"steps": step + 2, "checkpoint_every_s": 60.0}
    Path("toy.yaml").write_text(yaml.safe_dump(content))
    ended = subprocess.run([*toy, "train", "toy.yaml", "-o", "run"], capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0 and f"steps 4000 -> {step + 2}" in ended.stderr, ended.stderr
    assert not Path("run/unfinished.json").exists()
    load("run", "cpu")


def test_a_finished_run_goes_on_with_more_steps_and_refuses_another_config(tmp_path):
    short = TRAINING.model_copy(update={"stage": STAGE.model_copy(update={"steps": 2})})
    train(short, tmp_path, Accelerator(cpu=True), data(), show=False)
    assert run_folder(short, tmp_path).state() == FINISHED
    assert run_folder(TRAINING, tmp_path).state() == GOES_ON
    other = short.model_copy(update={"seed": 1})
    assert run_folder(other, tmp_path).state().startswith(f"{OTHER_RUN} (seed was 0 and is 1)")
    with pytest.raises(UserError, match="another config .seed was 0 and is 1"):
        train(other, tmp_path, Accelerator(cpu=True), data(), show=False)
    assert json.loads((tmp_path / "prior.json").read_text())["seed"] == 0


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """A chain that was stopped inside the tokenizer of its pictures, and its config."""
    (tmp_path / "pictures").mkdir()
    for i in range(8):
        Image.effect_noise((16, 16), 60 + i).save(tmp_path / "pictures" / f"{i}.png")
        (tmp_path / "pictures" / f"{i}.txt").write_text(f"number {i}")
    monkeypatch.chdir(tmp_path)
    short = ShortConfig(
        name="x", data="pictures", size="tiny", image_size=16, tokenizer_steps=40, steps=2, batch=2, slots=SLOTS
    )
    chain = expand(short, open_dataset("pictures"))

    def stop(stage: str, line: dict[str, float]) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match="stopped at step 21 of 40.*--model takes what it has learned so far"):
        train_chain(chain, Path("run"), make_accelerator("cpu"), on_metrics=stop)
    return chain


SLOTS = ("image", "text:en")


def test_a_chain_that_was_stopped_in_its_tokenizers_can_be_used_as_far_as_it_is(stopped, cli):
    words = "run: unfinished: step 21 of 40 of tokenizer image; the same `vqfusion train` goes on from there"
    code, out, err = cli("imagine", "number 1", "--model", "run", "-o", "a.png")
    assert (code, out) == (2, "") and words in err and "tokenizers only" in err and "Traceback" not in err, err
    code, _, err = cli("encode", "pictures/0.png", "--model", "run", "-o", "a.vqf")
    assert code == 0 and words in err, err
    code, _, err = cli("decode", "a.vqf", "--model", "run", "-o", "back.png")
    assert code == 0 and words in err, err
    with Image.open("back.png") as back:
        assert back.size == (16, 16)
    code, out, err = cli("inspect", "run", "--json")
    assert code == 0 and [row["modality"] for row in json.loads(out)["tokenizers"]] == ["image"], err
    train_chain(stopped, Path("run"), make_accelerator("cpu"))
    assert not Path("run/unfinished.json").exists()
    assert cli("imagine", "number 1", "--model", "run", "-o", "a.png")[0] == 0
    kept = Path("run/config.json").read_bytes()
    train_chain(stopped, Path("run"), make_accelerator("cpu"))
    assert Path("run/config.json").read_bytes() == kept, "tokenizers alone never take the place of the whole"


RACE = """
import os, sys
from pathlib import Path
import torch
from accelerate import Accelerator
from vqfusion.config import PriorTrainingConfig, load_yaml
from vqfusion.errors import UserError
from vqfusion.train.restoration.trainer import train

torch.set_num_threads(1)
training = PriorTrainingConfig.model_validate(load_yaml(Path("toy.yaml")))
accelerator = Accelerator(cpu=True)
for pair in range(int(sys.argv[1])):
    gate, opened = os.pipe()
    children = []
    for one in "ab":
        if not (child := os.fork()):
            os.close(opened)
            os.read(gate, 1)  # until both are there
            said = "trained"
            try:
                train(training, Path(f"run{pair}"), accelerator, show=False)
            except UserError as error:
                said = str(error)
            Path(f"said{pair}{one}").write_text(f"{os.getpid()} {said}")
            os._exit(0)
        children.append(child)
    os.close(gate), os.close(opened)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
"""


def test_of_two_trainings_at_once_one_trains_and_the_other_names_it(toy):
    """Five pairs of processes; a longer form of this is what two shells do to one folder."""
    content = yaml.safe_load(Path("toy.yaml").read_text())
    content["stage"] |= {"steps": 30}
    Path("toy.yaml").write_text(yaml.safe_dump(content))
    done = subprocess.run([sys.executable, "-c", RACE, "5"], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    for pair in range(5):
        said = dict(Path(f"said{pair}{one}").read_text().split(" ", 1) for one in "ab")
        trained = [process for process, words in said.items() if words == "trained"]
        assert len(trained) == 1, said
        (other,) = (words for words in said.values() if words != "trained")
        assert other.startswith(f"run{pair}: process {trained[0]} on ") and "is training here" in other
        assert not Path(f"run{pair}/unfinished.json").exists()
        load(f"run{pair}", "cpu")
