"""DiffusionModel: a VQ-VAE whose decoder predicts a mean, with a diffusion model of the residual."""

from pathlib import Path

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor, nn

from vqfusion.config import DiffusionModelConfig
from vqfusion.diffusion.gaussian.denoiser import NetworkDenoiser, denoising_loss
from vqfusion.diffusion.gaussian.flow import make_path, name_of_path
from vqfusion.diffusion.gaussian.grids import time_grid
from vqfusion.diffusion.gaussian.path import GaussianPath
from vqfusion.diffusion.gaussian.samplers import SAMPLERS
from vqfusion.diffusion.gaussian.times import stratified_places, uniform_times
from vqfusion.diffusion.noise import draw_noise, seeded
from vqfusion.errors import UserError
from vqfusion.models.latent.diffusion_parts import codec_config, make_network, network_name
from vqfusion.nn.blocks import extend_to_multiple
from vqfusion.nn.conv import VQVAEDecoder, VQVAEEncoder
from vqfusion.nn.pretrained import WEIGHTS, Pretrained
from vqfusion.nn.weights import load_into, load_weights, save_weights
from vqfusion.tokenizers.quantizers import Quantizer, VectorQuantizer
from vqfusion.tokenizers.quantizers.watch import watch_usage
from vqfusion.tokenizers.vqvae import build_quantizer
from vqfusion.types import PredictionKind, Quantized


