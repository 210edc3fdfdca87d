"""How well decisions hold on real data: `emoji` decides about the group of a concept from a picture, a voice, or both.

Calibrated on the validation part, measured once on the test part: coverage and size of 90 % sets, calibration error
of the largest probability, and errors when the least sure tenth is left undecided. Concepts of neither part were
trained on; only groups that training knew can be true.

    python benchmarks/deciding.py
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import torch

import vqfusion
from vqfusion.data import open_dataset
from vqfusion.models.decision import Case, Decider

RESULT = Path(__file__).parent / "results" / "deciding.json"
CHOICES = (("image",), ("audio",), ("audio", "image"))


def cases_of(dataset: Any, split: str, system: Any, most: int) -> list[Case]:
    """Cases with a picture, a voice and a known group: one voice that fits its slot for each picture of a concept."""
    voices: dict[str, list[Any]] = {}
    names = system.labels("label")
    spoken = dataset.select(split, slots=("audio",))
    fitting = system.tokenizers.encode_fitting("audio", [record.load("audio") for record in spoken])
    for record, ids in zip(spoken, fitting, strict=True):
        if ids is not None:
            voices.setdefault(record.key, []).append(record)
    cases, used = [], dict[str, int]()
    for record in dataset.select(split, slots=("image", "label")):
        truth = record.load("label").data
        if record.key in voices and truth in names:
            number = used[record.key] = used.get(record.key, -1) + 1
            voice = voices[record.key][number % len(voices[record.key])]
            cases.append(Case({"image": record.load("image"), "audio": voice.load("audio")}, truth))
    return cases[:: max(1, math.ceil(len(cases) / most))]


def calibration_error(p: torch.Tensor, right: torch.Tensor, bins: int = 10) -> float:
    """Expected calibration error of the largest probability: Naeini et al. (2015), in equal bins."""
    where = (p * bins).long().clamp(max=bins - 1)
    parts = [(where == k) for k in range(bins) if bool((where == k).any())]
    return float(sum((p[part].mean() - right[part].double().mean()).abs() * part.double().mean() for part in parts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--most", type=int, default=240, help="cases of each part")
    parser.add_argument("--output", type=Path, default=RESULT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    system, dataset = vqfusion.load("emoji", "cpu"), open_dataset("emoji")
    known, new = (cases_of(dataset, split, system, arguments.most) for split in ("val", "test"))
    decider = Decider.fit(system, known)
    report: dict[str, Any] = {"calibration": len(known), "test": len(new), "rows": {}}
    for slots in CHOICES:
        some = [Case({slot: case.given[slot] for slot in slots}) for case in new]
        decisions = decider(some, coverage=0.9, abstain=0.1)
        top = [max(one.probabilities, key=one.probabilities.get) for one in decisions]
        right = torch.tensor([name == case.truth for name, case in zip(top, new, strict=True)])
        sure = torch.tensor([one.probabilities[name] for one, name in zip(decisions, top, strict=True)])
        kept = torch.tensor([one.action is not None for one in decisions])
        held = [case.truth in one.names for one, case in zip(decisions, new, strict=True)]
        row = {
            "accuracy": float(right.double().mean()),
            "calibration_error": calibration_error(sure.double(), right),
            "temperature": decider.calibrations[slots].temperature,
            "coverage_of_90": sum(held) / len(held),
            "names_in_set": sum(len(one.names) for one in decisions) / len(decisions),
            "errors": 1 - float(right.double().mean()),
            "errors_of_those_decided": 1 - float(right[kept].double().mean()),
            "decided": float(kept.double().mean()),
        }
        report["rows"][" + ".join(slots)] = {key: round(value, 4) for key, value in row.items()}
        print(" + ".join(slots), report["rows"][" + ".join(slots)], flush=True)
    arguments.output.parent.mkdir(exist_ok=True)
    arguments.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
