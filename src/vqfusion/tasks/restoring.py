"""The restoration tasks without a mask: denoise, upscale, enhance."""

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from vqfusion.errors import UserError
from vqfusion.modalities import MODALITIES, SIGNALS
from vqfusion.tasks.restoration import Restoration
from vqfusion.tasks.task import Answer, option, task

if TYPE_CHECKING:
    from torch import Tensor

    from vqfusion.diffusion.operators import Noise, Operator
    from vqfusion.models.fusion.system import System
    from vqfusion.models.restoration.fitted import FittedSample
    from vqfusion.models.restoration.prior import Prior
    from vqfusion.models.sampling import Sampling
    from vqfusion.types import Sample

NOISES = ("gaussian", "poisson", "salt-and-pepper", "rician")


@task
@dataclass(frozen=True, kw_only=True)
class Denoise(Restoration):
    """Clean a noisy picture, sound, volume or series."""

    name: ClassVar[str] = "denoise"
    accepts: ClassVar[tuple[str, ...]] = SIGNALS
    gives: ClassVar[str] = "image"
    noise: str = option("gaussian", "gaussian, poisson (sigma is that at full brightness), salt-and-pepper or rician")
    explain: bool = option(False, "say what is seen in the input: noise by place, correlations, clipping, JPEG")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.noise not in NOISES:
            raise UserError(f"--noise {self.noise!r} is not one of {', '.join(NOISES)}")
        if self.noise == "salt-and-pepper" and self.level is not None:
            raise UserError("--sigma has no meaning for salt-and-pepper noise; leave it out")
        if self.noise == "rician" and not self.level:
            raise UserError("--noise rician needs --sigma above 0, in the units of the volume")

    @property
    def beyond_codes(self) -> dict[str, bool]:
        return super().beyond_codes | {"--noise": self.noise != "gaussian", "--explain": self.explain}

    def seen(self, fitted: "FittedSample") -> "tuple[dict[str, Any] | None, tuple[str, ...]]":
        if not self.explain:
            return None, ()
        from vqfusion.models.restoration.explanation import Explanation

        sample = fitted.sample
        tables = getattr(sample.extras, "tables", None)
        item = sample.data.float() if fitted.as_it_is else fitted.y[0]
        explanation = Explanation.of(item.nan_to_num(), tables)
        unit = 255.0 if MODALITIES[sample.modality].pictured else 1.0
        return asdict(explanation), tuple(explanation.lines(unit))

    def in_codes(self, system: "System", sample: "list[Sample]", sampling: "Sampling") -> Answer:
        return self.clean_view(system, sample, "noisy", sampling)

    def fitted(self, prior: "Prior", sample: "Sample") -> "FittedSample":
        from vqfusion.models.restoration.fitted import FittedSample
        from vqfusion.models.restoration.own_noise import with_own_noise

        fitted = FittedSample.of(sample, prior, from_zero=self.noise in ("poisson", "rician"))
        if self.noise != "gaussian":
            return fitted
        if prior.config.noise is not None:
            return fitted if self.level is not None else with_own_noise(fitted, prior)
        if self.level is None and self.read_out == "mean":
            fitted = fitted.as_jpeg()
            if fitted.jpeg is not None:
                return fitted
        return fitted.with_white_noise(self.level, prior)

    def operator(self, fitted: "FittedSample") -> "Operator":
        from vqfusion.diffusion import operators

        if fitted.jpeg is not None:
            return fitted.jpeg
        if fitted.levels is not None:
            return operators.Denoise(fitted.levels)
        level = fitted.sigma if self.level is None else self.level
        own = None if level is None else fitted.level(level)
        if self.noise == "gaussian":
            return operators.Denoise(own)
        return operators.Denoise(noise=self._noise(fitted, own))

    def _noise(self, fitted: "FittedSample", level: "float | Tensor | None") -> "Noise":
        from vqfusion.diffusion import operators
        from vqfusion.models.restoration.photons import estimate_gain

        if self.noise == "salt-and-pepper":
            return operators.SaltPepper()
        if len(fitted.scale) > 1:
            raise UserError(f"--noise {self.noise} takes one channel, not {len(fitted.scale)}; split the input")
        if self.noise == "rician":
            assert level is not None
            return operators.Rician(float(level))
        gain = estimate_gain(fitted.y) if level is None else float(level) ** 2
        return operators.PoissonGaussian(gain)

    def used_level(self, fitted: "FittedSample", operator: "Operator", sigma: "float | Tensor") -> float:
        """Noise level: of photon noise at full brightness, of Rician noise that of each component, of JPEG as told."""
        from vqfusion.diffusion.operators import PoissonGaussian, Rician

        if fitted.jpeg is not None:
            return fitted.jpeg.level
        noise = operator.noise
        if isinstance(noise, PoissonGaussian):
            return fitted.level_back(noise.gain**0.5)
        return fitted.level_back(noise.sigma if isinstance(noise, Rician) and noise.sigma is not None else sigma)


