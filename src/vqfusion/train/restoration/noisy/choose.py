"""How to learn from noisy signals: what their noise is, and which method suits it."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vqfusion.config import OwnNoiseConfig, PriorTrainingConfig
from vqfusion.diffusion.gaussian.noise_correlation import noise_correlation
from vqfusion.diffusion.gaussian.noise_curve import NoiseCurve, noise_curve
from vqfusion.diffusion.gaussian.noise_level import SIDES, estimate_noise
from vqfusion.diffusion.gaussian.odd_areas import clipped_ends
from vqfusion.errors import UserError
from vqfusion.nn.blind_spot import separated, trimmed
from vqfusion.train.restoration.noisy.signals import NoisySignals, stands_still

SURE, LIKELY = 0.3, 0.22  # correlation of neighbours from which noise is correlated: alone, or with less fine detail
COARSE = 0.85  # level as white noise / deviation in flat patches, below which noise lacks fine detail
FAR = 0.1  # correlation that still counts
MOST_STRIDE = 5
JUDGED = 24  # signals that are looked at
FAINT = 1e-4  # level in the units of the prior below which there is no noise to learn from
SATURATED = 0.2  # fraction of clipped elements from which a line says so


@dataclass(frozen=True)
class Chosen:
    """How to learn.

    Attributes:
        noise: Method and noise, as the prior keeps them.
        levels: Noise level of each signal, as it is once separated by `stride`.
        curves: Variance by brightness of each signal, where it grows.
        repeats: Groups of repeated acquisitions to learn from, as indices of signals.
        reason: Why, in one line.
        lines: Further lines for the user.
    """

    noise: OwnNoiseConfig
    levels: list[float]
    curves: list[NoiseCurve | None]
    repeats: list[list[int]]
    reason: str
    lines: tuple[str, ...] = ()


def choose(training: PriorTrainingConfig, data: NoisySignals) -> Chosen:
    """Choose the method for the noise of these signals; UserError where none fits.

    Repeated acquisitions that stand still are pairs. Noise that is correlated along one axis is hidden along it, noise
    that is correlated along several is separated by a stride. White noise of a known level is recorrupted.
    """
    rank = training.prior.rank
    side = 2 * SIDES[rank]
    large = [i for i, signal in enumerate(data.signals) if all(n >= side for n in signal.shape[1:])]
    if not large:
        raise UserError(f"all signals are smaller than {side} values a side: too small to tell noise from structure")
    judged = large[:: -(-len(large) // JUDGED)]
    found = [noise_correlation(data.signals[i]) for i in judged]
    level = [float(estimate_noise(data.signals[i][None])) for i in judged]
    seen = [one for one in found if one.level > 0]
    if max(level) < FAINT and all(one.level < FAINT for one in seen):
        raise UserError("no noise was found in the data: there is nothing to learn; set prior.clean to true")
    correlation = torch.stack([one.correlation for one in seen]).median(0).values if seen else torch.zeros(rank, 1)
    ratios = [a / b.level for a, b in zip(level, found, strict=True) if b.level > 0]
    ratio = float(torch.tensor(ratios or [1.0]).median())
    reach = _reach(correlation, ratio)
    still = [group for group in data.repeats if stands_still([data.signals[i] for i in group])]
    said = ", ".join(f"{float(row[0]):.2f}" for row in correlation)
    white = f"neighbours' noise is uncorrelated ({said} along each axis)"
    shared = f"neighbours share their noise (correlation {said} along each axis)"
    method, alone = training.method, (1,) * rank
    lines = _saturated(data)
    if method == "auto" and still:
        method, why = "pairs", f"{sum(map(len, still))} signals are repeated acquisitions of {len(still)} scenes"
    elif method == "auto" and not any(reach):
        method, why = "recorrupted", white
    elif method == "auto" and sum(map(bool, reach)) == 1:
        method, why = "blind_spot", f"{shared}: it is hidden along that axis"
    elif method == "auto":
        method, why = "recorrupted", f"{shared}: values a few apart are denoised together"
    else:
        why = f"asked for; {shared if any(reach) else white}"
    if data.repeats and not still and training.method == "auto":
        lines = (*lines, "repeated acquisitions were found, but what they show moves between them: not used as pairs")
    if method == "pairs" and not data.repeats:
        raise UserError("method pairs needs repeated acquisitions: times of a TIFF or NIfTI series, or name_1, name_2")
    stride = alone
    if any(reach) and method in ("recorrupted", "neighbours"):
        stride = tuple(distance + 1 for distance in reach)
        if max(stride) > MOST_STRIDE or _still_correlated([data.signals[i] for i in judged], stride):
            raise UserError(
                f"{shared}, over more values than can be told from structure: give repeated acquisitions (name_1, "
                "name_2), or reduce the pictures first"
            )
    hidden = reach if method == "blind_spot" else (0,) * rank
    noise = OwnNoiseConfig(method=method, reach=hidden, stride=stride)
    repeats = (still or data.repeats) if method == "pairs" else []
    return _with_levels(Chosen(noise, [], [], repeats, f"method {method}: {why}", lines), data)


def _still_correlated(signals: list[Tensor], stride: tuple[int, ...]) -> bool:
    """Whether the noise of every `stride`-th element is correlated nevertheless."""
    parts = [signal[(slice(None), *(slice(None, None, step) for step in stride))] for signal in signals]
    found = [noise_correlation(part) for part in parts]
    seen = [one.correlation[:, 0] for one in found if one.level > 0]
    return bool(seen) and bool((torch.stack(seen).median(0).values >= SURE).any())


def _reach(correlation: Tensor, ratio: float) -> tuple[int, ...]:
    """Distance up to which noise is correlated along each axis; 0 for white noise.

    Removing the mean of a patch hides weak correlation at larger distances, so that strong correlation of neighbours
    counts one further.
    """
    first = correlation[:, 0]
    if not bool((first >= SURE).any()) and not (bool((first >= LIKELY).any()) and ratio <= COARSE):
        return (0,) * len(correlation)
    reach = []
    for row in correlation:
        if float(row[0]) < FAR * 1.5:
            reach.append(0)
            continue
        beyond = next((lag for lag, value in enumerate(row.tolist()) if value < FAR), len(row))
        reach.append(beyond + int(float(row[beyond - 1]) >= SURE))
    return tuple(reach)


def _with_levels(chosen: Chosen, data: NoisySignals) -> Chosen:
    """Add the noise of each signal, in elements that are a stride apart."""
    stride, rank = chosen.noise.stride, len(chosen.noise.stride)
    parts = []
    for signal in data.signals:
        parts.append(separated(trimmed(signal[None], stride), stride))
    levels = [_level(items, 2 * SIDES[rank]) for items in parts]
    known = sorted(level for level in levels if level > 0)
    if not known or known[-1] < FAINT:
        raise UserError("no noise was found in the data: there is nothing to learn; set prior.clean to true")
    usual = known[len(known) // 2]
    levels = [level or usual for level in levels]
    pooled = noise_curve([items[0] for items in parts[:: -(-len(parts) // JUDGED)]]) if data.shared_units else None
    own = [pooled if data.shared_units else noise_curve(list(items)) for items in parts]
    dependent = sum(curve is not None for curve in own) > len(own) / 2
    curves = own if dependent else [None] * len(own)
    level = f"level {usual:.3g} in the units of the prior" + (", more where it is brighter" if dependent else "")
    return replace(
        chosen,
        noise=chosen.noise.model_copy(update={"dependent": dependent}),
        levels=levels,
        curves=curves,
        reason=f"{chosen.reason}; {level}",
    )


def _level(items: Tensor, least: int) -> float:
    """Median noise level of up to four signals of one size; 0 where they are too small."""
    if any(n < least for n in items.shape[2:]):
        return 0.0
    return float(estimate_noise(items[:: -(-len(items) // 4)]).median())


def _saturated(data: NoisySignals) -> tuple[str, ...]:
    """A line where many elements are at the ends of the range, where noise was cut off."""
    shares = []
    for signal in data.signals:
        low, high = clipped_ends(signal)
        shares.append(float(((signal <= low) | (signal >= high)).float().mean()))
    share = sum(shares) / len(shares)
    if share < SATURATED:
        return ()
    return (f"{100 * share:.0f} % of the values are clipped (saturated or black): nothing is learned from those",)
