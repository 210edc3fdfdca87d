"""Kind of noise in a signal, and the level at which a prior of white noise removes it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from vqfusion.diffusion.gaussian.noise_level import estimate_noise
from vqfusion.diffusion.gaussian.noise_likeness import FlatAreas, flat_areas

# all chosen on photographs kept from training: docs/restoring.md
FAINT = 1.2 / 255  # lower noise of pictures is rounding
ALIKE = 0.26  # correlation of neighbours in flat areas above which the noise is not white noise of 5 / 255 or more
LEAST = 1.9 / 255  # smallest standard deviation of correlated noise in flat areas
FINE = 0.65  # largest ratio of the level as white noise to that standard deviation: correlated noise has less detail
UNEVEN = 1.6  # largest unevenness of flat areas
SURE, FAR = 0.42, 0.03  # above SURE, the correlation of elements two apart must be below FAR; more is texture
STRONG, FAR_BELOW = 5 / 255, -0.065  # below SURE, the noise must be STRONG and that correlation below FAR_BELOW
TOLD = 4.5  # level for the prior / standard deviation in flat areas: low frequencies are stronger than in white noise
CLEAN = "no noise was found, and it is left as it is; --sigma 5/255 smooths it all the same"
# of sounds, series and volumes, in the units of their priors
LEAST_OF = {1: 5e-4, 3: 2e-3}  # lower noise counts as none
ALIKE_OF = {1: 0.25, 3: 0.2}  # correlation of neighbours in flat areas above which the noise is not white
ALL_OF_IT = 1.3  # standard deviation of the noise / that in flat areas, which lose their mean and slope
LEFT = "no noise was found, and it is left as it is; --sigma sets a level to remove all the same"


@dataclass(frozen=True)
class NoiseSeen:
    """Noise level for the prior, in the units of the signal, and a message where the noise is not white."""

    level: float
    line: str = ""


def noise_seen(item: Float[Tensor, "C ..."], level: float | None = None) -> NoiseSeen:
    """Noise of one signal `[C, *size]`: its level, and whether it is correlated between neighbours, or absent.

    `level` is its `estimate_noise`, if that is known.

    Raises:
        UserError: The signal is too small for an estimate.
    """
    level = float(estimate_noise(item[None])) if level is None else level
    if item.ndim != 3:
        return _of_another_rank(item, level)
    flat = flat_areas(item)
    if flat.likeness < ALIKE:
        clean = level < FAINT or 0 < flat.level < FAINT
        return NoiseSeen(0.0, CLEAN) if clean else NoiseSeen(level)
    if level > FINE * flat.level or not _is_shared(flat):
        return NoiseSeen(0.0, CLEAN)
    told = TOLD * flat.level
    return NoiseSeen(
        told,
        f"neighbouring pixels share its noise (correlation {flat.likeness:.2f}), as after demosaicing, scaling or "
        f"JPEG: it is removed as white noise of {255 * told:.0f}/255; --sigma sets another level",
    )


def lines_of(seen: Sequence[NoiseSeen]) -> list[str]:
    """The messages about several signals of one sample, each with the number of signals where it is not about all."""
    counts = Counter(one.line for one in seen if one.line)
    return [line if count == len(seen) else f"{count} of {len(seen)} parts: {line}" for line, count in counts.items()]


def _of_another_rank(item: Float[Tensor, "C ..."], level: float) -> NoiseSeen:
    """As `noise_seen`, for sounds, series and volumes."""
    rank, flat = item.ndim - 1, flat_areas(item)
    strong = ALL_OF_IT * flat.level >= max(level, LEAST_OF[rank]) and flat.unevenness <= UNEVEN
    if strong and flat.likeness >= ALIKE_OF[rank] and flat.likeness_2 < FAR_BELOW:
        return NoiseSeen(
            ALL_OF_IT * flat.level,
            f"neighbouring values share its noise (correlation {flat.likeness:.2f}), as after resampling: it is "
            "removed as white noise of its deviation in flat areas, and slow parts stay; --sigma sets another level",
        )
    return NoiseSeen(level) if level >= LEAST_OF[rank] else NoiseSeen(0.0, LEFT)


def _is_shared(flat: FlatAreas) -> bool:
    """Whether flat areas show noise that is correlated between neighbours, rather than texture or nothing."""
    if flat.level < LEAST or flat.unevenness > UNEVEN:
        return False
    if flat.likeness >= SURE:
        return flat.likeness_2 < FAR
    return flat.level >= STRONG and flat.likeness_2 < FAR_BELOW
