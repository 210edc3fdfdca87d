"""Kills at random moments, two of everything at once, full disks and planted links, over and over.

`python tests/soak/soak.py --seconds 60 --seed 7` prints what was not right and ends with 1 where anything was. Commands
run in processes that are forked from this one, which has everything imported.
"""

import argparse
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", HF_HUB_OFFLINE="1")

import numpy as np
import torch
import yaml
from PIL import Image

from vqfusion.cli import main
from vqfusion.config import PriorConfig, PriorTrainingConfig, StageConfig
from vqfusion.models.restoration.prior import Prior
from vqfusion.nn.weights import load_weights

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
STAGE = StageConfig(steps=30, batch=2, warmup_steps=2, precision="fp32", checkpoint_every_s=0)
TRAINING = PriorTrainingConfig(
    name="toy", data="pictures", prior=PriorConfig(widths=(4,), depths=(1,)), stage=STAGE, crop=8
)
MOST_KILLS = 6  # of one training, which then may end


class Soak:
    """A folder with a picture, a tiny model and a training, on which the trials work; `failures` are in words."""

    def __init__(self, seed: int):
        self.chance, self.failures, self.count = random.Random(seed), list[str](), 0
        self.home = Path(tempfile.mkdtemp(prefix="vqfusion-soak-"))
        pixels = np.random.default_rng(0)
        (self.home / "pictures").mkdir()
        for i in range(12):
            picture = Image.fromarray(pixels.integers(0, 256, (12, 12, 3), np.uint8))
            picture.save(self.home / "pictures" / f"{i}.png")
        picture.resize((96, 96)).save(self.home / "a.png")
        picture.resize((96, 96), Image.Resampling.NEAREST).save(self.home / "b.png")
        torch.manual_seed(0)
        Prior(PriorConfig(widths=(4,), depths=(1,), channels=3)).save_pretrained(self.home / "model")
        (self.home / "t.yaml").write_text(yaml.safe_dump(TRAINING.model_dump(mode="json", exclude_defaults=True)))
        os.chdir(self.home)
        self.place = self.home / "place"
        self.wanted: dict[str, torch.Tensor] | None = None  # weights of the training that nobody disturbs

    def trials(self) -> list[Callable[[], str]]:
        """Every kind of trial; each returns what was wrong, or nothing."""
        return [self.killed_writing, self.two_on_one_output, self.full_disk, self.planted_link, self.read_only,
                self.killed_training, self.two_trainings]  # fmt: skip

    def look(self, trial: Callable[[], str]) -> None:
        """One trial in an empty folder."""
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir()
        self.count += 1
        if wrong := trial():
            self.failures.append(f"trial {self.count}, {trial.__name__}: {wrong}")

    def killed_writing(self) -> str:
        """The old file or a whole new one, whenever the command is ended."""
        shutil.copy("b.png", "place/out.png")
        old, number = Path("place/out.png").read_bytes(), self.chance.choice(SIGNALS)
        child = start(*self._denoise("--force"))
        time.sleep(0.6 * self.chance.random())
        code = end(child, number)
        if code not in (0, 130, -number):
            return f"ended with {code} on signal {number}"
        if Path("place/out.png").read_bytes() != old:
            Image.open("place/out.png").load()
        left = [name for name in os.listdir("place") if name != "out.png"]
        parts = [name for name in left if name.startswith(".vqfusion-")]
        return f"left {left}" if left != parts or (parts and number == signal.SIGINT) else ""

    def two_on_one_output(self) -> str:
        """Exactly one of two commands has its result, and the other one says so."""
        codes = sorted(end(child) for child in [start(*self._denoise()), start(*self._denoise())])
        whole = os.listdir("place") == ["out.png"] and Image.open("place/out.png").size == (96, 96)
        return "" if codes == [0, 2] and whole else f"codes {codes}, files {os.listdir('place')}"

    def full_disk(self) -> str:
        """Nothing is left, the old file stays."""
        force = self.chance.random() < 0.5
        if force:
            Path("place/out.png").write_bytes(b"old")

        def small_disk() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

        code = end(start(*self._denoise(*["--force"] * force), before=small_disk))
        found = {path.name: path.read_bytes() for path in self.place.iterdir()}
        return "" if code == 2 and found == ({"out.png": b"old"} if force else {}) else f"code {code}, files {found}"

    def planted_link(self) -> str:
        """A link at the target is refused, or replaced where overwriting is asked for; what it leads to stays."""
        Path("place/precious").write_bytes(b"precious")
        os.symlink("precious" if self.chance.random() < 0.5 else "nowhere", "place/out.png")
        force = self.chance.random() < 0.5
        code = end(start(*self._denoise(*["--force"] * force)))
        kept = Path("place/precious").read_bytes() == b"precious" and not Path("place/nowhere").exists()
        right = code == (0 if force else 2) and os.path.islink("place/out.png") != force
        return "" if kept and right else f"code {code}, files {os.listdir('place')}"

    def read_only(self) -> str:
        """A folder that may not be written to is refused; for root, who may, there is none."""
        os.chmod("place", 0o500)
        code = end(start(*self._denoise()))
        os.chmod("place", 0o700)
        expected = 0 if os.getuid() == 0 else 2
        return "" if code == expected and len(os.listdir("place")) == (code == 0) else f"ended with {code}"

    def killed_training(self) -> str:
        """A training that was killed again and again ends with the weights of one that was not."""
        if self.wanted is None:
            if code := end(start("train", "t.yaml", "-o", "undisturbed", "--device", "cpu")):
                return f"an undisturbed training ended with {code}"
            self.wanted = load_weights(self.home / "undisturbed" / Prior.weights)
        for kills in range(MOST_KILLS + 1):
            number = self.chance.choice(SIGNALS)
            child = start("train", "t.yaml", "-o", "place/run", "--device", "cpu")
            if kills < MOST_KILLS:
                time.sleep(3 * self.chance.random() ** 2)
            code = end(child, number if kills < MOST_KILLS else None)
            if code == 0:
                break
            if code not in (130, 143, -number):
                return f"ended with {code} on signal {number}"
        else:
            return "did not end"
        found = load_weights(self.place / "run" / Prior.weights)
        left = [str(path) for path in self.place.rglob(".vqfusion-*")]
        same = found.keys() == self.wanted.keys() and all(torch.equal(found[k], self.wanted[k]) for k in found)
        return "" if same and not left else f"other weights: {not same}; left {left}"

    def two_trainings(self) -> str:
        """One trains, the other one is refused, or finds the work done."""
        arguments = ("train", "t.yaml", "-o", "place/run", "--device", "cpu")
        first = start(*arguments)
        time.sleep(self.chance.random())
        codes = [end(child) for child in (first, start(*arguments))]
        whole = (self.place / "run" / Prior.weights).exists()
        return "" if 0 in codes and set(codes) <= {0, 2} and whole else f"codes {codes}"

    def _denoise(self, *more: str) -> tuple[str, ...]:
        return ("denoise", "a.png", "--sigma", "0.1", "--model", "model", "-o", "place/out.png", *more)


def start(*arguments: str, before: Callable[[], None] = lambda: None) -> int:
    """The command in a process of its own; what it says goes nowhere."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.alarm(300)
            before()
            code = main(arguments)
        finally:
            os._exit(code)
    return pid


def end(pid: int, number: int | None = None) -> int:
    """The exit code of a process, negative for the signal that ended it, after `number` is sent to it."""
    if number is not None:
        os.kill(pid, number)  # a child that has ended is still there until it is waited for
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def run(seed: int, seconds: float) -> Soak:
    """All trials in turn, each at least once."""
    torch.set_num_threads(1)
    soak, started = Soak(seed), time.monotonic()
    while soak.count == 0 or time.monotonic() - started < seconds:
        for trial in soak.trials():
            soak.look(trial)
    os.chdir("/")
    shutil.rmtree(soak.home)
    return soak


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Kills, races, full disks and planted links.")
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    soak = run(given.seed, given.seconds)
    print("\n".join(soak.failures))
    print(f"seed {given.seed}: {soak.count} trials, {len(soak.failures)} failures")
    raise SystemExit(bool(soak.failures))
