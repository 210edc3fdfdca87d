"""PARTS: blocks, convolutional networks, U-Net, transformer, tiling, and weights on disk."""

from vqfusion.lazy import public

__getattr__, __dir__, __all__ = public(
    __name__,
    conv="VQVAEEncoder VQVAEDecoder",
    denoising_transformer="DenoisingTransformer",
    pretrained="Pretrained",
    restoration="RestorationNet",
    tiles="run_local run_tiled",
    unet="UNet",
)