class DiffusionModel(nn.Module, Pretrained):
    """VQ-VAE with a diffusion decoder: the decoder predicts the mean, a diffusion model samples the residual.

    `decoder` maps code vectors to m, trained by squared error: an estimate of E[x | codes], blurred where the codes
    leave details open. `network` (by default a U-Net of `width` channels) models the distribution of the residual r =
    (x - m) / std on a Gaussian path, conditioned on m and the code vectors. An ordinary VQ-VAE decoder is therefore a
    good start, sampling begins close to the result and takes few steps, and the mean of the samples stays close to m.
    All parts are trained together: encoder and codebook by both losses, m by its own only.

    Reconstruction has two modes. "sample" draws x = m + std * r in `steps` evaluations and looks realistic. "mean" is
    the estimate with the least squared error, m + std * E[r | codes]: at t = 1, x_t is independent of r, so the
    predicted x_0 is that expectation, and one evaluation at x_t = 0 suffices. A predicted velocity contains the noise
    itself, and at zero noise, which does not occur in training, it is inaccurate (on 8 x 8 digits 0.15 dB below m).
    There two evaluations, at a fixed noise and at its negative, are averaged (0.24 dB above m), which cancels all that
    is odd in the noise. Item i of a batch is drawn with the seed `seed + i`, independently of the batch.

    The data should be centred, as in [-1, 1].

    Args:
        encoder: A `VQVAEEncoder`, or a similar module if `quantizer` and `network` are given as well.
        decoder: A `VQVAEDecoder`, or a similar module if `quantizer` and `network` are given as well.
        quantizer: Quantizer of the latents; by default a `VectorQuantizer` with 512 codes.
        network: Denoiser network; by default a U-Net.
        path: A `GaussianPath`, or its name (`flow`, `cosine`, `linear`, `sigmoid` or `edm`), over residuals of unit
            variance.
        prediction: `x0`, `v` or `velocity`.
        width: Channels of the default network.
        steps: Default number of sampling steps.
        diffusion_weight: Weight of the diffusion loss.
    """

    kind = "diffusion-model"
    config_type = DiffusionModelConfig
    residual_std: Tensor
    draws: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        quantizer: Quantizer | None = None,
        network: nn.Module | None = None,
        path: str | GaussianPath = "cosine",
        prediction: PredictionKind = "v",
        width: int = 32,
        steps: int = 8,
        diffusion_weight: float = 1.0,
    ):
        super().__init__()
        known = isinstance(encoder, VQVAEEncoder) and isinstance(decoder, VQVAEDecoder)
        if not known and (quantizer is None or network is None):
            raise ValueError("an encoder or decoder of your own needs the quantizer and the network to be given too")
        if prediction == "eps":
            raise ValueError("a prediction of eps does not determine the data at t = 1; predict v, x0 or velocity")
        self.path = make_path(path)
        self.prediction, self.width = prediction, width
        self.steps, self.diffusion_weight = steps, diffusion_weight
        self.encoder = encoder
        self.decoder = decoder
        self.quantizer = quantizer or VectorQuantizer(encoder.dim, 512, channel_first=True)
        in_codec = int(getattr(encoder, "downsampling", 1))
        self.downsampling = in_codec * self.quantizer.downsampling
        self.network = network or make_network("unet", decoder, in_codec, width)
        watch_usage(self.quantizer)
        self.register_buffer("residual_std", torch.tensor(1.0))
        self.register_buffer("draws", torch.tensor(0))

    @classmethod
    def from_config(cls, config: DiffusionModelConfig) -> "DiffusionModel":
        """Build an untrained model."""
        codec = config.vqvae
        quantizer = build_quantizer(codec)
        shape = dict(dim=quantizer.dim, widths=codec.widths, depths=codec.depths, rank=codec.rank)
        encoder, decoder = VQVAEEncoder(codec.channels, **shape), VQVAEDecoder(codec.channels, **shape)
        network = make_network(config.network, decoder, encoder.downsampling, config.width)
        rest = config.model_dump(include={"path", "prediction", "width", "steps", "diffusion_weight"})
        return cls(encoder, decoder, quantizer, network, **rest)

    @property
    def config(self) -> DiffusionModelConfig:
        """Config for `from_config`; ValueError where no config describes the parts."""
        return DiffusionModelConfig(
            vqvae=codec_config(self.encoder, self.decoder, self.quantizer),
            network=network_name(self.network),
            width=self.width,
            path=name_of_path(self.path),
            prediction=self.prediction,
            steps=self.steps,
            diffusion_weight=self.diffusion_weight,
        )

    @property
    def denoiser(self) -> NetworkDenoiser:
        """Denoiser of residuals; its condition is (m, code vectors)."""
        return NetworkDenoiser(self.network, self.path, self.prediction)

    @torch.no_grad()
    def forward(
        self, x: Float[Tensor, "B C ..."], mode: str = "sample", steps: int | None = None, seed: int = 0
    ) -> Float[Tensor, "B C ..."]:
        """Reconstruct `x` from its codes; other arguments as in `decode`."""
        return self.decode(self.encode(x), x.shape[2:], mode, steps, seed)

    @torch.no_grad()
    def encode(self, x: Float[Tensor, "B C ..."]) -> Int[Tensor, "B ..."]:
        """Code indices of `x`, padded by its edge to a multiple of the downsampling; nothing is learned from it."""
        return self.quantizer.encode(self._laid_out(self.encoder(extend_to_multiple(x, self.downsampling)).float()))

    @torch.no_grad()
    def decode(
        self,
        indices: Int[Tensor, "B ..."],
        size: tuple[int, ...] | None = None,
        mode: str = "sample",
        steps: int | None = None,
        seed: int = 0,
        sampler: str = "euler",
    ) -> Float[Tensor, "B C ..."]:
        """Reconstruct signals from their codes.

        With Euler's method, in the angle of the cosine path, normally distributed residuals are sampled exactly with
        any number of steps; methods of higher order, which extrapolate x_0, lose variance with few steps.

        Args:
            indices: Grids of codes.
            size: Size to crop to; None keeps the padding.
            mode: "sample" or "mean".
            steps: Sampling steps; those of the model by default.
            seed: Item i is drawn with `seed + i`.
            sampler: Name in `SAMPLERS`.

        Returns:
            The signals.

        Raises:
            ValueError: Unknown mode or sampler.
        """
        if mode not in ("sample", "mean"):
            raise ValueError(f"mode {mode!r} is neither sample nor mean")
        if sampler not in SAMPLERS:
            raise ValueError(f"sampler {sampler!r} is not one of {', '.join(SAMPLERS)}")
        codes = self.quantizer.indices_to_codes(indices)
        codes = codes if self.quantizer.channel_first else codes.movedim(-1, 1)
        m = self.decoder(codes).float()
        if mode == "mean":
            residual = self._expected_residual(m, codes)
        else:
            times = time_grid(self.path, steps or self.steps)
            generators = seeded(seed, len(m))
            noise = draw_noise(m.shape[1:], generators, device=m.device) * float(self.path.sigma(times[:1]))
            residual = SAMPLERS[sampler](self.denoiser, self.path, noise, times, (m, codes), generators).signal
        x = m + self.residual_std * residual
        return x[(..., *(slice(n) for n in size))] if size else x

    def loss(
        self, x: Float[Tensor, "B C ..."], generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Training loss: squared error of m, diffusion loss in the units of `x`, and the quantizer's loss.

        Without a generator, noise and times are drawn from a counter that is saved with the weights, so that a resumed
        training continues with the same draws; in evaluation mode the draws are always the same.
        """
        x = extend_to_multiple(x, self.downsampling)
        codes = self._quantize(self.encoder(x).float())
        vectors = codes.quantized if self.quantizer.channel_first else codes.quantized.movedim(-1, 1)
        m = self.decoder(vectors).float()
        mse = (x - m).square().mean()
        generator = generator or self._next_generator(x.device)
        residual = (x - m).detach()
        self._observe(residual)
        t = uniform_times(stratified_places(len(x), generator)).to(x.device)
        noise = torch.randn(x.shape, generator=generator, device=generator.device).to(x.device)
        given = (m.detach(), vectors)
        errors = denoising_loss(self.denoiser, self.path, residual / self.residual_std, noise, t, given)
        denoising = errors.mean()
        loss = mse + self.diffusion_weight * self.residual_std.square() * denoising + codes.loss
        return loss, {
            "mse": mse.detach(),
            "denoising": denoising.detach(),
            "perplexity": codes.perplexity,
            "usage": codes.usage,
        }

    def _expected_residual(self, m: Float[Tensor, "B C ..."], codes: Float[Tensor, "B D ..."]) -> Tensor:
        """E[r | codes] in units of `residual_std`, independent of the batch."""
        t = torch.ones(len(m), device=m.device)

        def x0(x_t: Tensor) -> Tensor:
            return self.path.convert(self.denoiser(x_t, t, (m, codes)), x_t, t, "x0")

        if self.prediction != "velocity":
            return x0(torch.zeros_like(m))
        noise = draw_noise(m.shape[1:], seeded(0, 1), device=m.device).expand_as(m) * float(self.path.sigma(t[:1]))
        return (x0(noise) + x0(-noise)) / 2

    def _quantize(self, z: Float[Tensor, "B D ..."]) -> Quantized:
        return self.quantizer(self._laid_out(z))

    def _laid_out(self, z: Float[Tensor, "B D ..."]) -> Float[Tensor, "B ..."]:
        """Vectors in the layout of the quantizer."""
        return z if self.quantizer.channel_first else z.movedim(1, -1)

    @torch.no_grad()
    def _observe(self, residual: Tensor) -> None:
        """Update the moving standard deviation of the residuals, faster at first."""
        if self.training:
            keep = min(0.99, float((1 + self.draws) / (10 + self.draws)))
            variance = residual.square().mean().clamp(min=1e-8)
            self.residual_std.copy_((keep * self.residual_std.square() + (1 - keep) * variance).sqrt())
            self.draws += 1

    def _next_generator(self, device: torch.device) -> torch.Generator:
        rank, processes = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        seed = int(self.draws) * processes + rank if self.training else 0
        return torch.Generator(device).manual_seed(seed)

    def load_weights(self, path: str | Path) -> "DiffusionModel":
        """Load what `save_weights` or `save_pretrained` wrote; UserError for any other file."""
        path = Path(path)
        path = path / WEIGHTS if path.is_dir() else path
        if path.suffix in (".pt", ".pth", ".bin", ".ckpt", ".pkl"):
            raise UserError(f"{path}: weights are read from .safetensors only; pickled files can run any code")
        load_into(self, load_weights(path), path)
        return self.eval()

    def save_weights(self, path: str | Path) -> None:
        """Write all tensors to one safetensors file."""
        save_weights(Path(path), self.state_dict())
