"""Continuous frames as input of the transformer."""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from vqfusion.nn.local import LocalLayers

DEPTH = 2  # convolutional blocks over frames


class FrameStem(nn.Module):
    """Frames `[B, N, values]` to positions `[B, N / patch, dim]`: convolutions over frames, then one linear layer.

    Args:
        values: Values of a frame.
        dim: Width of the transformer.
        patch: Frames that share a position.
    """

    def __init__(self, values: int, dim: int, patch: int):
        super().__init__()
        self.patch, width = patch, max(dim // 2, 32)
        self.widen = nn.Linear(values, width)
        self.layers = LocalLayers(1, width, DEPTH)
        self.merge = nn.Linear(patch * width, dim)

    def forward(
        self, frames: Float[Tensor, "B N values"], mask: Bool[Tensor, "B N"] | None
    ) -> Float[Tensor, "B L dim"]:
        """Positions; `mask` is True for real frames."""
        hidden = self.layers(self.widen(frames), mask)
        if mask is not None:
            hidden = hidden * mask[..., None]
        return self.merge(hidden.unflatten(1, (-1, self.patch)).flatten(2))
