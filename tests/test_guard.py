"""One guard around the whole command: one line and a code for whatever happens in it."""

import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from vqfusion import data, hub
from vqfusion.cli import main
from vqfusion.commands import app as commands
from vqfusion.errors import UserError
from vqfusion.types import Sample


def raising(error):
    def verb() -> None:
        raise error

    return verb


@pytest.fixture
def said(monkeypatch, capsys, tmp_path):
    """What the command says, and its code, when one of its verbs raises an error."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def run(error):
        broken = commands.typer.Typer(pretty_exceptions_enable=False)
        broken.command("broken")(raising(error))
        broken.callback()(lambda: None)
        monkeypatch.setattr(commands, "app", broken)
        code = main(["broken"])
        return code, capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("a.png: is empty"), 2, "vqfusion: a.png: is empty"),
        (UserError("a\x1b[31m.png:\nis empty"), 2, "vqfusion: a?[31m.png: is empty"),
        (MemoryError(), 2, "more memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 468 bytes"), 2, "more memory"),
        (FileNotFoundError(2, "No such file or directory", "x.png"), 2, "x.png: No such file"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
    ids=["user", "control characters", "memory", "torch memory", "system", "ctrl-c"],
)
def test_every_error_is_one_line_and_a_code(said, error, code, line):
    found, text = said(error)
    assert found == code and line in text and text.count("\n") == 1 and "Traceback" not in text


def test_a_fault_of_ours_is_saved_and_pointed_to(said):
    code, text = said(ZeroDivisionError("division by zero"))
    assert code == 70 and text.count("\n") == 1 and "not yours" in text
    report = Path(re.search(r"in (\S+vqfusion-fault-\S+\.txt)", text)[1]).read_text()
    assert "ZeroDivisionError: division by zero" in report and "raise error" in report and "Python" in report


def test_readers_that_fail_in_any_way_are_one_line(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")

    def broken(*_):
        raise NotImplementedError("a kind of file\nthat is not known")

    monkeypatch.setattr("vqfusion.modalities.imported", lambda place: broken)
    with pytest.raises(UserError, match="a.png: damaged, or not a picture .NotImplementedError: a kind of file that"):
        data.read(tmp_path / "a.png")


def test_what_libmpg123_writes_about_a_damaged_mp3_is_not_shown(tmp_path, capfd):
    """The library writes to the descriptor, past every guard of Python."""
    wave = np.sin(np.arange(8000) / 9)
    soundfile.write(tmp_path / "a.mp3", wave, 16000, subtype="MPEG_LAYER_III", format="MP3")
    whole = (tmp_path / "a.mp3").read_bytes()
    for damaged in (whole[:700] + bytes(range(256)) * 2 + whole[900:], whole[:500]):
        (tmp_path / "a.mp3").write_bytes(damaged)
        with suppress(UserError):
            data.read(tmp_path / "a.mp3")
    assert capfd.readouterr().err == ""


INTERRUPTED = """
import sys

class Interrupts:
    def find_spec(self, name, path, target=None):
        if name == sys.argv[1]:
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupts())
from vqfusion.cli import main
sys.exit(main(["denoise", "missing.png"]))
"""


@pytest.mark.parametrize("module", ["typer", "vqfusion.commands.app", "vqfusion.tasks"])
def test_ctrl_c_while_it_imports_shows_no_traceback(tmp_path, module):
    done = subprocess.run([sys.executable, "-c", INTERRUPTED, module], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 130 and done.stderr == "vqfusion: interrupted\n"


def test_a_file_that_came_while_the_command_worked_is_not_overwritten(tmp_path, monkeypatch, cli):
    """The check before the work sees no file; another process makes it meanwhile."""
    from vqfusion.commands import outputs

    def checked_and_overtaken(paths, force, check=outputs.check):
        check(paths, force)
        for path in paths:
            path.write_text("theirs")

    data.write(Sample("image", torch.rand(3, 8, 8)), tmp_path / "a.png")
    monkeypatch.setattr(outputs, "check", checked_and_overtaken)
    for verb in (["denoise", "--sigma", "0.1"], ["encode"]):
        code, _, text = cli(*verb, "a.png", "-o", f"{verb[0]}.{'png' if verb[0] == 'denoise' else 'vqf'}")
        assert code == 2 and "exists already" in text
    assert (tmp_path / "denoise.png").read_text() == (tmp_path / "encode.vqf").read_text() == "theirs"


def test_a_file_may_not_name_a_folder_as_its_model(tmp_path, cli):
    """What a .vqf file names is fetched or opened only where the user says that the file is trusted."""
    from dataclasses import replace

    from vqfusion.models.codec.codec import Codec
    from vqfusion.models.codec.vqf import VqfFile

    codec = Codec.from_pretrained(hub.ZOO / "emoji")
    file = codec.encode(Sample("text", "cat"))
    named = replace(file, header=file.header.model_copy(update={"model": str(hub.ZOO / "emoji")}))
    (tmp_path / "a.vqf").write_bytes(named.to_bytes())
    assert VqfFile.from_bytes(named.to_bytes(), "a").header.model == str(hub.ZOO / "emoji")
    code, _, text = cli("decode", "a.vqf")
    assert code == 2 and "--trust" in text
    code, out, _ = cli("decode", "a.vqf", "--trust")
    assert code == 0 and out == "cat\n"


def test_waiting_threads_sleep_unless_something_else_is_asked_for():
    script = "import os, sys; from vqfusion.cli import main; assert 'torch' not in sys.modules; main(['--version']); "
    script += "print(os.environ['OMP_WAIT_POLICY'])"
    for asked, found in ((None, "passive"), ("active", "active")):
        environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
        environment |= {"OMP_WAIT_POLICY": asked} if asked else {}
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
        assert done.stdout.splitlines()[-1] == found, done.stderr
