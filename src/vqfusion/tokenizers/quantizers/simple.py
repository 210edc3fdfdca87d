"""SimVQ: a learned linear map of frozen codes."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vqfusion.tokenizers.quantizers.codebook import CodebookQuantizer, initial_codes
from vqfusion.tokenizers.quantizers.rows import Rows


class SimVectorQuantizer(CodebookQuantizer):
    """Codes are frozen Gaussian vectors times a learned matrix: Zhu et al. (2024), "SimVQ", section 3.

    Every step moves all codes, including those that no vector selected, so that no code dies. The loss is
    `codebook_weight`
    |sg[x] - c|^2 + `commitment_weight` |x - sg[c]|^2. Other arguments as in `Quantizer`.
    """

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        *,
        commitment_weight: float = 0.25,
        codebook_weight: float = 1.0,
        estimator: str = "ste",
        channel_first: bool = False,
    ):
        super().__init__(dim, codebook_size, channel_first, estimator)
        self.commitment_weight = commitment_weight
        self.codebook_weight = codebook_weight
        self.register_buffer("frozen", initial_codes(codebook_size, dim))
        self.weight = nn.Parameter(torch.eye(dim))

    def codes(self) -> Float[Tensor, "K D"]:
        return self.frozen @ self.weight

    def quantization_losses(self, x: Float[Tensor, "N D"], codes: Float[Tensor, "N D"], rows: Rows):
        commitment = rows.distance(x, codes.detach())
        codebook = rows.distance(x.detach(), codes)
        loss = self.commitment_weight * commitment + self.codebook_weight * codebook
        return loss, {"commitment": commitment, "codebook": codebook}
