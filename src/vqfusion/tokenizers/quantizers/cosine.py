"""Vector quantization by cosine similarity."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vqfusion.tokenizers.quantizers.codebook import LearnedCodebook
from vqfusion.tokenizers.quantizers.gradient import GradientVectorQuantizer
from vqfusion.tokenizers.quantizers.vector import VectorQuantizer

SMALLEST_NORM = 1e-6


class OnSphere(LearnedCodebook):
    """Mixin that normalises vectors and codes to length one: Yu et al. (2021), "ViT-VQGAN", section 3.2.

    On the unit sphere the nearest code is the one with the largest cosine similarity. The decoder receives unit
    vectors.
    """

    def transform(self, x: Float[Tensor, "*N D"]) -> Float[Tensor, "*N D"]:
        return F.normalize(x, dim=-1, eps=SMALLEST_NORM)

    def codes(self) -> Float[Tensor, "K D"]:
        return F.normalize(super().codes(), dim=-1, eps=SMALLEST_NORM)


class CosineVectorQuantizer(OnSphere, VectorQuantizer):
    """`VectorQuantizer` on the unit sphere: a code is the mean direction of its vectors."""


class CosineGradientVectorQuantizer(OnSphere, GradientVectorQuantizer):
    """`GradientVectorQuantizer` on the unit sphere."""
