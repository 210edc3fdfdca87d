"""The task `inpaint`: fill in what a mask or the gaps of a signal leave open."""

from dataclasses import dataclass, replace
from functools import cached_property
from time import perf_counter
from typing import TYPE_CHECKING, ClassVar

from vqfusion.data.io import read
from vqfusion.errors import UserError
from vqfusion.modalities import MODALITIES, SIGNALS
from vqfusion.tasks.restoration import COVERAGE, Restoration
from vqfusion.tasks.task import Answer, Finding, option, task

if TYPE_CHECKING:
    from torch import Tensor

    from vqfusion.diffusion.operators import Operator
    from vqfusion.models.fusion.system import System
    from vqfusion.models.restoration.fitted import FittedSample
    from vqfusion.models.restoration.prior import Prior
    from vqfusion.models.sampling import Sampling
    from vqfusion.types import Sample


@task
@dataclass(frozen=True, kw_only=True)
class Inpaint(Restoration):
    """Fill in a part of a picture, or the gaps of a sound, volume or series."""

    name: ClassVar[str] = "inpaint"
    accepts: ClassVar[tuple[str, ...]] = SIGNALS
    gives: ClassVar[str] = "image"
    mask: str | None = option(
        None,
        "file of the same size, white, 1 or painted on a transparent layer where to fill in; volumes and series may "
        "hold NaN there instead",
        place="file",
    )

    def keeps(self, modality: str) -> bool:
        return True  # gaps are what is filled in

    def in_codes(self, system: "System", sample: "list[Sample]", sampling: "Sampling") -> Answer:
        if self.mask is None:
            raise UserError("inpaint needs --mask: a picture of the same size, white where to fill in")
        keep = self._unmarked(sample[0])[0]
        return self.generate(system, {}, "image", sampling, known=(sample, keep))

    def operator(self, fitted: "FittedSample") -> "Operator":
        from vqfusion.diffusion.operators import Mask

        seen = self._seen(fitted)
        level = fitted.level(self.level or 0.0)
        if not bool(seen.any()):
            raise UserError(f"{self.mask or 'the input'}: nothing is left to restore from; mask a part only")
        return Mask(seen, sigma=level)

    def restored(self, prior: "Prior", sample: "Sample", sampling: "Sampling") -> Answer:
        """Fill the gaps of a series from all its channels, see `fill_series`; everything else by the prior."""
        if not MODALITIES[sample.modality].by_channel or self.method != "auto" or self.level:
            return self._with_what_was_known(super().restored(prior, sample, sampling), prior, sample)
        if self.self_ensemble:
            raise UserError("--self-ensemble: the gaps of a series are filled in by itself, not by a prior alone")
        if self.read_out == "mean" and sampling.samples > 1:
            raise UserError("--samples: --mode mean has one result; choose --mode sample or interval")
        from vqfusion.models.restoration.gaps.series import fill_series

        start, fitted = perf_counter(), self.fitted(prior, sample)
        seen = self._seen(fitted).expand_as(fitted.y)[:, 0]
        there = seen.any(dim=1)
        if bool((~there & sample.data.isfinite().any(dim=1)).any()) or not bool(there.any()):
            raise UserError(f"{self.mask or 'the input'}: nothing is left of a channel to fill it in from")
        empty = [f"channel {i + 1} holds nothing and stays so" for i in (~there).nonzero().flatten().tolist()]
        banded, drawn = self.read_out == "interval", self.read_out == "sample"
        count = sampling.samples if drawn or sampling.samples > 1 else 0
        coverage = self.interval or COVERAGE
        made = fill_series(sample, seen, count, coverage, sampling.seed_of(0), prior)
        finding = Finding(
            sigma=0.0,
            coverage=coverage if banded else None,
            lower=made.lower if banded else None,
            upper=made.upper if banded else None,
            drawn=made.samples if banded else [],
            filled=~seen & there[:, None],
            warnings=(*sample.notes, *empty, *made.warnings),
        )
        results = made.samples if drawn else [made.mean]
        return Answer(self.name, sample.modality, samples=[results], findings=[finding], seconds=perf_counter() - start)

    def _with_what_was_known(self, answer: Answer, prior: "Prior", sample: "Sample") -> Answer:
        """Restore the values of a volume or series outside of its gaps, unless they are noisy.

        Channels without any value stay empty.
        """
        import torch

        if not MODALITIES[sample.modality].own_units or self.level:
            return answer
        seen = self._seen(self.fitted(prior, sample))[:, 0]
        empty = ~sample.data.isfinite().flatten(1).any(dim=1).view(-1, *[1] * (sample.data.ndim - 1))

        def known(made: "Sample | None") -> "Sample | None":
            if made is None:
                return None
            return replace(made, data=torch.where(seen | empty, sample.data, made.data))

        findings = [replace(one, lower=known(one.lower), upper=known(one.upper)) for one in answer.findings]
        samples = [[known(one) or one for one in item] for item in answer.samples]
        return replace(answer, samples=samples, findings=findings)

    def _seen(self, fitted: "FittedSample") -> "Tensor":
        """True where the sample is known, in the shape of `fitted.y`."""
        import torch

        sample, kind = fitted.sample, MODALITIES[fitted.sample.modality]
        seen = torch.ones_like(fitted.y, dtype=torch.bool) if fitted.seen is None else fitted.seen
        if self.mask is None:
            if bool(seen.all()):
                gaps = ", or leave gaps in it (NaN, empty cells)" if kind.own_units else ""
                need = f"{kind.noun} of the same size, white or 1 where to fill in{gaps}"
                raise UserError(f"inpaint needs --mask: {need}")
            return seen
        keep = self._unmarked(sample)
        if kind.heard and fitted.y.shape[-1] != keep.shape[-1]:  # at the rate of the prior
            places = torch.arange(fitted.y.shape[-1]) * keep.shape[-1] // fitted.y.shape[-1]
            keep = keep[:, places]
        return seen & (keep[:, None] if keep.shape == sample.data.shape and not kind.pictured else keep)

    def _unmarked(self, sample: "Sample") -> "Tensor":
        """True where the mask keeps the sample, `[1 or C, *size]`; UserError where sizes differ."""
        assert self.mask is not None
        kind = MODALITIES[sample.modality]
        if kind.pictured:
            keep = ~self._picture_mask[0][None]
        else:
            if kind.name not in self._other_masks:
                self._other_masks[kind.name] = read(self.mask, None if kind.heard else kind.name).data
            filled = self._other_masks[kind.name]
            keep = filled < 0.5
        size = sample.data.shape if len(keep) > 1 else (1, *sample.data.shape[1:])
        if keep.shape != size:
            mask, wanted = (" x ".join(map(str, shape[1:])) for shape in (keep.shape, sample.data.shape))
            raise UserError(f"{self.mask}: the mask measures {mask} and the input {wanted}; give one of the same size")
        return keep.expand(sample.data.shape) if kind.by_channel else keep

    @cached_property
    def _picture_mask(self) -> "tuple[Tensor, tuple[str, ...]]":
        from vqfusion.data.io.mask import read_picture_mask

        assert self.mask is not None
        return read_picture_mask(self.mask)

    @cached_property
    def _other_masks(self) -> "dict[str, Tensor]":
        """Content of the mask file by the modality it was read as, so that it is read once."""
        return {}

    def warnings(self, prior: "Prior", sample: "Sample") -> tuple[str, ...]:
        lines = self._picture_mask[1] if self.mask and MODALITIES[sample.modality].pictured else ()
        return (*super().warnings(prior, sample), *lines)

    def fitted(self, prior: "Prior", sample: "Sample") -> "FittedSample":
        """Interpolate a sound under its mask first, so that the masked part affects neither level nor edges."""
        if not MODALITIES[sample.modality].heard or self.mask is None:
            return super().fitted(prior, sample)
        import numpy as np
        import torch

        keep = self._unmarked(sample).expand(sample.data.shape).numpy()
        places = np.arange(keep.shape[1])
        if not keep.any(1).all():
            raise UserError(f"{self.mask}: nothing is left to restore from; mask a part only")
        channels = zip(keep, sample.data.numpy(), strict=True)
        bridged = [np.interp(places, places[there], channel[there]) for there, channel in channels]
        fitted = super().fitted(prior, replace(sample, data=torch.from_numpy(np.stack(bridged)).to(sample.data)))
        return replace(fitted, sample=sample)

    def finished(self, made: "Sample", given: "Sample") -> "Sample":
        """Keep pictures and sounds without noise unchanged outside of the mask, to the last bit."""
        import torch

        if self.level or MODALITIES[given.modality].own_units:
            return made
        return replace(made, data=torch.where(self._unmarked(given), given.data, made.data.to(given.data)))