@task
@dataclass(frozen=True, kw_only=True)
class Upscale(Restoration):
    """Enlarge a picture or a volume; a model over codes generates the details from 16 pixels a side."""

    name: ClassVar[str] = "upscale"
    accepts: ClassVar[tuple[str, ...]] = tuple(name for name in SIGNALS if MODALITIES[name].rank > 1)
    gives: ClassVar[str] = "image"
    scale: int | None = option(None, "how many times as many pixels a side: 2 (the default), 3, 4, ...")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scale is not None and not 2 <= self.scale <= 16:
            raise UserError(f"--scale is {self.scale}; give a whole number from 2 to 16")

    @property
    def factor(self) -> int:
        """Enlargement along each axis."""
        return self.scale or 2

    @property
    def beyond_codes(self) -> dict[str, bool]:
        return super().beyond_codes | {"--scale": self.scale is not None}

    def in_codes(self, system: "System", sample: "list[Sample]", sampling: "Sampling") -> Answer:
        return self.clean_view(system, sample, "16", sampling)

    def operator(self, fitted: "FittedSample") -> "Operator":
        from vqfusion.diffusion.operators import Downsample

        if fitted.sample.is_plane and fitted.y.ndim == 5:
            raise UserError("this prior enlarges depth too, and this is a single plane; choose --model photo")
        return Downsample(self.factor, sigma=fitted.level(self.level or 0.0))

    def finished(self, made: "Sample", given: "Sample") -> "Sample":
        """Resize transparency; divide the voxel size, and keep the outer faces of a volume in place.

        A prior of pictures enlarges the planes of a volume and not its depth.
        """
        if made.extras is not None:
            made = replace(made, extras=made.extras.resized(*made.data.shape[1:]))
        spacing, affine = made.spacing_mm, made.affine
        if spacing is not None:
            sizes = zip(spacing, made.data.shape[1:], given.data.shape[1:], strict=True)
            spacing = tuple(size * old / new for size, new, old in sizes)
        if affine is not None:
            finer = [
                new / old for new, old in zip(made.data.shape[:0:-1], given.data.shape[:0:-1], strict=True)
            ]  # i, j, k
            move = [(1 / more - 1) / 2 for more in finer]  # shift of the first voxel's centre, in old voxels
            rows = [
                [
                    *(value / more for value, more in zip(row[:3], finer, strict=True)),
                    row[3] + sum(shift * value for shift, value in zip(move, row[:3], strict=True)),
                ]
                for row in affine[:3]
            ]
            affine = (*(tuple(row) for row in rows), affine[3])
        return replace(made, spacing_mm=spacing, affine=affine)


@task
@dataclass(frozen=True, kw_only=True)
class Enhance(Restoration):
    """Clean a noisy voice; the result lasts as long as the input."""

    name: ClassVar[str] = "enhance"
    accepts: ClassVar[tuple[str, ...]] = ("audio",)
    gives: ClassVar[str] = "audio"

    def in_codes(self, system: "System", sample: "list[Sample]", sampling: "Sampling") -> Answer:
        return self.clean_view(system, sample, "noisy", sampling)

    def fitted(self, prior: "Prior", sample: "Sample") -> "FittedSample":
        return super().fitted(prior, sample).with_noise_above(self.level)

    def operator(self, fitted: "FittedSample") -> "Operator":
        from vqfusion.diffusion.operators import Denoise as Noisy

        level = fitted.sigma if self.level is None else self.level
        return Noisy(None if level is None else fitted.level(level))
