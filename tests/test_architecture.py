"""docs/architecture.md and its picture tell of the source as it is."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from vqfusion.tasks import TASKS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8") if (ROOT / "docs").is_dir() else ""

pytestmark = pytest.mark.skipif(not PAGE, reason="the documentation is beside the source, not in the package")


def test_the_picture_is_that_of_the_source():
    script = ROOT / "tools" / "draw_architecture.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_file_and_folder_that_the_page_names_is_there():
    named = set(re.findall(r"`((?:[a-z_0-9]+/)+(?:[a-z_0-9]+\.(?:py|md|svg))?|[a-z_0-9]+\.py)`", PAGE))
    assert len(named) > 30
    new = {"data/io/depth.py", "tasks/colourise.py"}  # what a reader is invited to add
    siblings = {path.name for path in (ROOT / "src" / "vqfusion").rglob("*.py")}
    for name in named - new:
        there = (ROOT / "src" / "vqfusion" / name).exists() or (ROOT / name).exists()
        assert there or ("/" not in name and name in siblings), name


def test_every_verb_that_the_page_names_is_a_task_or_a_command():
    from vqfusion.commands.app import OTHER_VERBS

    for verb in re.findall(r"`vqfusion ([a-z]+) ", PAGE):
        assert verb in TASKS or verb in OTHER_VERBS
