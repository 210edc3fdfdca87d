"""Mutated inputs through the command, each in a process of its own that is forked from this one.

`python tests/fuzz/fuzzer.py --seconds 60 --seed 7` prints each failure with the file that causes it, and ends with 1
where there is one. The time is that of the processor, so that a busy machine does not make it shorter.
"""

import argparse
import os
import random
import re
import resource
import shlex
import shutil
import signal
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", HF_HUB_OFFLINE="1")

import torch
from fuzz_corpus import make_models, seeds
from fuzz_mutations import mutated
from fuzz_seed import Seed

from vqfusion.cli import main
from vqfusion.commands.say import say
from vqfusion.errors import UserError
from vqfusion.hub import load
from vqfusion.models import kinds
from vqfusion.models.codec.codec import Codec

MOST_CPU_S, MOST_WALL_S, MOST_BYTES, LONGEST_LINE = 20, 300, 6 * 2**30, 500
TORCHS_OWN = "torchinductor_"  # a cache that torch makes where temporary files go
# options with values that people mistype and scripts compute
OPTIONS = [
    f"{flag} {value}"
    for flag, values in {
        "--sigma": ("0", "nan", "-1", "1e999999999", "25/255", "1/0", "1e-300", "0x1", "9" * 300),
        "--steps": ("1", "0", "1000000000000"), "--samples": ("2", "1000000000"), "--seed": ("-1", "9" * 40),
        "--interval": ("0", "1", "nan", "0.999999"), "--mode": ("sample", "interval", "x"),
        "--method": ("ddrm", "dps", "diffpir", "ddnm"), "--report": ("rep",), "--device": ("cpu", "cuda:9", "meta"),
    }.items()
    for value in values
]  # fmt: skip
NAMES = ("in", "in", "in", "in", "a b", "-x", "\x1b[31mred", "caf\udce9", '"><img src=x>', "x" * 200)


@dataclass(frozen=True)
class Case:
    """One run: the bytes of the input, its name, the words of the command, and a folder of files that it needs."""

    data: bytes
    name: str
    command: str
    output: str
    beside: Path | None = None

    def arguments(self) -> list[str]:
        path = "./" + self.name if self.name.startswith("-") else self.name
        words = [path if word == "{}" else word for word in shlex.split(self.command)]
        return [*words, "-o", f"out{self.output}"] if self.output else words


class Fuzzer:
    """Draws cases from a seed and runs them; `failures` are in words, with the folders that hold their files."""

    def __init__(self, seed: int, kept: Path):
        self.chance, self.kept = random.Random(seed), kept
        self.folder = Path(tempfile.mkdtemp(prefix="vqfusion-fuzz-"))
        os.environ["XDG_CACHE_HOME"] = str(self.folder / "cache")  # zips of models are unpacked there
        make_models(self.folder / "models")
        self.seeds = seeds(self.folder / "models")
        self.failures: list[str] = []
        self.count, self.codes = 0, {0: 0, 2: 0}
        # models are loaded once, here, and shared by all processes that are forked
        kinds.open_model = cache(kinds.open_model)
        Codec.from_pretrained = cache(Codec.from_pretrained)
        for seed_input in self.seeds:
            if seed_input.commands[0].startswith("decode"):
                self.look(Case(seed_input.data, "in.vqf", "decode {}", seed_input.output), fork=False)
        for model in (self.folder / "models").iterdir():
            kinds.open_model(model, None)

    def draw(self) -> Case:
        """A damaged input and a command that takes such inputs."""
        one: Seed = self.chance.choice(self.seeds)
        data = mutated(one.data, [other.data for other in self.seeds], one.is_text, self.chance)
        command = self.chance.choice(one.commands)
        if command.split()[0] in ("denoise", "upscale", "inpaint") and self.chance.random() < 0.2:
            command += " " + self.chance.choice(OPTIONS)
        name = one.file or self.chance.choice(NAMES) + one.suffix
        return Case(data, name, command, one.output, one.beside)

    def look(self, case: Case, fork: bool = True) -> None:
        """Run a case, and keep it where what it did is not right."""
        self.count += 1
        place = self.folder / "run"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(case.beside, place) if case.beside else place.mkdir()
        (self.folder / "tmp").mkdir(exist_ok=True)
        (place / case.name).write_bytes(case.data)
        there = {path.name for path in place.iterdir()}
        code, cpu_s = _run(case, place, self.folder) if fork else (_in_here(case, place, self.folder), 0.0)
        wrong = self._wrong(case, code, cpu_s, {path.name for path in place.iterdir()} - there)
        if not wrong:
            self.codes[code] = self.codes.get(code, 0) + 1
            return
        name = f"{len(self.failures):03}"
        shutil.copytree(place, self.kept / name)
        for report in (self.folder / "tmp").iterdir():
            shutil.move(report, self.kept / name)
        said = (self.folder / "err").read_text(errors="replace")[-400:]
        told = f"{self.kept / name}: {shlex.join(case.arguments())!r}: {wrong}\n    {said!r}"
        print(told, flush=True)
        self.failures.append(told)

    def _wrong(self, case: Case, code: int, cpu_s: float, made: set[str]) -> str:
        lines = (self.folder / "err").read_bytes().decode(errors="surrogateescape").splitlines()
        suffix = case.output or "".join(re.findall(r"-o out(\.\w+)", case.command))
        allowed = {f"out{suffix}"} if suffix else set()
        if "--interval" in case.command or "--mode interval" in case.command:
            allowed |= {f"out-{what}{suffix}" for what in ("lower", "upper", "uncertainty")}
        if "--samples" in case.command:
            allowed |= {f"out-{k}{suffix}" for k in (1, 2)}
        if "--report" in case.command:
            allowed |= {"rep"}
        found = code == 1 and case.command.startswith("data check")  # something serious in the data
        if code not in (0, 2) and not found:
            return f"ended with {code}"
        if cpu_s > MOST_CPU_S / 2:
            return f"took {cpu_s:.1f} s"
        if code == 2 and (len(lines) != 1 or made - {"rep"}):
            return f"a refusal of {len(lines)} lines that left {sorted(made)}"
        if made - allowed:
            return f"left {sorted(made - allowed)}"
        if [left for left in (self.folder / "tmp").iterdir() if not left.name.startswith(TORCHS_OWN)]:
            return "left temporary files"
        for line in lines:
            if len(line) > LONGEST_LINE or re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e]", line):
                return "a line that is too long, or holds control characters"
            if not line.startswith("vqfusion: "):
                return "a line of somebody else"
        return ""


