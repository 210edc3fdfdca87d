"""Denoisers of a DiffusionModel by name, and the config of its parts."""

from torch import nn

from vqfusion.config import VQVAEConfig
from vqfusion.nn.conv import VQVAEDecoder, VQVAEEncoder
from vqfusion.nn.denoising_transformer import DenoisingTransformer
from vqfusion.nn.unet import UNet
from vqfusion.tokenizers.quantizers import QUANTIZERS, Quantizer
from vqfusion.tokenizers.vqvae import build_quantizer


def make_network(name: str, decoder: VQVAEDecoder, downsampling: int, width: int) -> nn.Module:
    """Build a denoiser of residuals, conditioned on the decoder's output and the code vectors.

    The levels of the U-Net, at most five, reach the resolution of the codes; a patch of the transformer is the cell of
    a code, at most four values along each axis.

    Args:
        name: "unet" or "transformer".
        decoder: Decoder of the VQ-VAE.
        downsampling: Side of the cell of a code.
        width: Channels of the network.

    Returns:
        The network.
    """
    given = (decoder.out_channels, decoder.dim)
    if name == "transformer":
        patch = min(4, downsampling)
        return DenoisingTransformer(decoder.out_channels, width, patch=patch, rank=decoder.rank, given_channels=given)
    levels = min(5, max(2, downsampling.bit_length()))
    multipliers = [min(4, 2**i) for i in range(levels)]
    return UNet(decoder.out_channels, width, multipliers, rank=decoder.rank, given_channels=given)


def network_name(network: nn.Module) -> str:
    """Name of a denoiser in `make_network`; ValueError for other networks."""
    if isinstance(network, UNet):
        return "unet"
    if isinstance(network, DenoisingTransformer):
        return "transformer"
    raise ValueError("a network of your own has no config; keep its weights with save_weights and load_weights")


def codec_config(encoder: nn.Module, decoder: nn.Module, quantizer: Quantizer) -> VQVAEConfig:
    """Config of encoder, decoder and quantizer; ValueError where no config describes them."""
    names = {kind: name for name, kind in QUANTIZERS.items()}
    shape = ("dim", "rank", "widths", "depths")
    if isinstance(encoder, VQVAEEncoder) and isinstance(decoder, VQVAEDecoder) and type(quantizer) in names:
        if all(getattr(encoder, part) == getattr(decoder, part) for part in shape):
            config = VQVAEConfig(
                rank=encoder.rank,
                channels=encoder.in_channels,
                widths=encoder.widths,
                depths=encoder.depths,
                quantizer=names[type(quantizer)],
                codebook_size=quantizer.codebook_size,
                dim=quantizer.dim,
                **{key: getattr(quantizer, key) for key in ("decay", "levels") if hasattr(quantizer, key)},
            )
            if described(build_quantizer(config, quantizer.channel_first)) == described(quantizer):
                return config
    raise ValueError(
        "no config describes these parts (a config needs VQVAEEncoder and VQVAEDecoder of the same shape, and a "
        "quantizer of the registry); keep the weights with save_weights and load_weights instead"
    )


def described(quantizer: nn.Module) -> dict[str, object]:
    """Hyperparameters and tensor shapes of a quantizer, not the values of its tensors."""
    settings: dict[str, object] = {name: tuple(t.shape) for name, t in quantizer.state_dict().items()}
    for name, part in quantizer.named_modules():
        values = {k: v for k, v in vars(part).items() if isinstance(v, bool | int | float | str | tuple)}
        settings[f"{name}:{type(part).__name__}"] = {k: v for k, v in values.items() if k != "training"}
    return settings
