"""Common part of all restoration tasks.

With a prior, the task is a measurement operator, and the result has the units of the signal and error bars. With a
model over codes, the damaged view is given and the clean view is the target. The model decides which of them is used.
"""

import math
from abc import abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar

from vqfusion.errors import UserError
from vqfusion.modalities import MODALITIES
from vqfusion.tasks.frames import frame_by_frame
from vqfusion.tasks.task import ONE, Answer, Finding, Task, as_list, option, together
from vqfusion.watch import told

if TYPE_CHECKING:
    from torch import Tensor

    from vqfusion.diffusion.operators import Operator
    from vqfusion.models.fusion.system import System
    from vqfusion.models.restoration.fitted import FittedSample
    from vqfusion.models.restoration.prior import Prior
    from vqfusion.models.sampling import Sampling
    from vqfusion.tasks.task import Samples
    from vqfusion.types import Sample

MODES = ("mean", "sample", "interval")
METHODS = ("auto", "ddnm", "ddrm", "diffpir", "dps")
COVERAGE, INTERVAL_SAMPLES = 0.9, 16


@dataclass(frozen=True, kw_only=True)
class Restoration(Task):
    """Base of all restoration tasks."""

    way: ClassVar[str] = "restoration"
    kinds: ClassVar[tuple[str, ...]] = ("prior", "system")

    mode: str | None = option(None, "mean (nearest, the default), sample (realistic) or interval (error bars)")
    interval: float | None = option(None, "error bars: the share of true values that they hold, such as 0.9")
    method: str = option("auto", f"how samples are drawn: {', '.join(METHODS)}")
    sigma: str | float | None = option(
        None,
        "standard deviation of the noise in the units of the input, such as 25/255 for pictures, of full scale 1 for "
        "sound; default: estimated by denoise and enhance, none for upscale and inpaint",
    )
    self_ensemble: bool = option(False, "mean over mirrored copies: 8 times the time (sound: 2), a little nearer")
    report: str | None = option(
        None, "folder for a page with before, after, difference and uncertainty", place="written"
    )

    def __post_init__(self) -> None:
        if self.mode not in (None, *MODES):
            raise UserError(f"--mode {self.mode!r} is not one of {', '.join(MODES)}")
        if self.method not in METHODS:
            raise UserError(f"--method {self.method!r} is not one of {', '.join(METHODS)}")
        if self.interval is not None and not 0 < self.interval < 1:
            raise UserError(f"--interval is {self.interval:g}; give a share between 0 and 1, such as 0.9")
        if self.interval is not None and self.mode not in (None, "interval"):
            raise UserError(f"--interval needs --mode interval, not {self.mode}")
        if self.self_ensemble and self.read_out == "interval":
            raise UserError("--self-ensemble: intervals are calibrated for the answer without it; leave one out")
        _ = self.level  # raises before any work where it is not a number

    def keeps(self, modality: str) -> bool:
        return not MODALITIES[modality].own_units

    @property
    def read_out(self) -> str:
        """The mode: as requested, else "interval" where a coverage is given, else "mean"."""
        return self.mode or ("mean" if self.interval is None else "interval")

    @cached_property
    def level(self) -> float | None:
        """`sigma` as a number; None where it is not given."""
        return parse_level(self.sigma)

    def __call__(self, system: "System | Prior", sample: "Samples", sampling: "Sampling" = ONE) -> Answer:
        from vqfusion.data.io.animation import animation_of

        model: Any = system
        if model.kind == "prior":
            given = as_list(sample)

            def whole(i: int) -> Answer:
                return frame_by_frame(given[i], lambda one: self.restored(model, one, sampling.of_item(i)))

            return together([whole(i) for i in told(range(len(given)))])
        asked = [flag for flag, is_asked in self.beyond_codes.items() if is_asked]
        if asked:
            raise UserError(
                f"{asked[0]}: model {model.config.name!r} works on codes and cannot do this; choose a prior by --model"
            )
        given = as_list(sample)
        answer = self.in_codes(model, [over_white(one) for one in given], sampling)
        moving = [animation for one in given if (animation := animation_of(one))]
        lost = ("codes hold no further frames: the first is taken, the others are left out",) if moving else ()
        clear = any(MODALITIES[one.modality].pictured and one.extras and one.extras.alpha is not None for one in given)
        line = ("codes hold no transparency: the picture was put on white",) if clear else ()
        return replace(answer, warnings=(*answer.warnings, *line, *lost))

    @property
    def beyond_codes(self) -> dict[str, bool]:
        """Options that need a prior, and whether they are used."""
        return {
            f"--mode {self.read_out}": self.mode in ("mean", "interval") or self.interval is not None,
            "--method": self.method != "auto",
            "--self-ensemble": self.self_ensemble,
            "--sigma": self.sigma is not None,
        }

    @abstractmethod
    def in_codes(self, system: "System", sample: "list[Sample]", sampling: "Sampling") -> Answer:
        """Restore with a model over codes."""

    def clean_view(self, system: "System", sample: "list[Sample]", view: str, sampling: "Sampling") -> Answer:
        """Samples of the clean view given `modality@view`; sounds channel by channel, with length and loudness kept."""
        modality = sample[0].modality
        slot = f"{modality}@{view}"
        if not MODALITIES[modality].heard:
            return self.generate(system, {slot: sample}, modality, sampling)
        channels = [channel for one in sample for channel in channels_of(one)]
        answer = self.generate(system, {slot: channels}, modality, sampling)
        made = iter(zip(channels, answer.samples, strict=True))
        return replace(answer, samples=[joined(one, [next(made) for _ in one.data]) for one in sample])

    @abstractmethod
    def operator(self, fitted: "FittedSample") -> "Operator":
        """Measurement operator of the task, in the units of the prior."""

    def fitted(self, prior: "Prior", sample: "Sample") -> "FittedSample":
        """The sample in the units of the prior."""
        from vqfusion.models.restoration.fitted import FittedSample

        return FittedSample.of(sample, prior)

    def seen(self, fitted: "FittedSample") -> "tuple[dict[str, Any] | None, tuple[str, ...]]":
        """What is told about the input before it is restored: values by name, and lines."""
        return None, ()

    def warnings(self, prior: "Prior", sample: "Sample") -> tuple[str, ...]:
        """Warnings for the user; one where the prior was trained for another modality."""
        known = prior.config.modality
        return () if known == sample.modality else (f"restored by a prior of {known}, not of {sample.modality}",)

    def used_level(self, fitted: "FittedSample", operator: "Operator", sigma: "float | Tensor") -> float:
        """Noise level that was used, in the units of the sample; `sigma` is the one that `restore` reports."""
        return fitted.level_back(sigma)

    def finished(self, made: "Sample", given: "Sample") -> "Sample":
        """The restored sample with its metadata and known values put back."""
        return made

    def restored(self, prior: "Prior", sample: "Sample", sampling: "Sampling") -> Answer:
        """Restore one sample with a prior."""
        from vqfusion.diffusion.noise import seeded
        from vqfusion.models.restoration.any_size import AnySizePrior
        from vqfusion.models.restoration.restoring import restore
        from vqfusion.models.restoration.shipped_intervals import shipped_intervals

        start, mode = perf_counter(), self.read_out
        self._check_knowledge(prior)
        if MODALITIES[sample.modality].pictured and (self.level or 0) > 1:
            raise UserError(f"--sigma {self.sigma} exceeds the values of a picture, 0 to 1; use {self.sigma}/255?")
        if mode == "mean" and sampling.samples > 1:
            raise UserError("--samples: --mode mean has one result; choose --mode sample or interval")
        draws = INTERVAL_SAMPLES if mode == "interval" and sampling.samples == 1 else sampling.samples
        fitted = self.fitted(prior, sample)
        operator = self.operator(fitted)
        generators = seeded(sampling.seed_of(0), len(fitted.y))
        coverage, channels = self.interval or COVERAGE, fitted.y.shape[1]
        shipped = shipped_intervals(prior, operator, coverage) if mode == "interval" else None
        group = shipped.group(channels) if shipped else "all"
        made = restore(
            AnySizePrior(prior, channels),
            fitted.y.to(prior.device),
            operator,
            mode=mode,
            samples=draws,
            steps=sampling.steps,
            method=self.method,
            generator=generators,
            coverage=coverage,
            calibration=shipped.calibration if shipped else None,
            group=group,
            self_ensemble=self.self_ensemble,
        )

        def whole(x: "Tensor") -> "Sample":
            return self.finished(fitted.back(operator.under(x)), sample)

        seen, explained = self.seen(fitted)
        found = Finding(
            seen=seen,
            explained=explained,
            sigma=self.used_level(fitted, operator, made.sigma),
            sigmas=fitted.levels_back(made.sigma),
            coverage=coverage if mode == "interval" else None,
            measured=shipped.measured.get(group) if shipped and bool(made.sigma.any()) else None,
            measured_on=shipped.measured_on if shipped else "",
            lower=None if made.lower is None else whole(made.lower),
            upper=None if made.upper is None else whole(made.upper),
            warnings=(*sample.notes, *self.warnings(prior, sample), *fitted.warnings, *made.warnings),
        )
        results = made.samples.unbind(1) if mode == "sample" and made.samples is not None else (made.mean,)
        return Answer(
            self.name,
            sample.modality,
            samples=[[whole(one) for one in results]],
            findings=[found],
            nfe=made.nfe,
            seconds=perf_counter() - start,
        )

    def _check_knowledge(self, prior: "Prior") -> None:
        """UserError where a prior that learned without noise levels is asked for more than its estimate."""
        if not prior.told and (self.read_out == "sample" or self.name not in ("denoise", "enhance")):
            noise = prior.config.noise
            assert noise is not None
            raise UserError(
                f"this prior learned from noisy data by the method {noise.method}, without noise levels: it denoises, "
                "with --mode mean or --interval, and does nothing else"
            )


