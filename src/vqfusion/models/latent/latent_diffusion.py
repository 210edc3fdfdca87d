"""LatentDiffusion: diffusion in the latent space of a frozen tokenizer."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vqfusion.config import LatentDiffusionConfig, VQVAEConfig
from vqfusion.diffusion.gaussian.denoiser import NetworkDenoiser, denoising_loss
from vqfusion.diffusion.gaussian.flow import make_path
from vqfusion.diffusion.gaussian.guidance import ALWAYS, classifier_free_guidance
from vqfusion.diffusion.gaussian.path import GaussianPath
from vqfusion.diffusion.gaussian.samplers import sample_signal
from vqfusion.diffusion.gaussian.times import uniform_times
from vqfusion.diffusion.gaussian.walk import SampledSignal
from vqfusion.diffusion.noise import draw_noise, torch_seed
from vqfusion.models.latent.slots import AskedBySlots
from vqfusion.nn.denoising_transformer import DenoisingTransformer
from vqfusion.nn.pretrained import Pretrained, Stored
from vqfusion.nn.unet import UNet
from vqfusion.tokenizers.build import build_network
from vqfusion.tokenizers.network import TokenizerNetwork
from vqfusion.tokenizers.vqvae import VQVAE
from vqfusion.types import PredictionKind

NOTHING = -1  # label of an item without a class


class LatentBatch(NamedTuple):
    """A training batch.

    Attributes:
        signal: Signals in the units of the tokenizer.
        labels: Classes, -1 = none.
        places: Uniform numbers in (0, 1) that determine the times.
        seeds: Seeds of the noise.
    """

    signal: Tensor
    labels: Int[Tensor, " B"]
    places: Float[Tensor, " B"]
    seeds: Int[Tensor, " B"]

    @property
    def items(self) -> int:
        """Number of signals."""
        return len(self.signal)

    def to(self, device: torch.device) -> "LatentBatch":
        """The batch on another device."""
        return LatentBatch(*(tensor.to(device) for tensor in self))


@runtime_checkable
class LatentCodec(Protocol):
    """What the tokenizer must provide: latents of a batch before quantization, and signals of latents."""

    latent_channels: int

    def to_latents(self, batch: Tensor) -> Tensor:
        """Latents `[B, D, *grid]` of signals."""

    def from_latents(self, z: Tensor, snap: bool = True) -> Tensor:
        """Signals of latents `[B, D, *grid]`; with `snap` they are quantized first."""


class LatentDiffusion(nn.Module, AskedBySlots, Pretrained):
    """Diffusion in the latent space of a frozen tokenizer, of any rank: Rombach et al. (2022).

    Latents are the encoder's output before quantization, standardised channel by channel (`standardise`). Sampled
    latents are quantized to the nearest codes (`snap`), as in the training of the decoder, and decoded. Classes enter
    the network as a one-hot grid `[B, classes, 1, ...]`, zeros for no class.

    Args:
        codec: A `VQVAE`, a tokenizer over it, or anything with `to_latents` and `from_latents`; it stays in evaluation
            mode and is not trained.
        network: Function of (z_t, t, condition) that predicts the kind `prediction`.
        grid: Size of the latents of one sample.
        classes: Names of the classes.
        path: A `GaussianPath`, or its name, see `make_path`.
        prediction: What the network predicts.
        weighting: Name of the loss weight, see `loss_weight`.
        steps: Default number of sampling steps.
        guidance_scale: Default scale of classifier-free guidance; 1 is off.
    """

    kind = "latent-diffusion"
    config_type = LatentDiffusionConfig
    mean: Tensor
    std: Tensor
    config: LatentDiffusionConfig | None = None

    def __init__(
        self,
        codec: LatentCodec,
        network: nn.Module,
        grid: Sequence[int],
        classes: Sequence[str] = (),
        path: str | GaussianPath = "cosine",
        prediction: PredictionKind = "v",
        weighting: str = "simple",
        steps: int = 20,
        guidance_scale: float = 1.0,
    ):
        super().__init__()
        self.codec: Any = codec
        self.network, self.grid, self.classes = network, tuple(grid), tuple(classes)
        self.path, self.prediction, self.weighting = make_path(path), prediction, weighting
        self.steps, self.guidance_scale = steps, guidance_scale
        if isinstance(codec, nn.Module):
            codec.eval().requires_grad_(False)
        self.register_buffer("mean", torch.zeros(codec.latent_channels))
        self.register_buffer("std", torch.ones(codec.latent_channels))

    @classmethod
    def from_config(cls, config: LatentDiffusionConfig, codec: TokenizerNetwork | VQVAE | None = None) -> Any:
        """Build an untrained model, over the trained tokenizer `codec` if given."""
        if codec is None:
            own = config.tokenizer
            built = VQVAE(own) if isinstance(own, VQVAEConfig) else build_network(own)
            assert isinstance(built, VQVAE | TokenizerNetwork), "the config names such networks only"
            codec = built
        vqvae = codec if isinstance(codec, VQVAE) else codec.vqvae
        rank, channels = vqvae.config.rank, codec.latent_channels
        shape: dict[str, Any] = {"rank": rank, "given_channels": (len(config.classes),) if config.classes else ()}
        network: nn.Module
        if config.network == "transformer":
            network = DenoisingTransformer(channels, config.width, patch=1, **shape)
        else:
            network = UNet(channels, config.width, [2**i for i in range(config.levels)], **shape)
        rest = config.model_dump(include={"classes", "path", "prediction", "weighting", "steps", "guidance_scale"})
        model = cls(codec, network, config.grid, **rest)
        model.config = config
        return model

    def train(self, mode: bool = True) -> "LatentDiffusion":
        """Set training mode, except for the tokenizer, which stays in evaluation mode."""
        super().train(mode)
        if isinstance(self.codec, nn.Module):
            self.codec.eval()
        return self

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return self.mean.device

    @property
    def denoiser(self) -> NetworkDenoiser:
        """Denoiser of standardised latents; its condition is the grid of `given`, or None."""
        return NetworkDenoiser(self.network, self.path, self.prediction)

    @torch.no_grad()
    def standardise(self, batches: Iterable[Tensor]) -> None:
        """Measure mean and standard deviation of each latent channel on these signals."""
        latents = [self.codec.to_latents(batch.to(self.device)).double() for batch in batches]
        flat = torch.cat([z.movedim(1, 0).flatten(1) for z in latents], dim=1)
        std = flat.std(dim=1, correction=0)
        self.mean.copy_(flat.mean(dim=1))
        self.std.copy_(torch.where(std > 1e-6, std, 1.0))

    @torch.no_grad()
    def encode(self, signal: Tensor) -> Float[Tensor, "B D ..."]:
        """Standardised latents of signals in the units of the tokenizer."""
        with torch.autocast(signal.device.type, enabled=False):
            z = self.codec.to_latents(signal)
        return (z - wide(self.mean, z)) / wide(self.std, z)

    @torch.no_grad()
    def decode(self, z: Float[Tensor, "B D ..."], snap: bool = True) -> Tensor:
        """Signals of standardised latents; with `snap` they are quantized first."""
        return self.codec.from_latents(self.raw(z), snap)

    def raw(self, z: Float[Tensor, "B D ..."]) -> Float[Tensor, "B D ..."]:
        """Inverse of the standardisation."""
        return z * wide(self.std, z) + wide(self.mean, z)

    def given(self, labels: Int[Tensor, " B"] | None) -> Float[Tensor, "B ..."] | None:
        """Condition of the network: one-hot `[B, classes, 1, ...]`, zeros for -1; None without labels or classes."""
        if labels is None or not self.classes:
            return None
        known = torch.arange(len(self.classes), device=labels.device)
        return (labels[:, None] == known).float().reshape(*labels.shape, -1, *[1] * len(self.grid)).to(self.device)

    def loss(self, batch: LatentBatch) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Weighted error of the denoiser on a batch; depends on nothing but the batch and the weights."""
        z = self.encode(batch.signal)
        generators = [torch.Generator().manual_seed(seed) for seed in batch.seeds.tolist()]
        noise, t = draw_noise(z.shape[1:], generators, device=z.device), uniform_times(batch.places)
        errors = denoising_loss(
            self.denoiser, self.path, z, noise, t, self.given(batch.labels), weighting=self.weighting
        )
        return errors.mean(), {"denoising": errors.detach().mean()}

    @torch.no_grad()
    def sample_latents(
        self,
        seeds: Sequence[int],
        labels: Int[Tensor, " B"] | None = None,
        steps: int | None = None,
        guidance_scale: float | None = None,
        interval: tuple[float, float] = ALWAYS,
        sampler: str = "dpmpp_2m",
        times: str = "uniform",
        grid: Sequence[int] | None = None,
    ) -> SampledSignal:
        """Draw standardised latents, one for each seed, independently of the batch.

        Args:
            seeds: One for each sample.
            labels: Indices of `classes`, -1 = none.
            steps: Sampling steps; those of the model by default.
            guidance_scale: Classifier-free guidance; that of the model by default, 1 is off.
            interval: Times with guidance.
            sampler: Name in `SAMPLERS`.
            times: Name of the time grid, see `time_grid`.
            grid: Size of the latents; that of the model by default.

        Returns:
            Latents `[B, D, *grid]`.
        """
        scale = self.guidance_scale if guidance_scale is None else guidance_scale
        given = self.given(labels)
        denoiser = classifier_free_guidance(self.denoiser, 1.0 if given is None else scale, interval)
        generators = [torch.Generator().manual_seed(torch_seed(seed)) for seed in seeds]
        shape, chosen = (len(self.mean), *(grid or self.grid)), steps or self.steps
        return sample_signal(denoiser, self.path, shape, chosen, generators, given, sampler, times, self.device)

    def sample(
        self, count: int = 1, labels: Int[Tensor, " B"] | None = None, seed: int = 0, snap: bool = True, **settings: Any
    ) -> SampledSignal:
        """Draw signals in the units of the tokenizer.

        Args:
            count: Number of signals, where no labels are given.
            labels: Indices of `classes`, one signal for each; -1 = none.
            seed: Item i is drawn with `seed + i`.
            snap: Quantize the latents before decoding.
            **settings: As in `sample_latents`.

        Returns:
            The signals.
        """
        items = count if labels is None else len(labels)
        made = self.sample_latents(range(seed, seed + items), labels, **settings)
        return SampledSignal(self.decode(made.signal, snap), made.nfe)

    @classmethod
    def read_parts(cls, stored: Stored, device: torch.device) -> Any:
        return super().read_parts(stored, device).requires_grad_(False)


def wide(values: Float[Tensor, " D"], z: Float[Tensor, "B D ..."]) -> Float[Tensor, "1 D ..."]:
    """Values of channels, shaped to broadcast over a batch."""
    return values.to(z.dtype).reshape(1, -1, *[1] * (z.ndim - 2))
