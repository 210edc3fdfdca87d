"""Task that decides about a label from whatever modalities are at hand."""

import os
from dataclasses import MISSING, dataclass
from time import perf_counter
from typing import TYPE_CHECKING, ClassVar

from vqfusion.data.io.delimited import read_rows
from vqfusion.errors import UserError
from vqfusion.tasks.generate import read_given
from vqfusion.tasks.task import ONE, Answer, Task, option, task

if TYPE_CHECKING:
    from vqfusion.models.decision import Case, Decider
    from vqfusion.models.fusion.system import System
    from vqfusion.models.sampling import Sampling
    from vqfusion.tasks.task import Samples
    from vqfusion.types import Sample

GROUP = "group"  # column of cases that is no slot


@task
@dataclass(frozen=True)
class Decide(Task):
    """Decide about a label from what is at hand: probabilities, a set that holds the truth, and the cheapest action.

    Calibration is on cases with a known truth: a CSV with a column for each slot (files from where it is, or texts),
    one for the target, and perhaps `group` (speaker, patient, site); or what `--keep` wrote.
    """

    name: ClassVar[str] = "decide"
    accepts: ClassVar[tuple[str, ...]] = ()
    gives: ClassVar[str] = "label"
    calibration: str = option(
        MISSING, "CSV of cases with a known truth, or a JSON file that --keep wrote", place="file"
    )
    given: "tuple[str | tuple[str, Sample], ...]" = option(
        (), "what is known of one case, as slot=file or slot=text; repeat for more slots", place="slots"
    )
    cases: str | None = option(None, "CSV of many cases to decide about, like the one of --calibration", place="file")
    target: str = option("label", "label slot to decide about")
    costs: str | None = option(None, "CSV of costs: a header action,NAME,... and a row for each action", place="file")
    coverage: float = option(0.9, "probability that the set of names holds the truth")
    abstain: float = option(0.0, "share of the cases to leave undecided, the least sure ones")
    acquire: int = option(0, "samples to judge which missing slot is worth acquiring; 0 does not")
    group: str | None = option(None, "group of the case: speaker, patient or site")
    keep: str | None = option(None, "JSON file to keep the calibration in", place="written")

    def __post_init__(self) -> None:
        if bool(self.given) == bool(self.cases):
            raise UserError("give one case with --given slot=file, or many with --cases cases.csv")
        if not 0 < self.coverage < 1:
            raise UserError(f"--coverage {self.coverage:g}: give a number between 0 and 1, such as 0.9")
        if not 0 <= self.abstain < 1:
            raise UserError(f"--abstain {self.abstain:g}: give a share from 0 to below 1, such as 0.1")
        if not 0 <= self.acquire <= 256:
            raise UserError(f"--acquire {self.acquire}: give at most 256 samples")

    def __call__(self, system: "System", sample: "Samples", sampling: "Sampling" = ONE) -> Answer:
        from vqfusion.models.decision import Case, Costs

        started = perf_counter()
        if self.cases is None:
            cases = [Case(read_given(system, self.given), group=self.group)]
        else:
            cases = read_cases(system, self.cases, self.target, known=False)
        decider = self.decider(system)
        if self.costs is not None:
            decider.costs = Costs.read(self.costs, decider.names)
        decisions = decider(cases, self.coverage, self.abstain, self.acquire, sampling.seed)
        if self.keep is not None:
            decider.save(self.keep)
        lines = tuple(dict.fromkeys(line for one in decisions for line in one.warnings))
        names = [one.probabilities for one in decisions]
        seconds = perf_counter() - started
        return Answer(self.name, self.target, distributions=names, decisions=decisions, seconds=seconds, warnings=lines)

    def decider(self, system: "System") -> "Decider":
        """The decider, calibrated now or loaded."""
        from vqfusion.models.decision import Decider

        if self.calibration.lower().endswith(".json"):
            decider = Decider.load(self.calibration, system)
            if decider.target != self.target:
                raise UserError(f"{self.calibration}: was calibrated for {decider.target!r}, not for {self.target!r}")
            return decider
        return Decider.fit(system, read_cases(system, self.calibration, self.target), self.target)


def read_cases(system: "System", path: str, target: str, known: bool = True) -> "list[Case]":
    """Read cases from a CSV with a header: slots, the target, and perhaps `group`; an empty cell is a missing slot.

    Args:
        system: The model.
        path: The file; relative files in its cells are taken from its folder.
        target: Label slot that is decided about.
        known: Whether the truth must be there.

    Returns:
        The cases.

    Raises:
        UserError: The file or one of its cells cannot be read, or a column is no slot; the line is named.
    """
    from vqfusion.models.decision import Case

    header, rows = read_rows(path, "a header with slots and a row for each case")
    wrong = [name for name in header if name not in (*system.slots, target, GROUP)]
    if wrong:
        raise UserError(f"{path}: column {wrong[0]!r} is not a slot of this model; it has {', '.join(system.slots)}")
    if known and target not in header:
        raise UserError(f"{path}: no column {target!r} with the truth of each case")
    folder, cases = os.path.dirname(path), []
    for number, row in rows:
        cells = {name: cell for name, cell in zip(header, row, strict=True) if cell}
        truth, group = cells.pop(target, None), cells.pop(GROUP, None)
        try:
            given = read_given(system, [f"{slot}={value}" for slot, value in cells.items()], folder)
        except UserError as error:
            raise UserError(f"{path}, line {number}: {error}") from None
        if not given:
            raise UserError(f"{path}, line {number}: no slot is given")
        cases.append(Case(given, truth, group))
    return cases
