"""Index backpropagation quantization (IBQ): the gradient of the decoder reaches all codes."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.tokenizers.quantizers.codebook import all_mean
from vqfusion.tokenizers.quantizers.gradient import GradientVectorQuantizer
from vqfusion.tokenizers.quantizers.relaxation import centered_scores, entropy, entropy_of, over_rows
from vqfusion.tokenizers.quantizers.rows import Rows


class IndexBackpropagationQuantizer(GradientVectorQuantizer):
    """Index backpropagation quantization: Shi et al. (2024), "IBQ", section 3.2.

    The output in training is q = (onehot + p - sg[p]) C: the value of the nearest code with the gradient of p =
    softmax(-|x - c|^2 / (2 t)) over all codes, t the `temperature`. (The paper uses inner products, with which Q(Q(z))
    need not be Q(z).) The loss is |q - x|^2, plus the two losses of `GradientVectorQuantizer`, plus `entropy_weight`
    times the mean entropy of p minus the entropy of its mean, at `entropy_temperature`. Further arguments as in
    `LearnedCodebook`.
    """

    def __init__(
        self,
        dim: int | None = None,
        codebook_size: int | None = None,
        *,
        temperature: float = 1.0,
        entropy_weight: float = 0.05,
        entropy_temperature: float = 0.1,
        commitment_weight: float = 1.0,
        codebook_weight: float = 0.25,
        **options: Any,
    ):
        super().__init__(
            dim, codebook_size, commitment_weight=commitment_weight, codebook_weight=codebook_weight, **options
        )
        self.temperature = temperature
        self.entropy_weight = entropy_weight
        self.entropy_temperature = entropy_temperature

    def output(self, x: Float[Tensor, "N D"], codes: Float[Tensor, "N D"], rows: Rows):
        weighted = torch.cat([x, rows.weights()[:, None]], dim=1)
        mixture, sample, shares = over_rows(self._scores, weighted, self.codes())
        shares = shares.sum(dim=0)
        sample_entropy = rows.mean(sample)
        shares = shares / shares.detach().sum().clamp(min=1e-12)
        batch_entropy = entropy_of(all_mean(shares, len(x)) if self.training else shares)
        quantized = codes + mixture - mixture.detach() if self.training else self.estimate(x, codes, rows)
        index = rows.distance(quantized, x)
        loss, losses = self.quantization_losses(x, codes, rows)
        entropies = {"sample_entropy": sample_entropy, "batch_entropy": batch_entropy}
        total = loss + index + self.entropy_weight * (sample_entropy - batch_entropy)
        return quantized, total, {**losses, "index": index, **entropies}

    def _scores(self, weighted: Tensor, place: int, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """For a chunk: sum_k p_k sg[c_k], the entropies, and the weighted sum of p as one row."""
        x, weight = weighted[:, :-1], weighted[:, -1:]
        scores = centered_scores(x, table)
        log_p = (scores / self.entropy_temperature).log_softmax(dim=1)
        mixture = (scores / self.temperature).softmax(dim=1) @ table.detach()
        return mixture, entropy(log_p), weight.t() @ log_p.exp()
