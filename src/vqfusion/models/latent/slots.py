"""Slots of a latent diffusion model, with the interface of a System."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor

from vqfusion.data.convert import as_samples
from vqfusion.diffusion.gaussian.walk import SampledSignal
from vqfusion.errors import UserError
from vqfusion.models.sampling import Distribution, Generated, Sampling
from vqfusion.types import Sample, Tokens

ROWS = 64  # batch size


class AskedBySlots:
    """Slot interface: the slot of the tokenizer is the target, and with classes the slot `label` a condition.

    A model over a bare VQ-VAE, which has no modality, has no slots.
    """

    codec: Any
    classes: tuple[str, ...]
    raw: Callable[[Tensor], Tensor]
    sample_latents: Callable[..., SampledSignal]

    @property
    def modality(self) -> str:
        """Modality of the samples."""
        return str(getattr(self.codec, "modality", "signals"))

    @property
    def slots(self) -> tuple[str, ...]:
        """Slots that can be given or generated."""
        if not hasattr(self.codec, "modality"):
            return ()
        return (self.modality, "label") if self.classes else (self.modality,)

    def labels(self, slot: str) -> list[str]:
        """Names of the classes."""
        return list(self.classes) if slot in self.slots[1:] else self._refuse()

    @torch.no_grad()
    def generate(
        self,
        given: Mapping[str, Sample | Sequence[Sample]],
        target: str,
        sampling: Sampling | None = None,
        known: object = None,
    ) -> Generated:
        """Generate samples as `System.generate` does; UserError for slots that the model lacks."""
        if target not in self.slots[:1] or known is not None or set(given) - set(self.slots[1:]):
            self._refuse()
        sampling = sampling or Sampling()
        started, names, k = time.perf_counter(), self.labels("label") if given else [], sampling.samples
        wanted = as_samples(given.get("label", Sample("label", None)), "label")
        items = [wanted] if isinstance(wanted, Sample) else list(wanted)
        seeds = [sampling.seed_of(i, n) for i in range(len(items)) for n in range(k)]
        labels = torch.tensor([names.index(item.data) for item in items for _ in range(k)]) if given else None
        made: list[Sample] = []
        nfe = 0
        for at in range(0, len(seeds), ROWS):
            part = slice(at, at + ROWS)
            drawn = self.sample_latents(
                seeds=seeds[part],
                labels=None if labels is None else labels[part],
                steps=sampling.steps,
                guidance_scale=sampling.guidance_scale,
            )
            codec, nfe = self.codec, drawn.nfe
            ids = codec.vqvae.quantizer(self.raw(drawn.signal)).indices
            made += [codec.decode(Tokens(one, codec.codebook_size, self.modality)) for one in ids]
        rows = [made[i * k : (i + 1) * k] for i in range(len(items))]
        return Generated(target, rows, nfe, time.perf_counter() - started)

    def warnings(self, given: Mapping[str, Sample | Sequence[Sample]]) -> tuple[str, ...]:
        """No warnings: unknown classes are rejected."""
        return ()

    @property
    def languages(self) -> tuple[str, ...]:
        """Raises UserError: the model has no texts."""
        return self._refuse()

    def distribution(self, given: Mapping[str, Sample | Sequence[Sample]], target: str) -> list[Distribution]:
        """Raises UserError: the model does not classify."""
        return self._refuse()

    def _refuse(self) -> NoReturn:
        from_label = " --given label=NAME" if self.classes else ""
        raise UserError(
            f"this model generates only the slot {self.modality!r}: "
            f"use it with `vqfusion any --target {self.modality}{from_label}`"
        )
