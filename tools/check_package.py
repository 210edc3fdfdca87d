"""Builds wheel and sdist, installs the wheel into an empty environment, and runs the demo there: `make package`.

The wheel is built from the sdist, so that both are known to be whole.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
MOST_BYTES = 90 * 2**20


def built(folder: Path) -> Path:
    """Build sdist and wheel into a folder; returns the wheel."""
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)], check=True)
    (wheel,) = folder.glob("*.whl")
    for path in sorted(folder.iterdir()):
        print(f"{path.name}: {path.stat().st_size / 2**20:.1f} MiB", flush=True)
        assert path.stat().st_size <= MOST_BYTES, f"{path.name} is over {MOST_BYTES / 2**20:.0f} MiB"
    return wheel


def installed(wheel: Path, folder: Path) -> Path:
    """Install a wheel into a new environment; returns its command."""
    venv.create(folder, with_pip=True)
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    command = [str(scripts / "python"), "-m", "pip", "install", "-q", "-c", str(ROOT / "constraints.txt"), str(wheel)]
    subprocess.run(command, check=True)
    return scripts / "vqfusion"


def main() -> None:
    """Build, install and try."""
    parser = argparse.ArgumentParser(description="Builds the package and tries it in an empty environment.")
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="folder for wheel and sdist")
    parser.add_argument("--build-only", action="store_true", help="install nothing")
    options = parser.parse_args()
    wheel = built(options.output)
    if options.build_only:
        return
    with tempfile.TemporaryDirectory() as folder:
        command = installed(wheel, Path(folder, "environment"))
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        for arguments in (["--version"], ["models"], ["demo"]):
            subprocess.run([str(command), *arguments], cwd=folder, env=environment, check=True)
    print(f"{wheel}: installs alone, and its demo runs")


if __name__ == "__main__":
    main()
