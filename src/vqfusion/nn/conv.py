"""Convolutional encoder and decoder of the VQ-VAE, of rank 1, 2 or 3."""

from collections.abc import Sequence

from torch import Tensor, nn

from vqfusion.nn.blocks import ResidualBlock, convolution, downsample, group_norm, upsample


class VQVAEEncoder(nn.Module):
    """Convolutional encoder: signals `[B, in_channels, *size]` to latents `[B, dim, *size / 2^(len(widths) - 1)]`.

    Args:
        in_channels: Channels of the signal.
        dim: Dimension of the latents.
        widths: Channels at each resolution, the full one first; each further width halves every axis.
        depths: Residual blocks at each resolution.
        rank: Number of axes beside channels.
    """

    def __init__(
        self,
        in_channels: int,
        dim: int,
        widths: Sequence[int] = (32, 64, 128),
        depths: Sequence[int] = (0, 1, 3),
        rank: int = 2,
    ):
        super().__init__()
        self.in_channels, self.dim, self.rank = in_channels, dim, rank
        self.widths, self.depths = tuple(widths), tuple(depths)
        layers: list[nn.Module] = []
        if depths[0] or len(widths) == 1:
            layers.append(convolution(rank, in_channels, widths[0]))
            layers += [ResidualBlock(rank, widths[0], 1 + 2 * (i % 2)) for i in range(depths[0])]
        channels = widths[0] if layers else in_channels
        for width, depth in zip(widths[1:], depths[1:], strict=True):
            layers.append(downsample(rank, channels, width))
            layers += [ResidualBlock(rank, width) for _ in range(depth)]
            channels = width
        layers += [group_norm(channels), nn.SiLU(), convolution(rank, channels, dim, kernel=1)]
        self.layers = nn.Sequential(*layers)
        self.downsampling = 2 ** (len(widths) - 1)

    def forward(self, x: Tensor) -> Tensor:
        """Latents of signals `[B, in_channels, *size]`; every axis must be a multiple of `downsampling`."""
        return self.layers(x)


class VQVAEDecoder(nn.Module):
    """Convolutional decoder: latents `[B, dim, *grid]` to signals `[B, out_channels, *grid * 2^(len(widths) - 1)]`.

    Args:
        out_channels: Channels of the signal.
        dim: Dimension of the latents.
        widths: Channels at each resolution, the full one first, as in `VQVAEEncoder`.
        depths: Residual blocks at each resolution.
        rank: Number of axes beside channels.
    """

    def __init__(
        self,
        out_channels: int,
        dim: int,
        widths: Sequence[int] = (32, 64, 128),
        depths: Sequence[int] = (0, 1, 3),
        rank: int = 2,
    ):
        super().__init__()
        self.out_channels, self.dim, self.rank = out_channels, dim, rank
        self.widths, self.depths = tuple(widths), tuple(depths)
        layers: list[nn.Module] = [convolution(rank, dim, widths[-1])]
        for i in range(len(widths) - 1, 0, -1):
            layers += [ResidualBlock(rank, widths[i]) for _ in range(depths[i])]
            layers += [group_norm(widths[i]), nn.SiLU()]
            last = i == 1 and not depths[0]
            layers.append(upsample(rank, widths[i], out_channels if last else widths[i - 1]))
        if depths[0] or len(widths) == 1:
            layers += [ResidualBlock(rank, widths[0], 1 + 2 * (i % 2)) for i in range(depths[0])]
            layers += [group_norm(widths[0]), nn.SiLU(), convolution(rank, widths[0], out_channels)]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        """Signals of latents `[B, dim, *grid]`."""
        return self.layers(z)
