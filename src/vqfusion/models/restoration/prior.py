"""A prior over signals of one modality: one denoising network for all noise levels, known or unknown."""

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from vqfusion.config import PriorConfig
from vqfusion.diffusion.gaussian.path import GaussianPath, scale
from vqfusion.diffusion.gaussian.schedules import EDMSchedule
from vqfusion.diffusion.posterior.question import Levels
from vqfusion.errors import UserError
from vqfusion.modalities import MODALITIES
from vqfusion.nn.blind_spot import WINDOW, blinded, corners, interleaved, separated, spots, widened
from vqfusion.nn.blocks import cropped
from vqfusion.nn.pretrained import Pretrained, Stored
from vqfusion.nn.restoration import FILL_REACH, RestorationNet, filled
from vqfusion.types import Prediction, Sample

MOST = 10.0  # ratio of squared error to the expected one above which an item has less weight
UNIT = 0.03  # scales the loss to about 1 for the expected error at a noise level of 0.1


class NoisyBatch(NamedTuple):
    """A training batch of a prior; all tensors are `[B, C, *size]`.

    Attributes:
        clean: Clean data.
        noisy: Noisy data.
        level: Noise levels that the network receives: 0 is unknown, inf a missing value.
        remains: Squared error to be expected, relative to which errors count.
    """

    clean: Float[Tensor, "B C ..."]
    noisy: Float[Tensor, "B C ..."]
    level: Float[Tensor, "B C ..."]
    remains: Float[Tensor, "B C ..."]

    @property
    def items(self) -> int:
        """Number of signals."""
        return len(self.clean)

    def to(self, device: torch.device) -> "NoisyBatch":
        """The batch on another device."""
        return NoisyBatch(*(tensor.to(device) for tensor in self))


