"""Division of records into train, val and test, so that no group is in two of them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vqfusion.data.record import by_hash, split_of_key
from vqfusion.errors import UserError

NAMES = {
    **dict.fromkeys(("train", "training", "tr"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "development", "eval"), "val"),
    **dict.fromkeys(("test", "testing", "te"), "test"),
}
FEWEST = 10  # records
HELD_OUT = 0.1  # of the records, for val and for test
MANY = 500  # groups from which their hashes alone decide, so that further records do not move a group
LARGEST = 0.4  # of the records: a larger group is trained on where another one can be held out


@dataclass(frozen=True)
class Unsplit:
    """What decides about the split of a record: the split that it names, its group, and where it stands."""

    named: str | None
    group: str
    where: str = ""


def split_named(value: str, where: str) -> str:
    """Split that a name such as `dev` or `validation` means; UserError for others."""
    if (found := NAMES.get(value.strip().lower())) is None:
        raise UserError(f"{where}: {value!r} is no split; write train, val (or dev, validation) or test")
    return found


def splits_of(records: Sequence[Unsplit], what: str, name: str) -> tuple[list[str], str]:
    """Split of each record, and how they were divided, in words.

    Named splits are kept. Where the only part beside train is called val, it is the test part, which is read once at
    the end. A part that is missing is held out from train by group.

    Args:
        records: The records.
        what: What a group is, such as "speaker".
        name: Name of the data, for messages.

    Raises:
        UserError: There are too few records or groups, no train part, or a group in two named parts.
    """
    if len(records) < FEWEST:
        raise UserError(
            f"{name}: {len(records)} records are too few to learn from and to test on; give at least {FEWEST}"
        )
    named = {one.named for one in records if one.named}
    if not named:
        return _divided(records, what, name)
    _require_apart(records, what)
    if "train" not in named:
        raise UserError(f"{name}: no record is in train; the splits are {', '.join(sorted(named))}")
    renamed = {"val": "test"} if "test" not in named else {}
    fixed = [renamed.get(one.named, one.named) if one.named else None for one in records]
    rest = [i for i, split in enumerate(fixed) if split in (None, "train")]
    parts, how = [one or "train" for one in fixed], "as the data say"
    if "val" in parts or len({records[i].group for i in rest}) < 2:
        return parts, how
    held = _held_out(Counter(records[i].group for i in rest), HELD_OUT, set())
    for i in rest:
        parts[i] = "val" if records[i].group in held else "train"
    return parts, f"{how}, val held out from train by {what}"


def _divided(records: Sequence[Unsplit], what: str, name: str) -> tuple[list[str], str]:
    sizes = Counter(one.group for one in records)
    if len(sizes) < 2:
        raise UserError(f"{name}: all records are of one {what} ({records[0].group!r}): nothing is left to test on")
    if len(sizes) >= MANY:
        return [split_of_key(one.group) for one in records], f"80/10/10 % by {what}"
    test = _held_out(sizes, HELD_OUT, set())
    val = _held_out(sizes, HELD_OUT, test) if len(sizes) > 2 else set()
    parts = ["test" if one.group in test else "val" if one.group in val else "train" for one in records]
    if len(sizes) > 20:
        return parts, f"about 80/10/10 % by {what}"
    held = [f"{part} {', '.join(sorted(groups))}" for part, groups in (("test", test), ("val", val)) if groups]
    return parts, f"by {what}: {'; '.join(held)}"


def _held_out(sizes: Mapping[str, int], share: float, taken: set[str]) -> set[str]:
    """Groups, in the order of their hash, until they have this share of the records; at least one, never all."""
    free = sorted((one for one in sizes if one not in taken), key=by_hash)
    total = sum(sizes.values())
    small = [one for one in free if sizes[one] <= LARGEST * total] or [min(free, key=lambda one: sizes[one])]
    chosen: set[str] = set()
    count = 0
    for one in small:
        if count >= share * total or len(chosen) + 1 >= len(free):
            break
        chosen.add(one)
        count += sizes[one]
    return chosen


def _require_apart(records: Sequence[Unsplit], what: str) -> None:
    """UserError where a group is in two named parts."""
    if what == "record":  # the same content twice is the choice of the data
        return
    seen: dict[str, str] = {}
    for one in records:
        if one.named and seen.setdefault(one.group, one.named) != one.named:
            raise UserError(
                f"{one.where}: {what} {one.group!r} is in {seen[one.group]} and in {one.named}, so that the score "
                f"would be too good; leave out the column of splits, or `group`"
            )
