"""Vector quantization with a codebook that is learned by gradient."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from vqfusion.tokenizers.quantizers.codebook import LearnedCodebook, initial_codes
from vqfusion.tokenizers.quantizers.rows import Rows


class GradientVectorQuantizer(LearnedCodebook):
    """Nearest code of a codebook that is a parameter: van den Oord, Vinyals, Kavukcuoglu (2017), eq. 3.

    The loss is `codebook_weight` |sg[x] - c|^2, which moves the codes, plus `commitment_weight` |x - sg[c]|^2, which
    moves the vectors. With `estimator="diveq"` the codes also learn from the decoder, and both weights may be zero.
    Further arguments as in `LearnedCodebook`; `decay` is that of the counts that identify dead codes.
    """

    def __init__(
        self, dim: int | None = None, codebook_size: int | None = None, *, codebook_weight: float = 1.0, **options: Any
    ):
        super().__init__(dim, codebook_size, **options)
        self.codebook_weight = codebook_weight
        self.codebook = nn.Parameter(initial_codes(self.codebook_size, self.dim))

    def quantization_losses(self, x: Float[Tensor, "N D"], codes: Float[Tensor, "N D"], rows: Rows):
        commitment = rows.distance(x, codes.detach())
        codebook = rows.distance(x.detach(), codes)
        loss = self.commitment_weight * commitment + self.codebook_weight * codebook
        return loss, {"commitment": commitment, "codebook": codebook}
