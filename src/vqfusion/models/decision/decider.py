"""Decider: decides about a label from whatever slots are at hand, as surely as cases with a known truth show."""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.errors import UserError
from vqfusion.files import write_bytes
from vqfusion.models.decision.acquisition import Gain, ranked
from vqfusion.models.decision.calibration import Calibration
from vqfusion.models.decision.costs import Costs
from vqfusion.models.sampling import Generated, Sampling

FEWEST_CASES = 20  # with fewer a temperature and a 90 % set mean little
UNLIKE = 0.01  # a case less sure than this share of the calibration cases is told to be unlike them
FORMAT = 1


@runtime_checkable
class Distributing(Protocol):
    """What a decider needs of a model; `System` has it."""

    slots: tuple[str, ...]

    def labels(self, slot: str) -> list[str]:
        """Names of a label slot."""

    def distribution(self, given: Any, target: str, temperature: float | None = None) -> list[dict[str, float]]:
        """Probability of each name for each item."""

    def generate(self, given: Any, target: str, sampling: Sampling | None = None) -> Generated:
        """Samples of a slot given others."""


@dataclass(frozen=True)
class Case:
    """What is known of one case.

    Attributes:
        given: Sample by slot, one or more slots.
        truth: Its name, where known.
        group: Speaker, patient or site, where known.
    """

    given: Mapping[str, Any]
    truth: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class Decision:
    """What is decided about one case.

    Attributes:
        probabilities: Calibrated probability by name, the largest first.
        names: Conformal set: it holds the truth with probability `coverage`, over cases like those of calibration;
            empty where no name is as likely as true names were.
        coverage: Wanted probability of the set.
        action: Action of least expected cost, or None: abstained.
        expected_cost: Expected cost of that action.
        acquire: Missing slots, the most worth acquiring first; empty where it was not asked for.
        warnings: Warnings, one line each.
    """

    probabilities: dict[str, float]
    names: tuple[str, ...]
    coverage: float
    action: str | None
    expected_cost: float
    acquire: tuple[Gain, ...] = ()
    warnings: tuple[str, ...] = field(default=())


