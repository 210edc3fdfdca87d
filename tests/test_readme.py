"""The README is run: its Python blocks in order, and its lines that begin with `vqfusion`, in one folder."""

import re
import shlex
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"^```(python|bash|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_every_example_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    from vqfusion.cli import main

    monkeypatch.chdir(tmp_path)
    text = README.read_text(encoding="utf-8")
    names: dict[str, object] = {"__name__": "__main__"}
    runs = 0
    for block in BLOCK.finditer(text):
        line = text.count("\n", 0, block.start()) + 2
        if block[1] == "python":
            exec(compile("\n" * (line - 1) + block[2], str(README), "exec"), names)
            runs += 1
            continue
        for command in block[2].replace("\\\n", " ").splitlines():
            if command.startswith("vqfusion"):
                assert not re.search(r"[|&;<>]", command), f"plain commands only: {command}"
                capsys.readouterr()
                code = main(shlex.split(command, comments=True)[1:])
                assert code == 0, f"README.md, block at line {line}: {command}: {capsys.readouterr().err}"
                runs += 1
    if not runs:
        pytest.fail("the README shows no example")