class Prior(nn.Module, Pretrained):
    """Denoiser E[data | data + sigma noise] for signals of one modality, of any size.

    Values and noise levels are in the units of the samples: pictures in [0, 1], noise such as 25 / 255. By Tweedie's
    formula the posterior mean also gives the score, so that the same network denoises and serves as the denoiser of
    every sampler of `vqfusion.diffusion` (`as_denoiser`).
    """

    kind = "prior"
    config_type = PriorConfig
    weights = "prior.safetensors"

    def __init__(self, config: PriorConfig):
        super().__init__()
        self.config = config
        self.network = RestorationNet(
            config.rank, config.channels, config.widths, config.depths, config.fold, config.leak
        )

    @property
    def learned(self) -> tuple[str, ...]:
        """What it learned besides white noise of one level."""
        return self.config.learned

    @property
    def sigma_range(self) -> tuple[float, float]:
        """Smallest and largest noise level that it was trained for."""
        return self.config.sigma_range

    @property
    def receptive_radius(self) -> int:
        """Radius of the receptive field in positions; see `RestorationNet`."""
        radius, noise = self.network.receptive_radius, self.config.noise
        if noise is None:
            return radius + (FILL_REACH if "holes" in self.config.learned else 0)
        if noise.method == "blind_spot":
            radius += WINDOW[self.config.rank] + 2 * max(noise.reach)
        return radius * max(noise.stride)

    @property
    def multiple(self) -> int:
        """Tiles that start at multiples of this, with margins of `receptive_radius`, give the result of the whole."""
        multiple, noise = self.network.multiple, self.config.noise
        if noise is None:
            return multiple
        cells = noise.cell if noise.method == "blind_spot" else ()
        return math.lcm(multiple, *cells) * math.lcm(*noise.stride)

    @property
    def told(self) -> bool:
        """Whether it uses a noise level; priors that learned from one noise without knowing its level do not."""
        return self.config.noise is None or self.config.noise.method == "recorrupted"

    @property
    def path(self) -> GaussianPath:
        """Variance-exploding path over the noise levels of this prior."""
        least, most = self.sigma_range
        return GaussianPath(EDMSchedule(sigma_min=least, sigma_max=most))

    @property
    def device(self) -> torch.device:
        """Device of the network."""
        return next(self.parameters()).device

    def denoise(self, x: Float[Tensor, "B C ..."], sigma: Levels | None = None) -> Float[Tensor, "B C ..."]:
        """Posterior mean given x = data + sigma * noise; differentiable.

        Args:
            x: Noisy data `[B, C, *size]` of any size; padded inside by reflection to multiples of `multiple`.
            sigma: Noise level in the units of the data: one, one for each item `[B]`, or a map `[B, 1 or C, *size]`;
                None denoises blindly. Levels below the range are raised to its lower end. Where it is inf, the value of
                x is missing: its content (also NaN) is ignored and it is estimated from its surroundings.

        Returns:
            The denoised data.

        Raises:
            ValueError: Channels or rank are not those of the prior.
        """
        config = self.config
        if x.ndim != config.rank + 2 or x.shape[1] != config.channels:
            raise ValueError(
                f"this prior takes [B, {config.channels}, {config.rank} axes], {config.modality}; "
                f"not {tuple(x.shape)}: give data of that kind or load another prior"
            )
        levels = torch.zeros(len(x), device=x.device)  # 0 means unknown
        if sigma is not None:
            levels = torch.as_tensor(sigma, dtype=torch.float32, device=x.device)
            levels = (levels if levels.ndim else levels.expand(len(x))).clamp(min=config.sigma_range[0])
        if not self.told:
            levels = torch.zeros(len(x), device=x.device)
        size, whole = x.shape[2:], reflect_to_multiple(x.float(), self.multiple)
        if levels.ndim > 1:
            levels = reflect_to_multiple(levels.expand(len(x), -1, *size), self.multiple)
        return cropped(self._whole(whole, levels), size).to(x.dtype)

    def _whole(self, x: Float[Tensor, "B C ..."], levels: Tensor) -> Float[Tensor, "B C ..."]:
        """Denoise signals whose axes are multiples of `multiple`, in the way that the prior was trained in."""
        noise = self.config.noise
        if noise is None:
            return self._clean(x, levels)
        parts = separated(x, noise.stride)
        own = separated(levels, noise.stride) if levels.ndim > 1 else levels.repeat(len(parts) // len(x))
        return interleaved(self.of_part(parts, own), noise.stride)

    def of_part(self, x: Float[Tensor, "B C ..."], levels: Float[Tensor, "..."]) -> Float[Tensor, "B C ..."]:
        """Denoise signals of every `stride`-th element, whose axes are multiples of the network's."""
        noise = self.config.noise
        if noise is not None and noise.method == "blind_spot":
            return self.without_themselves(x)
        return self._clean(x, levels if self.told else torch.zeros_like(levels))

    def without_themselves(self, x: Float[Tensor, "B C ..."]) -> Float[Tensor, "B C ..."]:
        """Estimate every element from the others, in one pass for each element of a cell of blind spots."""
        noise, size = self.config.noise, x.shape[2:]
        assert noise is not None
        made = torch.empty_like(x)
        for corner in corners(noise.cell):
            chosen = spots(size, noise.cell, corner)
            made[:, :, chosen] = self.at_blind_spots(x, chosen)[:, :, chosen]
        return made

    def at_blind_spots(self, x: Float[Tensor, "B C ..."], chosen: Bool[Tensor, "..."]) -> Float[Tensor, "B C ..."]:
        """Estimates that do not depend on the elements `chosen` `[*size]`, nor on those that share their noise."""
        assert self.config.noise is not None
        hidden = widened(chosen, self.config.noise.reach)
        levels = torch.zeros(len(x), 1, *x.shape[2:], device=x.device)
        levels[:, :, hidden] = self.config.sigma_range[1]
        return self._clean(blinded(x, hidden), levels)

    def _clean(self, x: Float[Tensor, "B C ..."], levels: Tensor) -> Float[Tensor, "B C ..."]:
        """Denoise with levels as the network takes them, and inf for missing values.

        A missing value is initialised by the mean of its surroundings and gets the highest level of the range.
        """
        middle = sum(self.config.value_range) / 2
        x = x - middle
        if levels.ndim > 1 and bool((lost := levels.isinf()).any()):
            x, levels = filled(x, lost.expand_as(x)), levels.masked_fill(lost, self.config.sigma_range[1])
        return x - self.network(x, levels).float() + middle

    def forward(self, x: Float[Tensor, "B C ..."], sigma: Levels | None = None) -> Tensor:
        """Same as `denoise`."""
        return self.denoise(x, sigma)

    def as_denoiser(self, path: GaussianPath) -> "PriorDenoiser":
        """The prior as denoiser of a path, for the samplers of `vqfusion.diffusion`."""
        return PriorDenoiser(self, path)

    def answer(self, batch: NoisyBatch) -> Float[Tensor, "B C ..."]:
        """Estimate of the clean data of a batch, for sizes that are multiples of `multiple`."""
        return self._clean(batch.noisy, batch.level)

    def loss(self, batch: NoisyBatch) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Squared errors relative to the square root of the expected ones, and the PSNR for a peak of 1.

        Errors at all levels then have gradients of equal size. Relative to the expected errors themselves, nearly clean
        data would dominate, and the coarse levels of the network would not be trained (docs/zoo/priors.md). The weight
        of an item whose error exceeds `MOST` times the expected one is reduced, so that one unusual item does not
        dominate a batch.
        """
        errors = (self.answer(batch) - batch.clean).square()
        times = (errors.detach() / batch.remains).flatten(1).mean(dim=1)
        weighed = (errors / batch.remains.sqrt()).flatten(1).mean(dim=1) / UNIT
        loss = (weighed * (MOST / times.clamp(min=MOST))).mean()
        decibels = -10 * errors.detach().flatten(1).mean(dim=1).clamp(min=1e-12).log10()
        blind = batch.level.flatten(1).amax(dim=1) == 0
        return loss, {"psnr": decibels.mean(), "psnr_blind": _mean_where(decibels, blind)}

    def check(self, sample: Sample) -> None:
        """Raise UserError where a sample is not of the kind that the prior was trained on."""
        config, channels = self.config, None
        if sample.modality == config.modality and isinstance(sample.data, Tensor):
            channels = sample.data.shape[0]
        if sample.modality != config.modality:
            raise UserError(f"this prior knows {config.modality}, not {sample.modality}; load one that does")
        if not MODALITIES[config.modality].pictured and channels != config.channels:
            raise UserError(f"this prior takes {config.channels} channels, not {channels}")
        if config.sample_rate_hz and sample.sample_rate_hz not in (None, config.sample_rate_hz):
            raise UserError(
                f"this prior takes sound at {config.sample_rate_hz} Hz, not {sample.sample_rate_hz}; resample it first"
            )

    @classmethod
    def read_parts(cls, stored: Stored, device: torch.device) -> Any:
        return super().read_parts(stored, device).requires_grad_(False)


class PriorDenoiser:
    """Denoiser of a path from a prior: x_t / alpha is the data plus noise of sigma / alpha."""

    def __init__(self, prior: Prior, path: GaussianPath):
        self.prior, self.path = prior, path

    def __call__(self, x_t: Float[Tensor, "B ..."], t: Float[Tensor, " B"], given: Any = None) -> Prediction:
        alpha = self.path.alpha(t)
        return Prediction(self.prior.denoise(scale(x_t, 1 / alpha), self.path.sigma(t) / alpha), "x0")


def reflect_to_multiple(x: Float[Tensor, "B C ..."], multiple: int) -> Float[Tensor, "B C ..."]:
    """Pad every axis at its end to the next multiple by reflection, or by its edge where it is too short."""
    for axis in range(2, x.ndim):
        missing = -x.shape[axis] % multiple
        if missing:
            mode = "reflect" if missing < x.shape[axis] else "replicate"
            pads = [0] * (2 * (x.ndim - 1 - axis)) + [0, missing]
            pads += [0] * (2 * (x.ndim - 2) - len(pads))
            x = F.pad(x, pads, mode=mode)
    return x


def _mean_where(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of the values where the mask is True; of all where it never is."""
    return values[mask].mean() if bool(mask.any()) else values.mean()
