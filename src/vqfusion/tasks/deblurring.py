"""The task `deblur`: sharpen what a known blur has smeared."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from vqfusion.errors import UserError
from vqfusion.modalities import MODALITIES, SIGNALS
from vqfusion.tasks.restoration import Restoration
from vqfusion.tasks.task import Answer, option, task

if TYPE_CHECKING:
    from torch import Tensor

    from vqfusion.diffusion.operators import Operator
    from vqfusion.models.fusion.system import System
    from vqfusion.models.restoration.fitted import FittedSample
    from vqfusion.models.sampling import Sampling
    from vqfusion.types import Sample

ROUNDING = 1 / 255 / math.sqrt(12)  # deviation of the rounding to 8 bits: no file has less
WIDEST = 255  # elements of a kernel along an axis
FORMS = "gaussian:1.6 (deviation), disk:3 (radius), motion:15:30 (length, degrees), all in pixels"


@task
@dataclass(frozen=True, kw_only=True)
class Deblur(Restoration):
    """Sharpen a picture or a volume whose blur is known: a lens out of focus, a shaken camera, a microscope."""

    name: ClassVar[str] = "deblur"
    accepts: ClassVar[tuple[str, ...]] = tuple(name for name in SIGNALS if MODALITIES[name].rank > 1)
    gives: ClassVar[str] = "image"
    kinds: ClassVar[tuple[str, ...]] = ("prior",)
    blur: str | None = option(None, f"the blur in words: {FORMS}")
    kernel: str | None = option(
        None,
        "the blur as a file: how one bright point is seen, as a picture on black, or numbers in .npy, .tif, .nii",
        place="file",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.blur is not None and self.kernel is not None:
            raise UserError("--blur and --kernel both say what the blur is; leave one out")
        if self.blur is not None:
            parsed_blur(self.blur)

    def in_codes(self, system: "System", sample: "list[Sample]", sampling: "Sampling") -> Answer:
        raise UserError("deblur needs a prior; choose one by --model")

    def operator(self, fitted: "FittedSample") -> "Operator":
        from vqfusion.diffusion.operators import ValidBlur
        from vqfusion.models.restoration.noise_seen import noise_seen

        kernel = self._kernel(fitted.y.ndim - 2)
        size = fitted.y.shape[2:]
        if any(k > n for k, n in zip(kernel.shape, size, strict=True)):
            wide, small = (" x ".join(map(str, shape)) for shape in (kernel.shape, size))
            raise UserError(f"{self.kernel or self.blur}: the blur measures {wide}, more than the input of {small}")
        if self.level is not None:
            return ValidBlur(kernel, fitted.level(self.level))
        seen = noise_seen(fitted.y[0]).level if min(size) > 1 else 0.0
        return ValidBlur(kernel, max(seen, ROUNDING))

    def _kernel(self, rank: int) -> "Tensor":
        """Kernel `[*k]` that sums to 1, of the rank of the signal."""
        if self.kernel is not None:
            return read_kernel(self.kernel, rank)
        if self.blur is None:
            raise UserError(f"deblur needs the blur: --blur {FORMS}; or --kernel FILE")
        from vqfusion.diffusion.operators import disk_kernel, gaussian_kernel, motion_kernel

        kind, numbers = parsed_blur(self.blur)
        if kind == "gaussian":
            return gaussian_kernel(numbers[0], rank)
        if rank != 2:
            raise UserError(f"--blur {self.blur}: a blur of pictures; for volumes give gaussian:WIDTH or --kernel FILE")
        if kind == "disk":
            return disk_kernel(numbers[0])
        return motion_kernel(round(numbers[0]), math.radians(-numbers[1]))  # counter-clockwise, rows going down


def parsed_blur(text: str) -> tuple[str, list[float]]:
    """`disk:3` as its kind and numbers; UserError where it is no blur, or wider than 255 pixels."""
    kind, *words = text.split(":")
    counts = {"gaussian": 1, "disk": 1, "motion": 2}
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    if counts.get(kind) != len(numbers) or not all(map(math.isfinite, numbers)):
        raise UserError(f"--blur {text[:40]!r} is none of {FORMS}")
    reach = {"gaussian": 6, "disk": 2, "motion": 1}[kind] * numbers[0]
    least = 1 if kind == "motion" else 0.1
    if not least <= numbers[0] or reach > WIDEST - 2:
        raise UserError(f"--blur {text[:40]!r}: give {least:g} pixels or more, and a blur no wider than {WIDEST}")
    return kind, numbers


def read_kernel(path: str, rank: int) -> "Tensor":
    """Kernel `[*k]` of a file, without its empty margins, divided by its sum; UserError where it is none."""
    import torch

    from vqfusion.data.io import read
    from vqfusion.data.io.arrays import load_arrays
    from vqfusion.data.io.file import read_bytes, suffix_of

    if suffix_of(path) in (".npy", ".npz"):
        key, arrays = load_arrays(read_bytes(path), path, WIDEST**3)
        values = torch.from_numpy(arrays[key].astype("float64"))
    else:
        sample = read(path)
        if MODALITIES[sample.modality].rank < 2:
            raise UserError(f"{path}: holds {MODALITIES[sample.modality].noun}; give a picture, a volume or an array")
        values = sample.data.double().mean(0)
    while values.ndim > rank and 1 in values.shape:
        values = values.squeeze(list(values.shape).index(1))
    if values.ndim != rank:
        raise UserError(f"{path}: has {values.ndim} axes, and the input {rank}; give a blur of as many")
    if not bool(values.isfinite().all()) or not bool((values >= 0).all()) or not bool(values.any()):
        raise UserError(f"{path}: a blur holds numbers of 0 or more, not all 0")
    for axis in range(rank):
        there = (values.movedim(axis, 0).flatten(1) > 0).any(1).nonzero().flatten()
        first, last = int(there[0]), int(there[-1])
        margin = min(first, values.shape[axis] - 1 - last)  # equal on both sides, so that the middle stays
        values = values.narrow(axis, margin, values.shape[axis] - 2 * margin)
    if max(values.shape) > WIDEST:
        raise UserError(f"{path}: the blur is {max(values.shape)} wide; {WIDEST} is the most, cut it around its middle")
    values = values / values.max()  # the sum of large numbers may be infinite
    return values / values.sum()
