"""A short run of the fuzzer; `make fuzz` is the long one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fuzz_mutations import checked  # noqa: E402

SECONDS = 16  # of the processor, the imports included


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="each input runs in a forked process")
def test_no_mutated_input_breaks_the_command(tmp_path):
    script = Path(__file__).with_name("fuzzer.py")
    done = subprocess.run(
        [sys.executable, script, "--seconds", str(SECONDS), "--seed", "2", "--kept", tmp_path],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert int(done.stdout.split("seed 2: ")[1].split()[0]) > 10, done.stdout


def test_checksums_are_put_right():
    from vqfusion.models.codec.vqf import VqfFile

    golden = (Path(__file__).parents[1] / "golden" / "text.vqf").read_bytes()
    damaged = golden[:11] + bytes(4) + golden[15:]
    assert checked(damaged) == golden and VqfFile.from_bytes(checked(damaged)).codes