def prior_for(modality: str, plane: bool = False) -> str | None:
    """Name of the shipped prior for a modality, or for one plane of it; None where there is none."""
    row = MODALITIES[modality]
    return row.plane_prior if plane and row.plane_prior else row.prior


def parse_level(given: str | float | None) -> float | None:
    """Number from `25/255` or `0.1`, as text or number; UserError where it is not one, negative or not finite."""
    if given is None:
        return None
    text = str(given)
    try:
        level = float(given) if isinstance(given, (int, float)) else _quotient(text)
    except (ValueError, ZeroDivisionError, OverflowError):
        raise UserError(f"--sigma {text[:40]!r} is not a number; give one such as 25/255 or 0.1") from None
    if level < 0 or not math.isfinite(level):
        raise UserError(f"--sigma is {text[:40]}; give a standard deviation of 0 or more, such as 25/255")
    return level


def _quotient(text: str) -> float:
    """`0.1`, or `25/255`, as a number; ValueError or ZeroDivisionError where it is none."""
    above, stroke, below = text.partition("/")
    return float(above) / float(below) if stroke else float(above)


def over_white(sample: "Sample") -> "Sample":
    """A picture composited over white where it is transparent; other samples unchanged."""
    if not MODALITIES[sample.modality].pictured or sample.extras is None:
        return sample
    alpha = sample.extras.alpha
    if alpha is None:
        return replace(sample, extras=None)
    return replace(sample, data=sample.data * alpha + (1 - alpha), extras=None)


