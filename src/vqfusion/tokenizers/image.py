"""Picture tokenizer."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from vqfusion.config import ImageTokenizerConfig
from vqfusion.data.transforms import fit_picture
from vqfusion.errors import UserError
from vqfusion.tokenizers.familiarity import at_border
from vqfusion.tokenizers.signal import SignalTokenizer
from vqfusion.tokenizers.vqvae import VQVAE
from vqfusion.types import Sample, Tokens

AT_ONCE = 64  # batch size of the network


class ImageTokenizer(SignalTokenizer):
    """2-D VQ-VAE over pictures `[C, H, W]` in [0, 1]; grey and colour are converted to its number of channels.

    A side that is not a multiple of the downsampling is padded by repeating its edge.
    """

    config_type = ImageTokenizerConfig
    modality = "image"

    def __init__(self, config: ImageTokenizerConfig):
        super().__init__()
        self.config = config
        self.vqvae = VQVAE(config.vqvae)
        self.codebook_size = self.vqvae.quantizer.codebook_size

    def encode(self, sample: Sample, search: int = 0) -> Tokens:
        return Tokens(self.encode_batch(sample.data[None], search)[0], self.codebook_size, self.modality)

    def decode(self, tokens: Tokens) -> Sample:
        return Sample(self.modality, self.decode_batch(tokens.ids[None])[0])

    def sized(self, sample: Sample, image_size: int) -> Sample:
        return Sample(self.modality, fit_picture(sample.data, image_size))

    @torch.no_grad()
    def mean_latents(self, sample: Sample, image_size: int) -> Float[Tensor, "1 D"]:
        """Mean latents at the border of a picture that is fitted to `image_size` pixels a side."""
        picture = fit_picture(sample.data.float(), image_size)[None].to(self.device)
        return at_border(self.vqvae.encoder(self.prepare(picture))).cpu()

    def cut(self, made: Sample, size: tuple[int, ...], sample_rate_hz: int | None) -> Sample:
        """As `BaseTokenizer.cut`; the result is grey where the original was."""
        grey = replace(made, data=made.data.cpu().mean(dim=0, keepdim=True)) if size[0] == 1 else made
        return super().cut(grey, size, sample_rate_hz)

    def crop(self, image_size: int) -> tuple[int, ...]:
        return (image_size, image_size)

    def encode_fitting(
        self, samples: Sequence[Sample], shape: tuple[int, ...], step: int
    ) -> list[Int[Tensor, "H W"] | None]:
        """As `BaseTokenizer.encode_fitting`; pictures of any size are resized to fill the grid."""
        size = shape[0] * self.vqvae.downsampling
        pictures = torch.stack([fit_picture(sample.data, size) for sample in samples])
        parts = [self.encode_batch(part.to(self.device)).cpu() for part in pictures.split(AT_ONCE)]
        return list(torch.cat(parts))

    def known(
        self, sample: Sample, keep: Bool[Tensor, "H W"], shape: tuple[int, ...]
    ) -> tuple[Int[Tensor, "h w"], Bool[Tensor, "h w"]]:
        """As `BaseTokenizer.known`; a token is known when every pixel of its cell is.

        Raises:
            UserError: Mask and picture differ in size.
        """
        if keep.shape != sample.data.shape[1:]:
            raise UserError(
                f"the mask is {keep.shape[1]} x {keep.shape[0]} pixels, the picture {sample.data.shape[2]} x "
                f"{sample.data.shape[1]}; make them the same size"
            )
        [ids] = self.encode_fitting([Sample(self.modality, torch.where(keep, sample.data, 1.0))], shape, 1)
        assert ids is not None, "pictures fit"
        f = self.vqvae.downsampling
        kept = fit_picture(keep[None].float(), len(ids) * f)[:1]
        lost = F.max_pool2d(1 - kept[None], f)[0, 0]
        return ids, lost < 1e-3

    def prepare(self, pictures: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        """Convert to the network's channels, pad to multiples of its downsampling, and scale to [-1, 1]."""
        channels, f = self.config.vqvae.channels, self.vqvae.downsampling
        if pictures.shape[1] != channels:
            pictures = pictures.mean(dim=1, keepdim=True).expand(-1, channels, -1, -1)
        extra_h, extra_w = -pictures.shape[2] % f, -pictures.shape[3] % f
        if extra_h or extra_w:
            pictures = F.pad(pictures, (0, extra_w, 0, extra_h), mode="replicate")
        return pictures * 2 - 1

    def finish(self, signal: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Scale from [-1, 1] to [0, 1] and clip."""
        return (signal * 0.5 + 0.5).clamp(0, 1)

    def distortion(self, pictures: Float[Tensor, "B C H W"]) -> Callable[[Tensor], Float[Tensor, " B"]]:
        """Mean squared error in [-1, 1], after clipping as in `finish`."""
        x = self.prepare(pictures)
        return lambda signal: (signal.float().clamp(-1, 1) - x).square().flatten(1).mean(dim=1)

    def loss(self, pictures: Float[Tensor, "B C H W"]) -> tuple[Tensor, dict[str, Tensor]]:
        """Training loss: mean squared error in [-1, 1] plus the quantizer's loss."""
        x = self.prepare(pictures)
        out = self.vqvae(x)
        mse = F.mse_loss(out.signal.float(), x)
        psnr = -10 * (mse.detach() / 4).log10()
        return mse + out.codes.loss, {
            "psnr_db": psnr,
            "perplexity": out.codes.perplexity,
            "usage": out.codes.usage,
        }