class Decider:
    """Decides about a label from any of the slots that its calibration cases had.

    Args:
        system: The model.
        target: Label slot to decide about.
        calibrations: Calibration for each choice of given slots, by their sorted names.
        costs: Costs of actions; by default every wrong name costs 1.
    """

    def __init__(
        self,
        system: Distributing,
        target: str,
        calibrations: Mapping[tuple[str, ...], Calibration],
        costs: Costs | None = None,
    ):
        self.system, self.target, self.calibrations = system, target, dict(calibrations)
        self.names = list(system.labels(target))
        self.costs = costs or Costs.of_errors(self.names)

    @classmethod
    def fit(
        cls, system: Distributing, cases: Sequence[Case], target: str = "label", costs: Costs | None = None
    ) -> "Decider":
        """Calibrate on cases with a known truth, for every choice of the slots that they have.

        Cases of one choice of slots serve all its parts too, so that complete cases calibrate what happens when any
        modality is missing. They must be new to the model, and of the kind that will be decided about.

        Args:
            system: The model.
            cases: The cases; all with a group, or none.
            target: Label slot to decide about.
            costs: Costs of actions.

        Returns:
            The decider.

        Raises:
            UserError: Fewer than 20 cases, a truth that the model does not know, or groups for some cases only.
        """
        names = {name: i for i, name in enumerate(system.labels(target))}
        if len(cases) < FEWEST_CASES:
            raise UserError(f"{len(cases)} calibration cases are too few to promise anything: give {FEWEST_CASES}")
        for case in cases:
            if case.truth not in names:
                raise UserError(f"the truth {case.truth!r} of a calibration case is not a {target} of this model")
        grouped = [case.group is not None for case in cases]
        if any(grouped) and not all(grouped):
            raise UserError(f"{grouped.count(False)} of {len(cases)} calibration cases have no group: give all or none")
        fitted = {}
        for slots in choices(cases):
            part = [case for case in cases if set(slots) <= set(case.given)]
            if len(part) < FEWEST_CASES:
                continue
            p = probabilities(system, [{slot: case.given[slot] for slot in slots} for case in part], target)
            truth = torch.tensor([names[str(case.truth)] for case in part])
            groups = tuple(str(case.group) for case in part) if all(grouped) else None
            fitted[slots] = Calibration.fit(p, truth, groups)
        return cls(system, target, fitted, costs)

    def __call__(
        self,
        cases: Sequence[Case],
        coverage: float = 0.9,
        abstain: float = 0.0,
        acquire: int = 0,
        seed: int = 0,
    ) -> list[Decision]:
        """Decide about cases.

        Args:
            cases: The cases; each with slots whose choice was calibrated.
            coverage: Wanted probability that a set holds the truth, in (0, 1).
            abstain: Share of cases like those of calibration that are left undecided, the least sure ones.
            acquire: Samples of each missing slot to judge what is worth acquiring; 0 does not.
            seed: Random seed of these samples.

        Returns:
            One decision for each case.

        Raises:
            UserError: A choice of slots that was not calibrated, or a number out of range.
        """
        if not 0 < coverage < 1 or not 0 <= abstain < 1:
            raise UserError(
                f"coverage {coverage:g} must be between 0 and 1, abstain {abstain:g} at least 0 and below 1"
            )
        decisions: list[Decision | None] = [None] * len(cases)
        rows: dict[tuple[str, ...], list[int]] = {}
        for i, case in enumerate(cases):
            rows.setdefault(tuple(sorted(case.given)), []).append(i)
        for slots, numbers in rows.items():
            calibration = self.calibrations.get(slots)
            if calibration is None:
                known = "; ".join(" + ".join(one) for one in self.calibrations)
                raise UserError(f"{' + '.join(slots) or 'nothing'} was not calibrated: give one of {known}")
            plain = probabilities(self.system, [cases[i].given for i in numbers], self.target)
            for i, p in zip(numbers, calibration.probabilities(plain), strict=True):
                decision = self._decided(cases[i], p, calibration, coverage, abstain)
                gains = self._gains(cases[i], acquire, seed) if acquire else ()
                decisions[i] = replace(decision, acquire=gains)
        return [one for one in decisions if one is not None]

    def _decided(
        self, case: Case, p: Float[Tensor, " K"], calibration: Calibration, coverage: float, abstain: float
    ) -> Decision:
        threshold, lines = calibration.threshold(coverage, case.group), []
        if case.group is not None and case.group not in calibration.scores and "" not in calibration.scores:
            lines.append(f"group {case.group!r} was never calibrated: the set is that of a new group")
        if math.isinf(threshold):
            threshold = max(calibration.threshold(coverage, group) for group in calibration.scores)
            lines.append(f"too few cases or groups to promise {coverage:.0%}: the set is that of the worst known group")
        rank = calibration.rank_of_highest(float(p.max()))
        if rank <= UNLIKE:
            lines.append(f"unlike what was calibrated: less sure than {1 - rank:.0%} of those cases")
        order = p.argsort(descending=True).tolist()
        held = tuple(self.names[i] for i in order if 1 - float(p[i]) <= threshold + 1e-12)
        action, cost = self.costs.best(p)
        by_name = {self.names[i]: float(p[i]) for i in order}
        return Decision(by_name, held, coverage, None if rank <= abstain else action, cost, warnings=tuple(lines))

    def _gains(self, case: Case, samples: int, seed: int) -> tuple[Gain, ...]:
        have = set(case.given)
        missing = sorted({slot for slots in self.calibrations for slot in slots} - have)
        missing = [slot for slot in missing if tuple(sorted({*have, slot})) in self.calibrations]

        def after(slot: str) -> Tensor:
            made = self.system.generate(dict(case.given), slot, Sampling(samples=samples, seed=seed)).samples[0]
            plain = probabilities(self.system, [{**case.given, slot: one} for one in made], self.target)
            return self.calibrations[tuple(sorted({*have, slot}))].probabilities(plain)

        return ranked(missing, after, self.costs)

    def save(self, path: str | Path, force: bool = False) -> None:
        """Write the calibration, without the model, as JSON; UserError if the file exists, without `force`."""
        stored = {
            "format": FORMAT,
            "target": self.target,
            "names": self.names,
            "calibrations": [{"slots": slots, **asdict(one)} for slots, one in self.calibrations.items()],
            "actions": self.costs.actions,
            "costs": self.costs.table.tolist(),
        }
        write_bytes(path, json.dumps(stored).encode(), overwrite=force)

    @classmethod
    def load(cls, path: str | Path, system: Distributing) -> "Decider":
        """Read what `save` wrote; UserError where it is damaged or of another model's names."""
        try:
            stored = json.loads(Path(path).read_text(encoding="utf-8"))
            fitted = {
                tuple(row["slots"]): Calibration(
                    float(row["temperature"]),
                    {group: tuple(map(float, scores)) for group, scores in row["scores"].items()},
                    tuple(map(float, row["highest"])),
                )
                for row in stored["calibrations"]
            }
            target, names = str(stored["target"]), list(stored["names"])
            table = torch.tensor(stored["costs"], dtype=torch.float64)
            costs = Costs(tuple(stored["actions"]), tuple(names), table)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path}: is not a decider that `save` wrote ({error})") from None
        if target not in system.slots or list(system.labels(target)) != names:
            raise UserError(f"{path}: was calibrated for a model with other names of {target!r}")
        return cls(system, target, fitted, costs)


def choices(cases: Sequence[Case]) -> list[tuple[str, ...]]:
    """Every non-empty choice of slots that some case has, the largest last."""
    found: set[tuple[str, ...]] = set()
    for slots in {tuple(sorted(case.given)) for case in cases}:
        for size in range(1, len(slots) + 1):
            found.update(itertools.combinations(slots, size))
    return sorted(found, key=lambda slots: (len(slots), slots))


def probabilities(system: Distributing, given: Sequence[Mapping[str, Any]], target: str) -> Float[Tensor, "N K"]:
    """Probabilities at temperature 1 for cases with the same slots, in the order of the label's names.

    Args:
        system: The model.
        given: Samples by slot of each case.
        target: Label slot.

    Returns:
        Probabilities.
    """
    names = system.labels(target)
    together = {slot: [case[slot] for case in given] for slot in given[0]}
    rows = system.distribution(together, target, temperature=1.0)
    return torch.tensor([[row[name] for name in names] for row in rows], dtype=torch.float64)