def answer(arguments: list[str]) -> int:
    """Run the command; `load MODEL` opens a model as in Python, for kinds that no command takes."""
    if arguments[0] != "load":
        return main(arguments)
    try:
        with warnings.catch_warnings(action="ignore"):
            load(arguments[1])
    except UserError as mistake:
        say(str(mistake))
        return 2
    return 0


def _in_here(case: Case, place: Path, folder: Path) -> int:
    """Run a case in this process; what it says goes to files."""
    here, streams = os.getcwd(), [(stream, os.dup(stream)) for stream in (1, 2)]
    try:
        _enter(place, folder)
        return answer(case.arguments())
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os.chdir(here)
        for stream, kept in streams:
            os.dup2(kept, stream)
            os.close(kept)


def _enter(place: Path, folder: Path) -> None:
    os.chdir(place)
    tempfile.tempdir = str(folder / "tmp")
    for stream, name in ((1, "out"), (2, "err")):
        file = os.open(folder / name, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
        os.dup2(file, stream)
        os.close(file)


def _run(case: Case, place: Path, folder: Path) -> tuple[int, float]:
    """The exit code (negative for a signal), and the seconds of the processor."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            _enter(place, folder)
            resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
            resource.setrlimit(resource.RLIMIT_CPU, (MOST_CPU_S, MOST_CPU_S))
            signal.alarm(MOST_WALL_S)
            code = answer(case.arguments())
            sys.stdout.flush(), sys.stderr.flush()
        finally:
            os._exit(code)
    _, status, usage = os.wait4(pid, 0)
    return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime


def run(seed: int, seconds: float, kept: Path) -> Fuzzer:
    """Fuzz for so many seconds of the processor, the start included."""
    torch.set_num_threads(1)
    fuzzer = Fuzzer(seed, kept)
    while _cpu_s() < seconds:
        fuzzer.look(fuzzer.draw())
        if fuzzer.count % 1000 == 0:
            print(f"{fuzzer.count} inputs in {_cpu_s():.0f} s, {len(fuzzer.failures)} failures", flush=True)
    shutil.rmtree(fuzzer.folder)
    return fuzzer


def _cpu_s() -> float:
    return sum(
        used.ru_utime + used.ru_stime
        for used in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Mutated inputs through the command.")
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--kept", type=Path, default=Path(tempfile.gettempdir()) / "vqfusion-fuzz-failures")
    given = parser.parse_args()
    fuzzer = run(given.seed, given.seconds, given.kept / str(given.seed))
    print(f"seed {given.seed}: {fuzzer.count} inputs, {fuzzer.codes}, {len(fuzzer.failures)} failures")
    raise SystemExit(bool(fuzzer.failures))
