"""Every trial of the soak once; `make soak` is the long one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="commands run in forked processes")
def test_nothing_is_lost_by_kills_races_full_disks_and_links():
    script = Path(__file__).with_name("soak.py")
    done = subprocess.run([sys.executable, script, "--seconds", "0", "--seed", "1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert "7 trials, 0 failures" in done.stdout
