"""Tokenizer of photographs of any size, at any rate: a transform codec with rounded latents."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from vqfusion.config import PhotoTokenizerConfig
from vqfusion.errors import UserError
from vqfusion.nn.pretrained import WEIGHTS, buildable
from vqfusion.nn.tiles import run_local
from vqfusion.nn.weights import fingerprint, half_precision, load_into, load_weights, require_room, save_weights
from vqfusion.tokenizers.base import BaseTokenizer
from vqfusion.tokenizers.network import SEARCHABLE
from vqfusion.tokenizers.transform.coder import MOST, PER_OCTAVE, LatentCoder
from vqfusion.tokenizers.transform.context import CENTRE, DENSE, HALF_RANGE, ContextModel, bits_of
from vqfusion.tokenizers.transform.networks import CELL, Analysis, Synthesis
from vqfusion.types import Sample, Tokens

SCALE = 4.0  # the networks see (x - 1/2) * 4
LEVELS = 255 / SCALE  # grey levels of a quantization step of 1
STEPS = (34, 62)  # first and last quantization step, in 1/8 octaves of a grey level: 19 and 215 grey levels
STEP = 44  # the usual one, 45 grey levels
RATE_WEIGHT = 0.11  # squared error that training gives for a bit, in squared steps
DEAD_ZONE = 0.12  # values are rounded towards zero up to a half and this
LEAST_SPREAD = 0.5  # of a latent: convolutions divide it by no less
CELLS = 2**13  # blocks that the networks take at once


class PhotoTokenizer(nn.Module, BaseTokenizer):
    """Transform codec: latents of blocks of 16 x 16 pixels, divided by a step and rounded; one network for all rates.

    Ids are `[h, w, D]`, one for each value of the latents, and `Tokens.scale` is the quantization step in grey levels:
    the larger, the fewer bits. A finite scalar quantizer whose levels are not of equal use: the `coder` gives frequent
    ones few bits, by what is coded before them. Grey pictures stay grey. Sides are padded to multiples of 16 by
    repeating the edge; large pictures are processed in tiles, which overlap by the receptive field.

    Ballé, Laparra, Simoncelli (2017), "End-to-end optimized image compression", eq. 9 and 10: training minimises error
    plus bits, with uniform noise in place of rounding where bits are counted; the decoder sees rounded values, with a
    straight-through gradient (Theis et al., 2017).
    """

    zone: Tensor
    config_type = PhotoTokenizerConfig
    modality = "image"
    codebook_size = 2 * MOST + 1

    def __init__(self, config: PhotoTokenizerConfig):
        super().__init__()
        self.config = config
        self.analysis = Analysis(config)
        self.synthesis = Synthesis(config)
        self.context = ContextModel(config)
        zone = torch.full((config.dim, 1, 1), DEAD_ZONE)
        zone[:DENSE] = 0  # means of blocks
        self.register_buffer("zone", zone, persistent=False)

    @property
    def device(self) -> torch.device:
        return self.zone.device

    @property
    def coder(self) -> LatentCoder:
        """Entropy coder of the quantized coefficients, built from the weights."""
        return LatentCoder(self.context)

    def encode(self, sample: Sample, search: int = 0, step: int = STEP) -> Tokens:
        """Tokens of a picture.

        Args:
            sample: The picture.
            search: Rounds of `refined`, for latents with less error and bits.
            step: Quantization step in 1/8 octaves of a grey level.

        Returns:
            Ids `[h, w, D]` and, as `scale`, the step in grey levels.

        Raises:
            UserError: A search was asked for in a picture of more than 2^20 pixels.
        """
        x = self.prepare(sample.data[None].to(self.zone.dtype))
        q = self.quantize(self._latents(x, step))
        q = self.refined(x, q, step, search) if search else q
        q = q[0].clamp(-MOST, MOST).long()
        scale = torch.tensor([2 ** (step / PER_OCTAVE)])
        return Tokens(q.movedim(0, -1) + MOST, self.codebook_size, self.modality, scale=scale)

    def encode_at(self, sample: Sample, bits: float, search: int = 0) -> Tokens:
        """Tokens with the finest step whose code has at most so many bits a pixel; the coarsest where none has.

        A `search` comes last, and may change the bits by some percent.
        """
        most, coder = bits * sample.data[0].numel(), self.coder
        low, high = STEPS
        while low < high:
            middle = (low + high) // 2
            ids = self.encode(sample, step=middle).ids.cpu().numpy()
            low, high = (low, middle) if coder.bits(ids - MOST, middle) <= most else (middle + 1, high)
        return self.encode(sample, search, low)

    def pack(self, tokens: Tokens) -> bytes:
        """Ids of `[h, w, D]` as bytes."""
        return self.coder.encode(tokens.ids.cpu().numpy() - MOST, step_of(tokens.scale))

    def unpack(self, data: bytes, grid: tuple[int, ...], scale: Sequence[float]) -> Int[np.ndarray, "h w D"]:
        """Inverse of `pack`; ValueError where grid or step are not those of a picture."""
        if len(grid) != 3 or grid[2] != self.config.dim:
            raise ValueError(f"a grid of {list(grid)}")
        return self.coder.decode(data, grid, step_of(scale)) + MOST

    @torch.no_grad()
    def decode(self, tokens: Tokens) -> Sample:
        step, q = step_of(tokens.scale), tokens.ids.movedim(-1, 0)[None] - MOST
        z = q.to(self.zone.dtype) * (2 ** (step / PER_OCTAVE) / LEVELS)
        code = self.code_of(torch.tensor([2 ** (step / PER_OCTAVE)], device=self.device))

        def function(part: Tensor, rows: slice) -> Tensor:
            return F.pixel_unshuffle(self.synthesis(part, code), CELL)

        made = run_local(function, z, self.synthesis.radius, most=CELLS)
        return Sample(self.modality, (F.pixel_shuffle(made, CELL)[0] / SCALE + 0.5).clamp(0, 1))

    @torch.no_grad()
    def _latents(self, x: Float[Tensor, "1 3 H W"], step: int) -> Float[Tensor, "1 D h w"]:
        """Latents of a prepared picture, in quantization steps."""
        grey = 2 ** (step / PER_OCTAVE)
        code = self.code_of(torch.tensor([grey], device=self.device))

        def function(part: Tensor, rows: slice) -> Tensor:
            return self.analysis(F.pixel_shuffle(part, CELL), code)

        blocks = F.pixel_unshuffle(x, CELL)
        return run_local(function, blocks, self.analysis.radius, most=CELLS) / (grey / LEVELS)

    @torch.no_grad()
    def refined(
        self, x: Float[Tensor, "1 3 H W"], q: Float[Tensor, "1 D h w"], step: int, rounds: int
    ) -> Float[Tensor, "1 D h w"]:
        """Quantized latents with less error and bits than `q`: rate-distortion optimised quantization.

        A round moves latents by one, towards zero or against the gradient g of the error, where g m + h m^2 / 2 and the
        change of the bits promise the most, with the curvature h of an orthonormal transform. It counts if error plus
        bits, decoded and counted again, are less; else the next one moves fewer.
        """
        pixels = x.shape[2] * x.shape[3]
        if pixels > SEARCHABLE:
            raise UserError(f"a search takes up to {SEARCHABLE} positions, this image has {pixels}; leave it out")
        share, trial, least = 1.0, q, math.inf
        for _ in range(rounds + 1):
            cost, gradient, bits, mean, scale = self._cost(x, trial, step)
            if cost < least:
                q, least = trial, cost
                costs = [
                    gradient * move + move.square() / RATE_WEIGHT + bits_of(q + move, mean, scale) - bits
                    for move in (-q.sign(), -gradient.sign())
                ]
                gain, which = torch.stack(costs).min(dim=0)
                move = torch.where(which == 0, -q.sign(), -gradient.sign())
            else:
                share /= 2
            count = int((gain < 0).sum() * share)
            if not count:
                break
            trial = torch.where(gain <= gain.flatten().kthvalue(count).values, q + move, q)
        return q

    def _cost(
        self, x: Float[Tensor, "1 3 H W"], q: Float[Tensor, "1 D h w"], step: int
    ) -> tuple[float, Tensor, Tensor, Tensor, Tensor]:
        """Error plus bits, the gradient of the error, and bits, mean and scale of every latent."""
        grey = torch.tensor([2 ** (step / PER_OCTAVE)], device=self.device)
        code, unit = self.code_of(grey), float(grey) / LEVELS
        with torch.enable_grad():
            moved = q.clone().requires_grad_()
            error = (self.synthesis(moved * unit, code) - x).square().sum() / (RATE_WEIGHT * unit**2)
            (gradient,) = torch.autograd.grad(error, moved)
        mean, scale = self.context(q, code)
        bits = bits_of(q, mean, scale)
        return float(error.detach() + bits.sum()), gradient, bits, mean, scale

    def prepare(self, pictures: Float[Tensor, "B C H W"]) -> Float[Tensor, "B 3 H2 W2"]:
        """Three channels, sides that are multiples of 16, and the scale of the networks."""
        if pictures.shape[1] != 3:
            pictures = pictures.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
        extra = -pictures.shape[3] % CELL, -pictures.shape[2] % CELL
        if any(extra):
            pictures = F.pad(pictures, (0, extra[0], 0, extra[1]), mode="replicate")
        return (pictures - 0.5) * SCALE

    def quantize(self, z: Float[Tensor, "... D h w"]) -> Float[Tensor, "... D h w"]:
        """Nearest integers, with a dead zone."""
        return z.sign() * (z.abs() + 0.5 - self.zone).floor().clamp(min=0)

    def code_of(self, step: Float[Tensor, " B"]) -> Float[Tensor, "B 2"]:
        """What the networks are told of a step in grey levels: its place on a logarithmic axis, and the square."""
        place = (step.log2() - CENTRE) / HALF_RANGE
        return torch.stack([place, place.square()], dim=1)

    def loss(self, batch: Float[Tensor, "B 4 H W"]) -> tuple[Tensor, dict[str, Tensor]]:
        """Training loss, and values to report.

        Args:
            batch: Pictures `[B, 3, H, W]` in [0, 1], and a channel of uniform random numbers, for the noise of the
                latents and, the last of them, for the step.

        Returns:
            Squared error plus bits, each of a pixel; the error in units of what a bit is worth at the step.
        """
        x, draws = self.prepare(batch[:, :3]), batch[:, 3].flatten(1)
        exponent = STEPS[0] + (STEPS[1] - STEPS[0]) * draws[:, -1]
        grey = 2 ** (exponent / PER_OCTAVE)
        code, step = self.code_of(grey), grey / LEVELS
        per = step[:, None, None, None]
        z = self.analysis(x, code) / per
        q = self.quantize(z.detach())
        back = self.synthesis((z + (q - z).detach()) * per, code)
        mean, scale = self.context(q, code)
        noise = draws[:, : z[0].numel()].view_as(z) - 0.5
        exact, noisy = bits_of(q, mean, scale), bits_of(z + noise, mean.detach(), scale.detach())
        pixels = x.shape[2] * x.shape[3]
        error, model, rate = (each.sum(dim=(1, 2, 3)) / pixels for each in ((back - x).square(), exact, noisy))
        weight = (grey / 48) ** 0.7  # gradients of all steps are then of similar size
        loss = (weight * (error / (RATE_WEIGHT * step.square()) + rate + model)).mean()
        psnr = -10 * (error.detach() / 3 / SCALE**2).log10()
        return loss, {"psnr_db": psnr.mean(), "bits_per_pixel": model.detach().mean()}

    @torch.no_grad()
    def begin(self, basis: Float[Tensor, "D P"], spread: Float[Tensor, " D"]) -> None:
        """Set the first transform, orthonormal, and the standard deviation of its latents."""
        self.analysis.basis.copy_(basis)
        self.synthesis.basis.copy_(basis)
        self.synthesis.spread.copy_(spread.clamp(min=LEAST_SPREAD))
        scales = spread * LEVELS / 2**CENTRE
        for group, own in zip(self.context.groups, scales.split(self.config.groups), strict=True):
            group.begin(own)

    def fitted(self, sample: Sample) -> Sample:
        return Sample(self.modality, sample.data.to(self.device))

    def extent(self, sample: Sample) -> tuple[int, ...]:
        return tuple(sample.data.shape)

    def cut(self, made: Sample, size: tuple[int, ...], sample_rate_hz: int | None) -> Sample:
        data = made.data.cpu()
        if any(wanted > there for wanted, there in zip(size[-2:], data.shape[1:], strict=True)):
            raise ValueError(f"{list(data.shape)} holds no {list(size)}")
        grey = data.mean(dim=0, keepdim=True) if size[0] == 1 else data
        return Sample(self.modality, grey[:, : size[1], : size[2]])

    def crop(self, image_size: int) -> tuple[int, ...]:
        """Size of a training sample."""
        return (self.config.crop, self.config.crop)

    def fingerprint(self) -> str:
        """Identifier that changes whenever the meaning of an id changes."""
        return fingerprint(self.state_dict(), self.config.model_dump_json())

    def write_own(self, folder: Path, name: str | None) -> None:
        save_weights(_file(folder, name), half_precision(self.state_dict()))

    @classmethod
    def read_own(cls, config: Any, folder: Path, name: str | None) -> Any:
        path = _file(folder, name)
        require_room(path, config.least_parameters)
        with buildable(folder):
            network = cls.from_config(config)
        load_into(network, load_weights(path), path)
        return network.eval()


def step_of(scale: Tensor | Sequence[float] | None) -> int:
    """Quantization step in 1/8 octaves, of one in grey levels; ValueError where there is none such."""
    step = float(scale[0]) if scale is not None and len(scale) == 1 else 0.0
    if not 1 <= step <= 4096:
        raise ValueError(f"a quantization step of {step:g} grey levels")
    return round(PER_OCTAVE * math.log2(step))


def _file(folder: Path, name: str | None) -> Path:
    return folder / (f"tokenizer-{name}.safetensors" if name else WEIGHTS)
