"""A prior over signals of one kind: one denoising network, for every noise level, told or not."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from vqfusion.config import PriorConfig
from vqfusion.diffusion.gaussian.path import GaussianPath, scale
from vqfusion.diffusion.gaussian.schedules import EDMSchedule
from vqfusion.errors import UserError
from vqfusion.modalities import MODALITIES
from vqfusion.nn.pretrained import Pretrained, Stored
from vqfusion.nn.restoration import RestorationNet
from vqfusion.types import Prediction, Sample


class NoisyBatch(NamedTuple):
    """What a prior learns from: clean data `[B, C, *S]`, unit noise, noise levels, and which of them it is told."""

    clean: Float[Tensor, "B C ..."]
    noise: Float[Tensor, "B C ..."]
    sigma: Float[Tensor, " B"]
    told: Bool[Tensor, " B"]

    @property
    def items(self) -> int:
        """Number of signals."""
        return len(self.clean)

    def to(self, device: torch.device) -> "NoisyBatch":
        return NoisyBatch(*(tensor.to(device) for tensor in self))


class Prior(nn.Module, Pretrained):
    """E[data | data + sigma noise] for signals of one modality, of any size.

    Values and noise levels are in the units of the samples: pictures in [0, 1], noise of 25 / 255. The posterior
    mean is, by Tweedie's formula, also the score, so the same network denoises and drives every sampler of
    `vqfusion.diffusion` through `as_denoiser`.
    """

    kind = "prior"
    config_type = PriorConfig
    weights = "prior.safetensors"

    def __init__(self, config: PriorConfig, error_slope: float = 0.011):
        super().__init__()
        self.config, self.error_slope = config, error_slope
        self.network = RestorationNet(config.rank, config.channels, config.widths, config.depths, config.fold)

    @property
    def sigma_range(self) -> tuple[float, float]:
        """The smallest and the largest noise level that it was trained for."""
        return self.config.sigma_range

    @property
    def receptive_radius(self) -> int:
        """Positions to each side that a denoised value depends on, exactly; see `RestorationNet`."""
        return self.network.receptive_radius

    @property
    def multiple(self) -> int:
        """Tiles that begin at multiples of this, with margins of `receptive_radius`, give what the whole gives."""
        return self.network.multiple

    @property
    def path(self) -> GaussianPath:
        """The variance-exploding path over the noise levels of this prior."""
        least, most = self.sigma_range
        return GaussianPath(EDMSchedule(sigma_min=least, sigma_max=most))

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def denoise(
        self, x: Float[Tensor, "B C ..."], sigma: float | Float[Tensor, " B"] | None = None
    ) -> Float[Tensor, "B C ..."]:
        """The posterior mean given x = data + sigma * noise; None lets the network see the level by itself.

        Differentiable. Sizes that are no multiple of `multiple` are extended by reflection inside. A level below
        the range is taken as its lower end. Raises ValueError where channels or rank are not those of the prior.
        """
        config = self.config
        if x.ndim != config.rank + 2 or x.shape[1] != config.channels:
            raise ValueError(
                f"this prior takes [B, {config.channels}, {config.rank} axes], {config.modality}; "
                f"not {tuple(x.shape)}: give data of that kind or load another prior"
            )
        levels = torch.zeros(len(x), device=x.device)  # zero: not told
        if sigma is not None:
            levels = torch.as_tensor(sigma, dtype=torch.float32, device=x.device).expand(len(x))
            levels = levels.clamp(min=config.sigma_range[0])
        size, middle = x.shape[2:], sum(config.value_range) / 2
        inside = reflect_to_multiple(x.float() - middle, self.multiple)
        noise = self.network(inside, levels)[(..., *(slice(n) for n in size))]
        return (x.float() - noise.float()).to(x.dtype)

    def forward(self, x: Float[Tensor, "B C ..."], sigma: float | Float[Tensor, " B"] | None = None) -> Tensor:
        """`denoise`."""
        return self.denoise(x, sigma)

    def as_denoiser(self, path: GaussianPath) -> "PriorDenoiser":
        """The prior in the terms of a path, for the samplers of `vqfusion.diffusion`."""
        return PriorDenoiser(self, path)

    def loss(self, batch: NoisyBatch) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Squared errors, each relative to what about remains at its noise level, and the PSNR for unit peak."""
        noisy = batch.clean + scale(batch.noise, batch.sigma)
        middle = sum(self.config.value_range) / 2
        noise = self.network(noisy - middle, batch.sigma * batch.told)
        errors = (noisy - noise.float() - batch.clean).square().flatten(1).mean(dim=1)
        sigma = batch.sigma.to(errors.dtype)
        relative = errors * (1 / sigma.square() + 1 / (self.error_slope * sigma))
        decibels = -10 * errors.detach().clamp(min=1e-12).log10()
        return relative.mean(), {"psnr": decibels.mean(), "psnr_blind": _mean_where(decibels, ~batch.told)}

    def check(self, sample: Sample) -> None:
        """UserError where a sample is not of the kind that the prior was trained on."""
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
    """A prior as the `Denoiser` of a path: x_t / alpha is the data plus noise of sigma / alpha."""

    def __init__(self, prior: Prior, path: GaussianPath):
        self.prior, self.path = prior, path

    def __call__(self, x_t: Float[Tensor, "B ..."], t: Float[Tensor, " B"], given: Any = None) -> Prediction:
        alpha = self.path.alpha(t)
        return Prediction(self.prior.denoise(scale(x_t, 1 / alpha), self.path.sigma(t) / alpha), "x0")


def reflect_to_multiple(x: Float[Tensor, "B C ..."], multiple: int) -> Float[Tensor, "B C ..."]:
    """Every axis to the next multiple, mirrored at its far end; an axis too short for that repeats its edge."""
    for axis in range(2, x.ndim):
        missing = -x.shape[axis] % multiple
        if missing:
            mode = "reflect" if missing < x.shape[axis] else "replicate"
            pads = [0] * (2 * (x.ndim - 1 - axis)) + [0, missing]
            pads += [0] * (2 * (x.ndim - 2) - len(pads))
            x = F.pad(x, pads, mode=mode)
    return x


def _mean_where(values: Tensor, mask: Tensor) -> Tensor:
    """The mean of some values; of all where there are none."""
    return values[mask].mean() if bool(mask.any()) else values.mean()
