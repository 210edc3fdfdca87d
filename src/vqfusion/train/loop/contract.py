"""Whether a resumed run is still the same run, and what of its config may change."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

# of a stage in training
MAY_CHANGE = ("steps", "learning_rate", "checkpoint_every_s", "minutes", "validations", "patience")


class Difference(NamedTuple):
    """A changed value of a config: `where` is its key; `allowed` says that the run may be resumed with it."""

    where: str
    old: Any
    new: Any
    allowed: bool

    def __str__(self) -> str:
        return f"{self.where} was {_shown(self.old)} and is {_shown(self.new)}"


def differences(old: Any, new: Any, where: str = "", free: tuple[str, ...] = ()) -> Iterator[Difference]:
    """All values that differ between two configs as JSON; a missing key counts as None."""
    if isinstance(old, dict) and isinstance(new, dict):
        free = (
            MAY_CHANGE if "warmup_steps" in new else ("minutes",) if "fusion_stage" in new else ()
        )  # a stage, a chain
        for key in dict.fromkeys([*new, *old]):
            yield from differences(old.get(key), new.get(key), f"{where}.{key}".lstrip("."), free)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for place, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from differences(one, other, f"{where}.{place}".lstrip("."), free)
    elif old != new:
        yield Difference(where, old, new, where.rpartition(".")[2] in free)


def refused(old: str, new: str) -> str | None:
    """Reason why a checkpoint with the config `old` does not fit `new`, in brackets; None where it does."""
    if old == new:
        return None
    try:
        before, after = json.loads(old), json.loads(new)
    except ValueError:
        return ""
    first = next((one for one in differences(before, after) if not one.allowed), None)
    return None if first is None else f" ({first})"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
