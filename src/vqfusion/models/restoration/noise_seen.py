"""What kind of noise a signal shows, and the level that a prior of white noise is told to remove it."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from vqfusion.diffusion.gaussian.noise_level import estimate_noise
from vqfusion.diffusion.gaussian.noise_likeness import FlatAreas, flat_areas

# all chosen on photographs kept from training: docs/restoring.md
FAINT = 1.2 / 255  # noise of pictures below this is that of their last digit
ALIKE = 0.26  # correlation of neighbours in flat areas from which on it is not white noise of 5 / 255 or more
LEAST = 1.9 / 255  # deviation in flat areas of noise that neighbours share
FINE = 0.65  # greatest level as white noise, as a share of that deviation: the finest details hold little of it
UNEVEN = 1.6  # greatest unevenness of flat areas
SURE, FAR = 0.42, 0.03  # from this correlation on, that of elements two apart is at most FAR: more is texture
STRONG, FAR_BELOW = 5 / 255, -0.065  # below it the noise must be this strong, and that of elements two apart lower
TOLD = 4.5  # times the deviation in flat areas: low frequencies are stronger than in white noise of that deviation
CLEAN = "no noise was found, and it is left as it is; --sigma 5/255 smooths it all the same"


@dataclass(frozen=True)
class NoiseSeen:
    """The level that the prior is told, in the units of the signal, and a line for the user where it is not white."""

    level: float
    line: str = ""


def noise_seen(item: Float[Tensor, "C ..."]) -> NoiseSeen:
    """The noise of one signal `[C, *size]`; of pictures also whether neighbours share it, or there is none.

    Raises UserError where the signal is too small to tell.
    """
    level = float(estimate_noise(item[None]))
    if item.ndim != 3:
        return NoiseSeen(level)
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


def _is_shared(flat: FlatAreas) -> bool:
    """Whether flat areas show noise that neighbours share, rather than texture or nothing."""
    if flat.level < LEAST or flat.unevenness > UNEVEN:
        return False
    if flat.likeness >= SURE:
        return flat.likeness_2 < FAR
    return flat.level >= STRONG and flat.likeness_2 < FAR_BELOW
