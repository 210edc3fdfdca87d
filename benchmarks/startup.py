"""How long a user waits before anything happens: the import, and the help of the command.

Each number is the median over fresh processes, after one that warms the disk cache; the empty interpreter is
measured beside them, because it is in both.

    python benchmarks/startup.py
"""

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

PROCESSES = 9
COMMANDS = {
    "python": ([sys.executable, "-c", "pass"], None),
    "import vqfusion": ([sys.executable, "-c", "import vqfusion"], 0.3),
    "vqfusion --help": ([str(Path(sys.executable).parent / "vqfusion"), "--help"], 0.5),
    "vqfusion imagine --help": ([str(Path(sys.executable).parent / "vqfusion"), "imagine", "--help"], None),
}
RESULT = Path(__file__).parent / "results" / "startup.json"


def measure(command: list[str]) -> tuple[float, float]:
    """Wall and processor seconds of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for command, _ in COMMANDS.values():
        measure(command)
    for _ in range(PROCESSES):
        for name, (command, _) in COMMANDS.items():
            times[name].append(measure(command))
    results = {
        name: {
            "median_s": round(statistics.median(wall for wall, _ in runs), 3),
            "cpu_median_s": round(statistics.median(cpu for _, cpu in runs), 3),
            "wanted_s": COMMANDS[name][1],
        }
        for name, runs in times.items()
    }
    torch = subprocess.run(
        [sys.executable, "-c", "import sys, vqfusion; print('torch' in sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    )
    report = {
        "what": f"median of {PROCESSES} fresh processes, taken in turn",
        "import_loads_torch": torch.stdout.strip() == "True",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "results": results,
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