def channels_of(sound: "Sample") -> "list[Sample]":
    """The channels of a sound as separate sounds."""
    return [replace(sound, data=channel[None].float(), extras=None) for channel in sound.data]


def joined(given: "Sample", channels: "list[tuple[Sample, list[Sample]]]") -> "list[Sample]":
    """Sounds with several channels from the results `[channel][k]`, at the length and loudness of the input."""
    import torch

    answers = [[as_long_as(one, as_loud_as(one, made)) for made in answers] for one, answers in channels]
    sounds = zip(*answers, strict=True)
    return [replace(sound[0], data=torch.cat([one.data for one in sound]), extras=given.extras) for sound in sounds]


def as_loud_as(model: "Sample", sound: "Sample") -> "Sample":
    """Scale a result back to the loudness of `model`, which was amplified to be audible; silence stays silent."""
    from vqfusion.data.loudness import gain_to_be_heard

    assert model.sample_rate_hz
    silent = not bool(model.data.any())
    return replace(
        sound, data=sound.data * (0 if silent else 1 / gain_to_be_heard(model.data[0], model.sample_rate_hz))
    )


def as_long_as(model: "Sample", sound: "Sample") -> "Sample":
    """Cut a sound, or pad it with silence, to the duration of `model`."""
    from torch.nn.functional import pad

    assert model.sample_rate_hz and sound.sample_rate_hz
    length = max(1, round(model.data.shape[1] * sound.sample_rate_hz / model.sample_rate_hz))
    return replace(sound, data=pad(sound.data, (0, length - sound.data.shape[1])))
