"""Models of public sets by the recipes of their names, beside the baselines that the library fits to the same records.

Each run is `vqfusion train` as a user starts it, in a process of its own; the score is that of its last line, on the
test part, which is read once. FSDD is run for each of its six speakers, who is then the one never heard. Runs are added
to the table, so that it can be made in parts.

    python benchmarks/own_data.py fsdd sst2 clinc150 mnist --minutes 7 --seeds 1
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from typing import Any

from vqfusion.data.public import PUBLIC, open_fsdd
from vqfusion.data.standard import spoken_digits

RESULT = Path(__file__).parent / "results" / "own_data.json"
SMALL = {"sst2-5000": ("sst2", 5000)}  # the same set with so many records to learn from


def fsdd(speaker: str, folder: Path) -> Path:
    """YAML file and manifest of FSDD with one speaker for test."""
    rows = []
    paths = {clip.path.stem: str(clip.path.resolve()) for clip in spoken_digits()}
    for record in open_fsdd(speaker).records:
        row = {"audio": paths[record.key], "text:en": record.load("text:en").data}
        rows.append(json.dumps(row | {"split": record.split, "key": record.key}))
    (folder / "clips.jsonl").write_text("\n".join(rows) + "\n")
    path = folder / "fsdd.yaml"
    path.write_text("name: fsdd\ndata: clips.jsonl\ntasks: [transcribe]\n")
    return path


def limited(name: str, keys: int, folder: Path) -> Path:
    """YAML file of a set of which only so many records are learned from."""
    path = folder / f"{name}.yaml"
    path.write_text(f"name: {name}\ndata: {name}\ntasks: [classify]\nlimit_keys: {keys}\n")
    return path


def run(recipe: str, seed: int, minutes: float, folder: Path) -> dict[str, Any]:
    """One training, its scores, and what it took."""
    before, began = getrusage(RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, "-m", "vqfusion", "train", recipe, "-o", str(folder / "run")]
    command += ["--seed", str(seed), "--minutes", str(minutes), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    after, report = getrusage(RUSAGE_CHILDREN), json.loads(done.stdout)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    row = {"cpu_minutes": round(processor / 60, 1), "wall_minutes": round((time.monotonic() - began) / 60, 1)}
    kept = ("task", "metric", "unit", "value", "low", "high", "n", "baseline", "baseline_value", "ece")
    scores = [{name: _rounded(one[name]) for name in kept} for one in report["test"]]
    return row | {"steps": report["validation"]["last_step"], "scores": scores}


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def main(arguments: argparse.Namespace) -> None:
    speakers = sorted({clip.speaker for clip in spoken_digits()}) if "fsdd" in arguments.sets else []
    jobs = [(f"fsdd, {one}", one) for one in arguments.speakers or speakers]
    jobs += [(name, "") for name in arguments.sets if name != "fsdd"]
    table = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    for seed in range(arguments.seeds):
        for name, speaker in jobs:
            with tempfile.TemporaryDirectory() as made:
                folder, recipe = Path(made), name
                if speaker:
                    recipe = str(fsdd(speaker, folder))
                elif name in SMALL:
                    recipe = str(limited(*SMALL[name], folder))
                found = {"set": name, "seed": seed, "minutes": arguments.minutes}
                found |= run(recipe, seed, arguments.minutes, folder)
            table[f"{name}, seed {seed}"] = found
            RESULT.write_text(json.dumps(table, indent=1) + "\n")
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", choices=[*PUBLIC, *SMALL])
    parser.add_argument("--minutes", type=float, default=7.0, help="wall time of each training")
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds, from 0")
    parser.add_argument("--speakers", nargs="*", help="of fsdd; default: all six, one after the other")
    main(parser.parse_args())
