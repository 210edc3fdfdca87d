"""Factory of vector quantizers with any combination of options."""

from typing import Any

from vqfusion.tokenizers.quantizers.base import Quantizer
from vqfusion.tokenizers.quantizers.cosine import CosineGradientVectorQuantizer, CosineVectorQuantizer
from vqfusion.tokenizers.quantizers.gradient import GradientVectorQuantizer
from vqfusion.tokenizers.quantizers.multi_head import MultiHead
from vqfusion.tokenizers.quantizers.projected import Projected
from vqfusion.tokenizers.quantizers.residual import Residual
from vqfusion.tokenizers.quantizers.vector import VectorQuantizer


def make_quantizer(
    dim: int,
    codebook_size: int,
    *,
    use_cosine_sim: bool = False,
    learnable_codebook: bool = False,
    codebook_dim: int | None = None,
    heads: int = 1,
    num_quantizers: int = 1,
    quantizer_dropout: float = 0.0,
    estimator: str = "ste",
    channel_first: bool = False,
    **options: Any,
) -> Quantizer:
    """Build a vector quantizer with any combination of cosine codes, learned codebook, projection, heads and depth.

    Vectors are projected to dimension `codebook_dim`, split into `heads` equal parts, and each part is quantized with
    `num_quantizers` residual quantizers.

    Args:
        dim: Dimension of the vectors.
        codebook_size: Codes of each codebook.
        use_cosine_sim: Compare by cosine similarity.
        learnable_codebook: Learn the codebook by gradient instead of moving averages.
        codebook_dim: Dimension to project to; none by default.
        heads: Number of parts with a codebook each.
        num_quantizers: Number of residual quantizers of each part.
        quantizer_dropout: Probability that an item keeps only a random number of the residual codes in training.
        estimator: Gradient estimator, see `Quantizer`.
        channel_first: Layout, see `Quantizer`.
        **options: Further arguments of each codebook, see `LearnedCodebook`.

    Returns:
        The quantizer.

    Raises:
        ValueError: The dimension is not a multiple of `heads`.
    """
    width = codebook_dim or dim
    if width % heads:
        raise ValueError(f"codes of {width} cannot be split into {heads} heads; make it a multiple of heads")
    kind = {
        (False, False): VectorQuantizer,
        (False, True): GradientVectorQuantizer,
        (True, False): CosineVectorQuantizer,
        (True, True): CosineGradientVectorQuantizer,
    }[use_cosine_sim, learnable_codebook]
    whole = (codebook_dim is None) and heads == 1

    def one(layout: bool) -> Quantizer:
        if num_quantizers == 1:
            return kind(width // heads, codebook_size, estimator=estimator, channel_first=layout, **options)
        parts = [kind(width // heads, codebook_size, **options) for _ in range(num_quantizers)]
        return Residual(parts, quantizer_dropout, estimator, layout)

    if whole:
        return one(channel_first)
    if heads == 1:
        return Projected(one(False), dim, channel_first)
    several = MultiHead([one(False) for _ in range(heads)], channel_first and codebook_dim is None)
    return several if codebook_dim is None else Projected(several, dim, channel_first)
