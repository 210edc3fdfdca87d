"""Conversion of a sample to the units of a prior, and back."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from vqfusion.data.io.animation import animation_of, with_animation
from vqfusion.data.loudness import SPEECH, loudness
from vqfusion.data.transforms import resample
from vqfusion.diffusion.gaussian.noise_level import estimate_noise
from vqfusion.diffusion.operators.jpeg import JPEG
from vqfusion.errors import UserError
from vqfusion.modalities import MODALITIES
from vqfusion.models.restoration.channel_noise import independent_noise
from vqfusion.models.restoration.noise_seen import lines_of, noise_seen
from vqfusion.models.restoration.prior import Prior
from vqfusion.models.restoration.transparency import Backdrop
from vqfusion.models.restoration.value_range import range_of
from vqfusion.types import Sample

COARSE = 0.03  # level of tables from which on a restored JPEG is nearer, about quality 50: docs/restoring.md
SMALLEST = 32  # pixels a side of which noise of the channels can be told apart


@dataclass(frozen=True)
class FittedSample:
    """A sample in the units of a prior.

    Values of the sample are `y * scale + offset`, with one scale and offset for each channel of sounds, series and
    volumes, which are separate items of `y`; channels of sound that the prior models jointly form one item. For a prior
    of pictures the items are the slices of a volume, with the scale and offset of their channel.

    Attributes:
        sample: The sample.
        y: Its values in the units of the prior `[B, C, *size]`, with a mean value where they are missing.
        scale: Scale of each channel.
        offset: Offset of each channel.
        seen: True where values are known; None where all are.
        sample_rate_hz: Sample rate of `y`.
        sigma: Noise level in the units of the sample, where the conversion had to estimate it.
        stronger: Factor by which the conversion increased the noise.
        remark: Message for the user about the noise.
        backdrop: Background that replaces the transparent part of a picture.
        jpeg: Operator of the rounding of a JPEG, where that is all its noise.
        levels: Noise level of each element of `y`, where the noise follows the brightness.
    """

    sample: Sample
    y: Float[Tensor, "B C ..."]
    scale: Float[Tensor, " B"]
    offset: Float[Tensor, " B"]
    seen: Bool[Tensor, "B C ..."] | None = None
    sample_rate_hz: int | None = None
    sigma: float | Float[Tensor, " B"] | None = None
    stronger: float = 1.0
    remark: str = ""
    backdrop: Backdrop | None = None
    jpeg: JPEG | None = None
    levels: Float[Tensor, "B C ..."] | None = None

    @classmethod
    def of(cls, sample: Sample, prior: Prior, from_zero: bool = False) -> "FittedSample":
        """Convert a sample to the units of a prior.

        Pictures keep their values (grey ones in one channel); sound is resampled to the rate of the prior and scaled to
        the loudness of speech; everything else is scaled to the range of the prior.

        Args:
            sample: The sample.
            prior: The prior.
            from_zero: Keep zero at zero, for noise that depends on the brightness.

        Returns:
            The converted sample.

        Raises:
            UserError: The prior is for signals of another rank.
        """
        rank = sample.data.ndim - 1
        sliced = rank == 3 and prior.config.rank == 2
        if rank != prior.config.rank and not sliced:
            takes = f"{prior.config.modality} ({prior.config.rank} axes)"
            raise UserError(f"this model restores {takes}, not {sample.modality} ({rank} axes): choose another --model")
        data = sample.data if sample.data.dtype == torch.float64 else sample.data.float()
        kind = MODALITIES[sample.modality]
        if kind.pictured:
            colours = data.float()
            alpha = sample.extras.alpha if sample.extras is not None else None
            backdrop = None if alpha is None else Backdrop.of(colours, alpha)
            shown = colours if backdrop is None else backdrop.shown
            grey = bool((shown == shown[:1]).all())
            one = torch.ones(1)
            return cls(sample, shown[None, :1] if grey else shown[None], one, 0 * one, backdrop=backdrop)
        if kind.heard:
            return cls._of_sound(sample, prior)
        known = torch.isfinite(data)
        ranges = [range_of(channel[there], kind, from_zero) for channel, there in zip(data, known, strict=True)]
        low, high = prior.config.value_range
        begin, end = (torch.tensor([pair[i] for pair in ranges], dtype=torch.float64) for i in (0, 1))
        scale = (end - begin) / (high - low)
        offset = begin - low * scale
        if not bool((torch.isfinite(scale) & (scale > 0)).all()):
            raise UserError("its values span more than numbers of 64 bits can tell apart; scale them first")
        shift, spread = (number.view(-1, *[1] * rank).to(data.dtype) for number in (offset, scale))
        y = torch.where(known, (data - shift) / spread, (low + high) / 2).float()
        if sliced:
            y, known = y.flatten(0, 1), known.flatten(0, 1)
            scale, offset = (number.repeat_interleave(data.shape[1]) for number in (scale, offset))
        return cls(sample, y[:, None], scale, offset, None if bool(known.all()) else known[:, None])

    @classmethod
    def _of_sound(cls, sample: Sample, prior: Prior) -> "FittedSample":
        """Subtract the mean of each channel and scale to the loudness of speech, with one gain if modelled jointly."""
        own = sample.sample_rate_hz or 0
        offset = sample.data.mean(1).float()
        scale = torch.tensor([loudness(channel, own) / SPEECH or 1.0 for channel in sample.data])
        still = replace(sample, data=sample.data.float() - offset[:, None])
        heard = resample(still, prior.config.sample_rate_hz or own)
        if len(scale) > 1 and len(scale) == prior.config.channels:
            scale = scale.max().expand(len(scale))
            y = (heard.data / scale[:, None])[None]
        else:
            y = (heard.data / scale[:, None])[:, None]
        return cls(sample, y, scale, offset, sample_rate_hz=heard.sample_rate_hz)

    def with_noise_above(self, sigma: float | None) -> "FittedSample":
        """Add noise above the band of a sound whose sample rate is lower than that of the prior.

        White noise at the lower rate then is white at the higher rate, as in the training of the prior. The conversion
        back removes the added band. With `sigma` None the noise level is estimated. Other samples are returned
        unchanged.
        """
        own = self.sample.sample_rate_hz
        if own is None or self.sample_rate_hz is None or own >= self.sample_rate_hz:
            return self
        items = len(self.y)
        given = self.sample.data.float().view(items, -1, self.sample.data.shape[1])
        seen, own_scale = [], self.scale[:items].float()
        if sigma is None:
            seen = [noise_seen(item / scale) for item, scale in zip(given, own_scale, strict=True)]
        level = own_scale * torch.tensor([one.level for one in seen]) if seen else torch.full((items,), sigma)
        stronger = torch.as_tensor(self.level(level)).view(-1, 1, 1)
        length = self.y.shape[-1]
        noise = torch.randn(1, length, generator=torch.Generator().manual_seed(0))
        white = replace(self.sample, data=noise, sample_rate_hz=self.sample_rate_hz)
        below = resample(resample(white, own), self.sample_rate_hz).data
        below = functional.pad(below, (0, max(0, length - below.shape[1])))[:, :length]
        remark = "; ".join(lines_of(seen))
        return replace(self, y=self.y + stronger * (noise - below), sigma=level, remark=remark)

    def with_independent_noise(self, sigma: float | None) -> "FittedSample":
        """Decorrelate noise that is shared by the colour channels of a picture; other samples are returned unchanged.

        Without `sigma`, pictures whose noise is correlated between neighbours, or that have none, are unchanged too:
        see `noise_seen`.
        """
        if not MODALITIES[self.sample.modality].pictured or self.y.shape[1] == 1 or min(self.y.shape[2:]) < SMALLEST:
            return self
        judged = None if self.backdrop is None else self.backdrop.visible_square(self.y[0])
        if judged is not None and judged.shape[1] < SMALLEST:
            return self
        if sigma is None:
            seen = noise_seen(self.y[0], self.white_level) if judged is None else noise_seen(judged)
            if seen.line:
                return replace(self, sigma=seen.level, remark=seen.line)
        picture, level, stronger = independent_noise(self.y[0], sigma, torch.Generator().manual_seed(0), judged)
        if stronger == 1.0:
            return self if sigma is not None else replace(self, sigma=seen.level)
        return replace(self, y=picture[None], sigma=level, stronger=stronger)

    def with_level(self, sigma: float | None) -> "FittedSample":
        """Estimate the noise level of a picture, of a transparent one from its visible part; others unchanged.

        A level that is given or already estimated stays. It is 0 where no visible square is large enough.
        """
        if not MODALITIES[self.sample.modality].pictured or sigma is not None or self.sigma is not None:
            return self
        if self.backdrop is None:
            seen = noise_seen(self.y[0], self.white_level)
        else:
            square = self.backdrop.visible_square(self.y[0])
            if square.shape[1] < SMALLEST:
                return replace(self, sigma=0.0)
            seen = noise_seen(square)
        return replace(self, sigma=seen.level, remark=seen.line)

    def with_white_noise(self, sigma: float | None, prior: Prior) -> "FittedSample":
        """The sample with noise as a prior of white noise expects it, of level `sigma` or of the estimated one."""
        fitted = self.with_independent_noise(sigma) if prior.config.channels == self.y.shape[1] else self
        return fitted.with_noise_above(sigma).with_level(sigma)

    @cached_property
    def white_level(self) -> float:
        """Level of the noise of `y`, one picture, if it is white."""
        return float(estimate_noise(self.y))

    @property
    def as_it_is(self) -> bool:
        """Whether `y` holds the values of the sample themselves, at its own rate."""
        plain = bool((self.scale == 1).all()) and bool((self.offset == 0).all()) and self.seen is None
        return plain and self.sample_rate_hz in (None, self.sample.sample_rate_hz)

    def as_jpeg(self) -> "FittedSample":
        """A picture from a JPEG file whose rounding is all its noise, with the operator of its tables; others as is."""
        tables = getattr(self.sample.extras, "tables", None)
        if tables is None or not MODALITIES[self.sample.modality].pictured:
            return self
        jpeg = JPEG(tables)
        if jpeg.level < COARSE or not jpeg.explains(self.y) or min(self.y.shape[2:]) < SMALLEST:
            return self
        if self.white_level > jpeg.level / 2:
            return self
        line = (
            "restored as a JPEG: the errors of its rounding are reduced by what its quantization tables say; "
            "--sigma removes noise instead"
        )
        return replace(self, jpeg=jpeg, remark=line)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about noise that differs from the training of the prior, and about a frequency band left out."""
        lines = [self.remark] if self.remark else []
        if self.stronger != 1.0:
            lines.append("its colours share their noise, as in a JPEG; noise was added between them first")
        if animation := animation_of(self.sample):
            lines.append(f"holds {len(animation.durations_ms)} frames: the first is restored")
        own = self.sample.sample_rate_hz
        if own and self.sample_rate_hz and own > self.sample_rate_hz:
            half = f"{self.sample_rate_hz / 2:g} Hz"
            lines.append(f"restored up to {half}, the band of the model; what lies above {half} is left out")
        return tuple(lines)

    def level(self, sigma: float | Float[Tensor, " B"]) -> float | Float[Tensor, " B"]:
        """Convert a standard deviation from the units of the sample to those of `y`."""
        sigma = sigma * self.stronger
        if self.sample_rate_hz and self.sample.sample_rate_hz:
            sigma = sigma * (self.sample_rate_hz / self.sample.sample_rate_hz) ** 0.5
        if len(self.scale) == 1 and float(self.scale) == 1.0:
            return sigma
        return (sigma / self.scale[: len(self.y)]).float()

    def level_back(self, sigma: float | Tensor) -> float:
        """Convert a standard deviation, or the mean of several, from the units of `y` to those of the sample."""
        levels = torch.as_tensor(sigma, dtype=torch.float32).cpu() / self.stronger
        if self.sample_rate_hz and self.sample.sample_rate_hz:
            levels = levels * (self.sample.sample_rate_hz / self.sample_rate_hz) ** 0.5
        if levels.ndim <= 1 and levels.numel() in (1, len(self.y)):
            return float((levels.reshape(-1) * self.scale[: len(self.y)]).mean())
        return float(levels.mean() * self.scale.mean())

    def levels_back(self, sigma: float | Tensor) -> tuple[float, ...]:
        """As `level_back` for each channel of a sound or series; () where there is one channel, or one level."""
        levels = torch.as_tensor(sigma, dtype=torch.float32).cpu().reshape(-1)
        channels = len(self.sample.data)
        if MODALITIES[self.sample.modality].rank != 1 or not len(levels) == len(self.scale) == channels > 1:
            return ()
        rates = (self.sample.sample_rate_hz or 1, self.sample_rate_hz or 1)
        return tuple((levels / self.stronger * self.scale * (rates[0] / rates[1]) ** 0.5).tolist())

    def back(self, x: Float[Tensor, "B C ..."]) -> Sample:
        """Convert a result `[B, C, *size]`, at the size of `y` or enlarged, to a sample with the original metadata."""
        sample, kind = self.sample, MODALITIES[self.sample.modality]
        if kind.pictured:
            made = x[0].cpu().float().expand(len(sample.data), *x.shape[2:])
            if self.backdrop is not None:
                made = self.backdrop.removed(made, sample.extras.resized(*made.shape[1:]).alpha)
            return with_animation(replace(sample, data=made), None)
        dtype = torch.float64 if sample.data.dtype == torch.float64 else torch.float32
        made = x.cpu().to(dtype).flatten(0, 1)
        offset, scale = (number.view(-1, *[1] * (made.ndim - 1)).to(dtype) for number in (self.offset, self.scale))
        if not kind.heard:
            made = made * scale + offset
            if x.shape == self.y.shape:  # what did not change is what it was, to the last digit
                given = sample.data.reshape(made.shape)
                same = (x.cpu() == self.y.cpu()).flatten(0, 1) & given.isfinite()
                made = torch.where(same, given.to(dtype), made)
            return replace(
                sample, data=made if made.ndim == sample.data.ndim else made.unflatten(0, (len(sample.data), -1))
            )
        assert sample.sample_rate_hz is not None
        heard = replace(sample, data=(made * scale).float(), sample_rate_hz=self.sample_rate_hz)
        sound, length = resample(heard, sample.sample_rate_hz).data, sample.data.shape[1]
        sound = functional.pad(sound, (0, max(0, length - sound.shape[1])))[:, :length] + offset
        constant = (sample.data == sample.data[:, :1]).all(1, keepdim=True)  # silence, which nothing is to be added to
        return replace(sample, data=torch.where(constant, sample.data, sound))
