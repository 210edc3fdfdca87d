"""Time column of a table: the meaning of its time stamps, their step, and missing rows."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from vqfusion.errors import UserError

UNEVEN = 0.01  # deviation from an even step, as a fraction of it
NAMES = ("time", "t", "seconds", "time_s", "timestamp", "date", "datetime")
COUNT_NAME = "sample"  # the time column of a series without a rate
WORDS = {*NAMES, "epoch", "unix", "utc", "ts", "datum", "zeit", "uhrzeit", "zeitstempel", "fecha", "hora", "heure"}
UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "seconds": 1.0, "min": 60.0}
UNITS |= {"minutes": 60.0, "h": 3600.0, "hours": 3600.0, "d": 86400.0, "days": 86400.0}
EPOCHS = ((1e17, 1e-9), (1e14, 1e-6), (1e11, 1e-3))  # counts since 1970 from this size on are in this unit
ISO = re.compile(r"\d{4}-\d\d-\d\d(?:([T ])\d\d(:\d\d)?(:\d\d)?([.,]\d+)?\s?(Z|[+-]\d\d:?\d\d|[+-]\d\d)?)?")
DATES = ("%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d.%m.%y", "%m/%d/%y")
CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
FORMATS = [f"{date}{clock}" for date in DATES for clock in CLOCKS] + ["%Y-%m", "%H:%M:%S", "%H:%M", "%H:%M:%S.%f"]
DAY, HOUR = 86400.0, 3600.0
# month, and the days of it, on whose Sunday clocks change: Europe, North America, Australia, New Zealand
CHANGES = ((3, 25, 31), (10, 25, 31), (3, 8, 14), (11, 1, 7), (4, 1, 7), (10, 1, 7), (9, 24, 30))


@dataclass(frozen=True)
class Axis:
    """Time axis of the rows of a table.

    Attributes:
        places: Index `[rows]` of each row on an even axis, on which rows may be missing.
        rate_hz: Rate; None where the stamps are a count or uneven.
        note: Message for the user.
        between: Stamps of the rows that are missing before row i, by i.
    """

    places: np.ndarray
    rate_hz: float | None
    note: str | None
    between: dict[int, list[str]]


@dataclass(frozen=True)
class Stamps:
    """Time of each row: seconds since the first one, and dates without a zone where they are dates."""

    texts: Sequence[str]
    seconds: np.ndarray
    dates: list[datetime] | None
    pattern: str  # "number", "iso", or one of `datetime.strptime`
    unit: float = 1.0

    @classmethod
    def of(cls, texts: Sequence[str], header: str, numbers: np.ndarray | None, where: Sequence[str]) -> "Stamps":
        """Interpret time stamps: numbers, counts since 1970, dates or times of day.

        Args:
            texts: The stamps.
            header: Name of the column, which may name a unit.
            numbers: The stamps as numbers, where they are.
            where: Place of each row in messages.

        Returns:
            The times.

        Raises:
            UserError: A stamp is not a time.
        """
        for text, place in zip(texts, where, strict=True):
            if not text:
                raise UserError(f"{place}: is empty; give the time of every row")
        if all(re.fullmatch(r"(18|19|20|21)\d\d(0[1-9]|1[0-2])([0-2]\d|3[01])", text) for text in texts):
            dates = _parsed(texts, "%Y%m%d")
            if dates is not None:
                return cls(texts, _since_first(dates), dates, "%Y%m%d")
        if numbers is not None:
            bad = np.flatnonzero(~np.isfinite(numbers))
            if len(bad):
                raise UserError(f"{where[bad[0]]}: {texts[bad[0]][:30]!r} is no time; give a finite one")
            unit = _unit(header, numbers)
            whole = all(re.fullmatch(r"[+-]?\d+", text) for text in texts)  # beyond 2^53 floats would merge them
            first = int(texts[0]) if whole else 0
            since = np.array([float(int(text) - first) for text in texts]) if whole else numbers - numbers[0]
            return cls(texts, since * unit, None, "number", unit)
        zoned = _zoned(texts)
        if zoned is not None:
            naive = zoned if zoned[0].tzinfo is None else None
            return cls(texts, _since_first(zoned), naive, "iso")
        fitting = [
            cls(texts, _since_first(dates), dates, pattern)
            for pattern in FORMATS
            if (dates := _parsed(texts, pattern)) is not None
        ]
        if fitting:  # day and month are distinguished by the smaller steps
            return min(fitting, key=lambda one: float(np.abs(np.diff(one.seconds)).max(initial=0.0)))
        wrong = [i for i, text in enumerate(texts) if not _looks_like_time(text)] or [0]
        raise UserError(f"{where[wrong[0]]}: {texts[wrong[0]][:30]!r} is not a number")

    def axis(self, is_count: bool, where: Sequence[str]) -> Axis:
        """Time axis of these rows; UserError where time runs backwards."""
        count = len(self.texts)
        steps = np.diff(self.seconds)
        steps = self._without_clock_changes(steps)
        step = float(np.median(steps))
        back = np.flatnonzero(steps < 0)
        if len(back) or step <= 0 and steps.max() <= 0:
            first = int(back[0]) if len(back) else 0
            raise UserError(
                f"{where[first + 1]}: the time goes on by {steps[first] / self.unit:g}, elsewhere by "
                f"{step / self.unit:g}; sort the rows by time"
            )
        even = Axis(np.arange(count), None, None, {})
        if step > 0 and (np.abs(steps - step) <= UNEVEN * step).all():
            mean = float(steps.mean())
            return Axis(np.arange(count), None if is_count else float(f"{1 / mean:.9g}"), None, {})
        if self._is_monthly():
            return even
        between = self._missing(steps, step)
        if between:
            extra = sum(map(len, between.values()))
            gaps = np.array([len(between.get(i, ())) for i in range(count)])
            line = f"{extra} row{'s are' if extra > 1 else ' is'} missing on its time axis and added"
            return Axis(np.arange(count) + gaps.cumsum(), None if is_count else float(f"{1 / step:.9g}"), line, between)
        in_days = self.pattern != "number" and float(steps.min()) >= DAY
        low, high = (float(value) / (DAY if in_days else self.unit) for value in (steps.min(), steps.max()))
        line = f"its time steps are uneven ({low:g} to {high:g}{' days' * in_days})"
        return Axis(np.arange(count), None, f"{line}; the values are taken in the order of the rows", {})

    def _without_clock_changes(self, steps: np.ndarray) -> np.ndarray:
        """Steps corrected for the hour that local clocks skip in spring and repeat in autumn."""
        if self.dates is None or self.pattern.startswith("%H"):
            return steps
        usual = float(np.median(steps))
        steps = steps.copy()
        for i in np.flatnonzero(np.abs(np.abs(steps - usual) - HOUR) < UNEVEN * usual) if 0 < usual <= HOUR else ():
            day = self.dates[i + 1]
            if (
                day.weekday() == 6
                and day.hour <= 4
                and any(m == day.month and a <= day.day <= b for m, a, b in CHANGES)
            ):
                steps[i] = usual
        return steps

    def _is_monthly(self) -> bool:
        """Whether dates advance by a constant number of months, at one day of the month or at its end."""
        if self.dates is None:
            return False
        months = np.diff([12 * day.year + day.month for day in self.dates])
        ends = [day + timedelta(days=1) for day in self.dates]
        same = len({(day.day, day.time()) for day in self.dates}) == 1 or all(day.day == 1 for day in ends)
        return same and len(set(months.tolist())) == 1 and bool(months[0] > 0)

    def _missing(self, steps: np.ndarray, step: float) -> dict[int, list[str]]:
        """Stamps of missing rows before each row; none where the axis does not imply any.

        It does where all steps are multiples of one, most of them one, and the missing rows are neither a pattern
        (nights, weekends) nor more than the existing ones.
        """
        if step <= 0:
            return {}
        whole = np.rint(steps / step)
        gaps = np.flatnonzero(whole > 1)
        extra = int((whole - 1).sum())
        if (np.abs(steps / step - whole) > UNEVEN).any() or (whole < 1).any() or 2 * len(gaps) > len(steps):
            return {}
        if extra > len(self.texts) or self._is_pattern(whole, gaps, step):
            return {}
        between = {}
        for gap in gaps:
            stamps = [self._later(int(gap), k * step) for k in range(1, int(whole[gap]))]
            if any(stamp is None for stamp in stamps):
                return {}
            between[int(gap) + 1] = [str(stamp) for stamp in stamps]
        return between

    def _is_pattern(self, whole: np.ndarray, gaps: np.ndarray, step: float) -> bool:
        regular = len(gaps) >= 3 and len(set(whole[gaps])) == 1 and len(set(np.diff(gaps))) == 1
        if regular or self.dates is None:
            return bool(regular)
        if step == DAY and all(day.weekday() < 5 for day in self.dates):
            return True
        return step < DAY and len(gaps) >= 3 and len({self.dates[gap].time() for gap in gaps}) == 1

    def _later(self, row: int, seconds: float) -> str | None:
        """Stamp of a row shifted by `seconds`, in the same format; None where that is not possible."""
        text = self.texts[row]
        if self.pattern == "number":
            mark = "," if "," in text else "."
            decimals = max(len(one.partition(mark)[2]) for one in self.texts)
            if "e" in text.lower():
                return None
            if decimals == 0:
                return str(int(text) + round(seconds / self.unit))
            return f"{float(text.replace(',', '.')) + seconds / self.unit:.{decimals}f}".replace(".", mark)
        if self.pattern != "iso":
            pattern = self.pattern
            made = datetime.strptime(text, pattern)
            later = (made + timedelta(seconds=seconds)).strftime(pattern)
            return later if made.strftime(pattern) == text else None
        return _iso(text, seconds) if _iso(text, 0.0) == text else None


def is_time_name(name: str, first: bool) -> bool:
    """Whether a column of this name is the time: one of the usual names, or for the `first` column a word of them."""
    if name.lower() in (*NAMES, COUNT_NAME):
        return True
    return first and bool(WORDS & set(re.findall(r"[a-zµ]+", name.lower().replace("_", " "))))


def _looks_like_time(text: str) -> bool:
    return _zoned([text]) is not None or any(_parsed([text], pattern) is not None for pattern in FORMATS)


def _parsed(texts: Sequence[str], pattern: str) -> list[datetime] | None:
    try:
        return [datetime.strptime(text, pattern) for text in texts]
    except ValueError:
        return None


def _zoned(texts: Sequence[str]) -> list[datetime] | None:
    """ISO 8601 stamps, all with a zone or all without."""
    try:
        dates = [datetime.fromisoformat(text) for text in texts]
    except ValueError:
        return None
    return dates if len({day.tzinfo is None for day in dates}) == 1 else None


def _since_first(dates: Sequence[datetime]) -> np.ndarray:
    return np.array([(day - dates[0]) / timedelta(seconds=1) for day in dates])


def _unit(header: str, numbers: np.ndarray) -> float:
    """Seconds in the unit of a column of numbers, by its name or by the size of a count since 1970."""
    named = [UNITS[word] for word in re.findall(r"[a-zµ]+", header.lower().replace("_", " ")) if word in UNITS]
    if named:
        return named[-1]
    return next((unit for size, unit in EPOCHS if abs(numbers[0]) >= size), 1.0)


def _iso(text: str, seconds: float) -> str | None:
    """ISO stamp shifted by `seconds`, with the separators, digits and zone of `text`."""
    found = ISO.fullmatch(text)
    if found is None:
        return None
    moment = datetime.fromisoformat(text) + timedelta(seconds=seconds)
    mark, minute, second, part, zone = found.groups()
    made = moment.strftime("%Y-%m-%d")
    if mark is None:
        return made
    made += mark + moment.strftime("%H") + (moment.strftime(":%M") if minute else "")
    made += moment.strftime(":%S") if second else ""
    if part:
        made += part[0] + f"{moment.microsecond:06d}".ljust(len(part) - 1, "0")[: len(part) - 1]
    return made + (text[-len(zone) - (text[-len(zone) - 1] == " ") :] if zone else "")
