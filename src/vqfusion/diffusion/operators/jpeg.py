"""JPEG compression: each coefficient of the picture is known to lie in an interval."""

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vqfusion.diffusion.operators.operator import Operator
from vqfusion.errors import UserError

SIDE = 8
UNCHANGED = 0.75  # largest median distance from the decoded coefficients, in units of 1/255: rounding of pixels
# ITU-T T.81 (1992), tables K.1 and K.2
LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *[(99,) * 8] * 4,
)
# ITU-T T.871 (2011): luminance, blue and red difference from red, green, blue
YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


class JPEG(Operator):
    """JPEG on grey or colour pictures in [0, 1], without chroma subsampling (4:4:4).

    Not linear: y is the decoded picture, and x is consistent with it when each coefficient of its 8 x 8 blocks is
    rounded to the same value. `proximal` is the projection onto those pictures; it is approximate in blocks across the
    border. The rounding counts as the identity for gradients and for `A_adjoint`.

    Args:
        quality: Quality of the library of the IJG, 1 to 100, or the quantization tables of a file as Pillow gives them
            (`dict(Image.open(path).quantization)`): 64 steps in units of 1/255, row by row, by number of the table,
            the first for brightness and the second, where there is one, for colours.
    """

    kind: ClassVar[str] = "jpeg"
    ranks: ClassVar[tuple[int, ...]] = (2,)
    linear: ClassVar[bool] = False

    def __init__(self, quality: int | Mapping[int, Sequence[int]]):
        super().__init__(0.0)
        if isinstance(quality, Mapping):
            self.tables = [list(quality[number]) for number in sorted(quality)][:2]
            if not self.tables or any(len(t) != SIDE**2 or min(t) < 1 for t in self.tables):
                raise UserError("a quantization table of JPEG holds 64 steps of 1 or more")
            return
        if not 1 <= quality <= 100:
            raise UserError(f"the quality of JPEG lies in 1 to 100, not {quality}")
        percent = 5000 // quality if quality < 50 else 200 - 2 * quality
        scaled = (torch.tensor([LUMINANCE, CHROMINANCE]) * percent + 50) // 100
        self.tables = scaled.clamp(1, 255).flatten(1).tolist()

    def steps(self, channels: int, like: Tensor) -> Float[Tensor, "C 1 1 8 8"]:
        """Widths of the intervals in units of 1/255.

        `like` gives dtype and device.
        """
        if channels not in (1, 3):
            raise UserError(f"JPEG holds pictures of 1 or 3 channels, not {channels}")
        tables = torch.tensor([self.tables[0], *[self.tables[-1]] * (channels - 1)])
        return tables.view(channels, 1, 1, SIDE, SIDE).to(like)

    @property
    def level(self) -> float:
        """Noise level at which a denoiser of white noise removes the rounding errors of brightness.

        Half the mean width of the intervals of the 16 lowest frequencies; chosen on photographs that were not in
        training.
        """
        return 0.5 * float(self.steps(1, torch.zeros(()))[..., :4, :4].mean()) / 255

    def explains(self, y: Float[Tensor, "B C H W"]) -> bool:
        """Whether y was decoded from a file with these tables and not changed since."""
        steps = self.steps(y.shape[1], y)
        ratio = (self._coefficients(y) / steps)[:, :1]
        rest = (ratio - ratio.round()).abs() * steps[:1]
        return float(rest.median()) < UNCHANGED

    def A(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        steps = self.steps(x.shape[1], x)
        with torch.no_grad():
            decoded = self._picture((self._coefficients(x) / steps).round() * steps, x)
        return x + (decoded - x).detach()

    def A_adjoint(self, y: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        return y

    def correction(
        self, residual: Float[Tensor, "B ..."], damping: float | Float[Tensor, "..."]
    ) -> Float[Tensor, "B C ..."]:
        return residual / (1 + damping)

    def proximal(
        self, x: Float[Tensor, "B C H W"], y: Float[Tensor, "B C H W"], damping: float | Float[Tensor, "..."]
    ) -> Float[Tensor, "B C H W"]:
        """Clamp the coefficients of x to the intervals that are rounded to those of y; `damping` is ignored."""
        steps = self.steps(x.shape[1], x)
        middle = (self._coefficients(y) / steps).round() * steps
        mine = self._coefficients(x)
        return self._picture(mine.clamp(middle - steps / 2, middle + steps / 2), x)

    def _coefficients(self, x: Tensor) -> Tensor:
        """Coefficients `[B, C, rows, columns, 8, 8]` of luminance and colour differences, in units of 1/255."""
        levels = x * 255
        if x.shape[1] == 3:
            levels = torch.einsum("ij,bjhw->bihw", x.new_tensor(YCBCR), levels)
        middle = x.new_zeros(x.shape[1], 1, 1)
        middle[0] = 128
        height, width = x.shape[2:]
        wide = F.pad(levels - middle, (0, -width % SIDE, 0, -height % SIDE), mode="replicate")
        blocks = wide.unfold(2, SIDE, SIDE).unfold(3, SIDE, SIDE)
        basis = _cosines(x)
        return basis @ blocks @ basis.t()

    def _picture(self, coefficients: Tensor, like: Tensor) -> Tensor:
        basis = _cosines(like)
        blocks = basis.t() @ coefficients @ basis
        batch, channels, rows, columns = blocks.shape[:4]
        levels = blocks.transpose(3, 4).reshape(batch, channels, rows * SIDE, columns * SIDE)
        levels = levels[..., : like.shape[2], : like.shape[3]]
        middle = like.new_zeros(channels, 1, 1)
        middle[0] = 128
        levels = levels + middle
        if channels == 3:
            levels = torch.einsum("ij,bjhw->bihw", torch.linalg.inv(like.new_tensor(YCBCR)), levels)
        return levels / 255


def _cosines(like: Tensor) -> Float[Tensor, "8 8"]:
    """Orthonormal discrete cosine transform of type II, one frequency per row."""
    place = torch.arange(SIDE, dtype=torch.float64)
    basis = (math.pi * (place + 0.5) * place[:, None] / SIDE).cos() * math.sqrt(2 / SIDE)
    basis[0] /= math.sqrt(2)
    return basis.to(like)
