"""Gaps of a table filled in: estimate, quantiles and joint samples, from the table and a prior if there is one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.special import ndtri

from vqfusion.models.restoration.autoregressive import fill_gaps
from vqfusion.models.restoration.gaps.autoregression_fit import fit_autoregression, interpolated
from vqfusion.models.restoration.gaps.rehearsal import Rehearsal, quantile_of
from vqfusion.models.restoration.gaps.runs import END, START, gap_groups, moved_gaps
from vqfusion.models.restoration.gaps.scales import Scale
from vqfusion.models.restoration.gaps.vector_autoregression import Conditional, VectorAutoregression

MOST_TOGETHER = 32  # channels of one model
SCALE_ROWS = 8000  # rows on which scales are compared
HIDDEN = 4000  # values that are hidden in all, where there are so many
MOST_TIMES, MOST_SHARE = 6, 0.2  # times that gaps are moved in one rehearsal, and the share of a channel that it hides
REHEARSALS, SMALL = 3, 20_000  # rehearsals of tables of fewer values; one of larger ones
SHORTEST = 24  # rows from which on there is a rehearsal
ENDS, CONTEXT = 24, 500  # forecasts that are rehearsed, and the rows before each
CENTRES = (np.arange(51) + 0.5) / 51  # levels whose mean quantile is the mean

Table = Float[np.ndarray, "C T"]
Learned = Callable[[Table], Table]
"""Series with mean 0 and deviation 1, NaN in gaps -> the same with estimates there, each channel by itself."""


@dataclass(frozen=True)
class Filled:
    """A table with its gaps filled in; known values are unchanged.

    Attributes:
        mean: Means of the distributions of the missing values `[C, T]`; NaN in channels without any value.
        median: Medians.
        lower: Lower ends of the intervals.
        upper: Upper ends of the intervals.
        samples: Joint samples `[K, C, T]`.
        warnings: Messages for the user.
    """

    mean: Table
    median: Table
    lower: Table
    upper: Table
    samples: Float[np.ndarray, "K C T"]
    warnings: tuple[str, ...] = ()


def fill_table(
    values: Table,
    samples: int = 0,
    coverage: float = 0.9,
    seed: int = 0,
    learned: Learned | None = None,
) -> Filled:
    """Distribution of the missing values of a table given its known ones.

    Channels are brought to a scale on which they are nearly normal and modelled by one vector autoregression, which is
    fitted to the table with its gaps. Three estimates are averaged: its mean, that of an autoregression of the channel
    alone (`fill_gaps`), and that of a learned prior. Their weights, and the spread of the truth around them, come from
    artificial gaps of the same lengths in the known values (conformal quantiles: Vovk, Gammerman, Shafer, 2005), by
    channel and length as far as there are enough.

    Args:
        values: Table, NaN where missing.
        samples: Number of joint samples.
        coverage: Share of the true values within the intervals.
        seed: Random seed of the samples; the estimate and its intervals do not depend on it.
        learned: Estimates of a prior.

    Returns:
        The filled table.
    """
    missing = np.isnan(values)
    empty, made = missing.all(axis=1), np.where(missing, 0.0, values)
    constant = np.array(
        [not row[~gap].size or np.ptp(row[~gap]) == 0 for row, gap in zip(values, missing, strict=True)]
    )
    for channel in np.flatnonzero(constant & ~empty):
        made[channel] = values[channel, ~missing[channel]][0]
    made[empty] = np.nan
    parts = [made.copy() for _ in range(4)]
    drawn = np.repeat(made[None], samples, axis=0)
    lines: list[str] = []
    with_gaps, drawing = np.flatnonzero(~constant), np.random.default_rng(seed)
    for group in _together(values, with_gaps) if missing[~constant].any() else ():
        if missing[group].any():
            one = _Group(values[group].T, np.random.default_rng(0), learned).filled(samples, coverage, drawing)
            for whole, part in zip(parts, (one.mean, one.median, one.lower, one.upper), strict=True):
                whole[group] = np.where(missing[group], part, values[group])
            drawn[:, group] = one.samples
            lines += one.warnings
    mean, median, lower, upper = parts
    return Filled(mean, median, lower, upper, drawn, tuple(dict.fromkeys(lines)))


def _together(values: Table, channels: np.ndarray) -> list[np.ndarray]:
    """Groups of up to `MOST_TOGETHER` channels that are most alike, in an order that does not depend on theirs."""
    scaled = [Scale.standard(row[~np.isnan(row)]).forward(row) for row in values[channels]]
    keys = [np.nan_to_num(np.round(row, 6), nan=1e9).tolist() for row in scaled]
    left = [channels[i] for i in sorted(range(len(channels)), key=lambda i: keys[i])]
    if len(left) <= MOST_TOGETHER:
        return [np.array(left)]
    plain = interpolated(np.stack(scaled).T, ~np.isnan(values[channels]).T).T
    rows = {channel: row / (np.linalg.norm(row) + 1e-12) for channel, row in zip(channels, plain, strict=True)}
    groups = []
    while left:
        likeness = [-abs(float(rows[left[0]] @ rows[channel])) for channel in left]
        near = set(np.argsort(likeness, kind="stable")[:MOST_TOGETHER].tolist())
        groups.append(np.array([left[i] for i in sorted(near)]))
        left = [channel for i, channel in enumerate(left) if i not in near]
    return groups


class _Group:
    """Channels that are modelled together, `[T, C]`."""

    def __init__(self, values: Float[np.ndarray, "T C"], generator: np.random.Generator, learned: Learned | None):
        self.values, self.generator, self.learned = values, generator, learned
        self.seen = ~np.isnan(values)
        known = [row[there] for row, there in zip(values.T, self.seen.T, strict=True)]
        self.standard = self.scales = [Scale.standard(row) for row in known]
        self.others = [Scale.ranks(row) for row in known]
        if len(values) >= SHORTEST and self._ranks_are_nearer():
            self.scales, self.others = self.others, self.scales

    def filled(self, samples: int, coverage: float, drawing: np.random.Generator) -> Filled:
        """Distribution of the missing values."""
        rehearsal = self._rehearsal()
        missing, estimates = self._asked(*self._fitted(self.seen), self.seen)
        groups = gap_groups(~self.seen)[missing.times, missing.channels]
        normal = (missing.draw(samples, drawing) - missing.mean) / missing.deviation
        tail = float(ndtri((1 + coverage) / 2))
        centre, distances = np.zeros(len(groups)), np.zeros((samples + len(CENTRES) + 3, len(groups)))
        for group, channel in set(zip(groups.tolist(), missing.channels.tolist(), strict=True)):
            among = (groups == group) & (missing.channels == channel)
            spread = rehearsal.spread(group, channel)
            centre[among] = rehearsal.mean(group, channel) @ estimates[:, among]
            distances[:samples, among] = quantile_of(spread, normal[:, among])
            fixed = quantile_of(spread, np.concatenate([ndtri(CENTRES), [-tail, 0.0, tail]]))
            distances[samples:, among] = fixed[:, None]
        placed = [self._placed(centre + row * missing.deviation, missing) for row in distances]
        drawn = np.stack(placed[:samples]) if samples else np.zeros((0, *self.values.T.shape))
        mean, (lower, median, upper) = np.mean(placed[samples:-3], axis=0), placed[-3:]
        few = ("there is too little of it to check intervals by",) if not len(rehearsal.group) else ()
        return Filled(mean, median, lower, upper, drawn, few)

    def _placed(self, z: Float[np.ndarray, " n"], missing: Conditional) -> Table:
        """The table with these numbers, on the scales, in its gaps; what was never negative is not negative there."""
        made = self.values.copy()
        for channel, scale in enumerate(self.scales):
            among = missing.channels == channel
            least = 0.0 if np.nanmin(self.values[:, channel]) >= 0 else -np.inf
            made[missing.times[among], channel] = np.maximum(scale.back(z[among]), least)
        return made.T

    def _ranks_are_nearer(self) -> bool:
        """Whether the model of normal scores is nearer to hidden values, in deviations of the channels."""
        rows = slice(max(0, (len(self.values) - SCALE_ROWS) // 2), (len(self.values) + SCALE_ROWS) // 2)
        values, seen = self.values[rows], self.seen[rows]
        hidden, errors = self._hidden(seen), []
        for scales in (self.scales, self.others):
            z = _forward(scales, values)
            missing = fit_autoregression(z, seen & ~hidden, self.generator, rounds=3).given(z, seen & ~hidden)
            wanted = hidden[missing.times, missing.channels]
            made = _moved(missing.mean, missing.channels, scales, self.standard)
            truth = _forward(self.standard, values)[missing.times, missing.channels]
            errors.append(float(np.abs(made - truth)[wanted].sum()))
        return errors[1] < errors[0]

    def _hidden(self, seen: Bool[np.ndarray, "T C"]) -> Bool[np.ndarray, "T C"]:
        """Known values that are hidden: the gaps at other places, several times where they are few."""
        hidden = np.zeros_like(seen)
        for _ in range(MOST_TIMES):
            if hidden.sum() < HIDDEN:
                shift = int(self.generator.integers(len(seen)))
                hidden |= moved_gaps(~seen, seen & ~hidden, shift, MOST_SHARE / MOST_TIMES, self.generator)
        return hidden

    def _rehearsal(self) -> Rehearsal:
        """Artificial gaps inside, and forecasts where gaps reach an end."""
        parts: list[Rehearsal] = []
        for _ in range(REHEARSALS if self.values.size < SMALL else 1) if len(self.values) >= SHORTEST else ():
            hidden = self._hidden(self.seen)
            models = self._fitted(self.seen & ~hidden)
            parts.append(self._compared(models, slice(None), hidden))
        if parts:
            parts += [self._compared(models, rows, hidden) for rows, hidden in self._forecasts()]
        return Rehearsal.joined([Rehearsal.none(3 + bool(self.learned)), *parts])

    def _fitted(self, seen: Bool[np.ndarray, "T C"]) -> tuple[VectorAutoregression, VectorAutoregression]:
        """Models on the scales and on the others."""
        first, second = (
            fit_autoregression(_forward(scales, self.values), seen, self.generator)
            for scales in (self.scales, self.others)
        )
        return first, second

    def _forecasts(self) -> Iterator[tuple[slice, Bool[np.ndarray, "t C"]]]:
        """Stretches of the table whose end is hidden as that of the table is missing, and the same at the start."""
        length, groups = len(self.seen), gap_groups(~self.seen)
        for side, step in ((START, 1), (END, -1)):
            open_end = (groups % 3 == side) & (groups >= 0)
            reach = int(open_end.any(axis=1).sum())
            rows = min(reach + CONTEXT, length - reach - 1)
            if not reach or rows < 2 * reach:
                continue
            pattern = np.zeros((rows, self.seen.shape[1]), bool)
            pattern[::step][:reach] = open_end[::step][:reach]
            for begin in np.unique(np.linspace(0, length - rows, ENDS).astype(int)):
                yield slice(begin, begin + rows), pattern

    def _compared(
        self,
        models: tuple[VectorAutoregression, VectorAutoregression],
        rows: slice,
        hidden: Bool[np.ndarray, "t C"],
    ) -> Rehearsal:
        """Estimates of hidden values of some rows."""
        left = self.seen[rows] & ~hidden
        missing, estimates = self._asked(*models, left, rows)
        asked = (hidden & self.seen[rows])[missing.times, missing.channels]
        group = gap_groups(~left)[missing.times, missing.channels]
        truth = _forward(self.scales, self.values[rows])[missing.times, missing.channels]
        return Rehearsal(*(one[..., asked] for one in (group, missing.channels, truth, estimates, missing.deviation)))

    def _asked(
        self,
        model: VectorAutoregression,
        other: VectorAutoregression,
        seen: Bool[np.ndarray, "t C"],
        rows: slice = slice(None),
    ) -> tuple[Conditional, Float[np.ndarray, "E n"]]:
        """Missing values of some rows under the model, and their estimates on its scales.

        Estimates are that of each channel alone (of a large table a straight line), those of both models and that of
        the prior.
        """
        values = self.values[rows]
        missing = model.given(_forward(self.scales, values), seen)
        places, channels = (missing.channels, missing.times), missing.channels
        plain = _forward(self.standard, np.where(seen, values, np.nan)).T
        alone = [_alone(plain) if self.values.size < SMALL else interpolated(plain.T, seen).T]
        alone += [self.learned(plain)] if self.learned else []
        first, *learned = (_moved(np.nan_to_num(one)[places], channels, self.standard, self.scales) for one in alone)
        second = other.given(_forward(self.others, values), seen).mean
        return missing, np.stack([first, missing.mean, _moved(second, channels, self.others, self.scales), *learned])


def _forward(scales: list[Scale], values: Float[np.ndarray, "T C"]) -> Float[np.ndarray, "T C"]:
    return np.stack([scale.forward(row) for scale, row in zip(scales, values.T, strict=True)], axis=1)


def _alone(plain: Table) -> Table:
    """Each channel by an autoregression of itself."""
    known = torch.from_numpy(~np.isnan(plain))[:, None]
    return fill_gaps(torch.from_numpy(np.nan_to_num(plain))[:, None], known)[:, 0].numpy()


def _moved(
    values: Float[np.ndarray, " n"], channels: np.ndarray, before: list[Scale], after: list[Scale]
) -> Float[np.ndarray, " n"]:
    """Numbers of several channels on other scales."""
    if before is after:
        return values
    made = values.copy()
    for channel in range(len(before)):
        among = channels == channel
        made[among] = after[channel].forward(before[channel].back(values[among]))
    return made
