"""Quantizers: vectors to code indices and back, with one interface (see `base.py`)."""

from typing import Any

from vqfusion.deprecated import old_name
from vqfusion.tokenizers.quantizers.base import Quantizer
from vqfusion.tokenizers.quantizers.binary import BinarySphericalQuantizer, LookupFreeQuantizer
from vqfusion.tokenizers.quantizers.cosine import CosineGradientVectorQuantizer, CosineVectorQuantizer
from vqfusion.tokenizers.quantizers.described import COMPOSED, QUANTIZERS
from vqfusion.tokenizers.quantizers.estimators import ESTIMATORS
from vqfusion.tokenizers.quantizers.factory import make_quantizer
from vqfusion.tokenizers.quantizers.finite_scalar import FiniteScalarQuantizer
from vqfusion.tokenizers.quantizers.gradient import GradientVectorQuantizer
from vqfusion.tokenizers.quantizers.gumbel import (
    GumbelVectorQuantizer,
    StochasticSphericalQuantizer,
    StochasticVectorQuantizer,
)
from vqfusion.tokenizers.quantizers.hierarchical import HierarchicalVectorQuantizer
from vqfusion.tokenizers.quantizers.index_backpropagation import IndexBackpropagationQuantizer
from vqfusion.tokenizers.quantizers.multi_head import MultiHead, MultiHeadVectorQuantizer
from vqfusion.tokenizers.quantizers.projected import Projected, ProjectedVectorQuantizer
from vqfusion.tokenizers.quantizers.relaxed import SoftVectorQuantizer
from vqfusion.tokenizers.quantizers.residual import (
    GroupedResidualVectorQuantizer,
    Residual,
    ResidualVectorQuantizer,
)
from vqfusion.tokenizers.quantizers.residual_finite_scalar import ResidualFiniteScalarQuantizer
from vqfusion.tokenizers.quantizers.simple import SimVectorQuantizer
from vqfusion.tokenizers.quantizers.vector import VectorQuantizer

QUANTIZERS |= {
    "vq": VectorQuantizer,
    "gradient_vq": GradientVectorQuantizer,
    "cosine_vq": CosineVectorQuantizer,
    "cosine_gradient_vq": CosineGradientVectorQuantizer,
    "projected_vq": ProjectedVectorQuantizer,
    "multi_head_vq": MultiHeadVectorQuantizer,
    "residual_vq": ResidualVectorQuantizer,
    "grouped_residual_vq": GroupedResidualVectorQuantizer,
    "hierarchical_vq": HierarchicalVectorQuantizer,
    "soft_vq": SoftVectorQuantizer,
    "gumbel_vq": GumbelVectorQuantizer,
    "sq_vae": StochasticVectorQuantizer,
    "sq_vae_vmf": StochasticSphericalQuantizer,
    "sim_vq": SimVectorQuantizer,
    "ibq": IndexBackpropagationQuantizer,
    "fsq": FiniteScalarQuantizer,
    "residual_fsq": ResidualFiniteScalarQuantizer,
    "lfq": LookupFreeQuantizer,
    "bsq": BinarySphericalQuantizer,
}

COMPOSED |= {"multi_head": MultiHead, "projected": Projected, "residual": Residual}

__all__ = [
    "COMPOSED",
    "ESTIMATORS",
    "QUANTIZERS",
    "MultiHead",
    "Projected",
    "Quantizer",
    "Residual",
    "make_quantizer",
    *(kind.__name__ for kind in QUANTIZERS.values()),
]


def __getattr__(name: str) -> Any:
    return old_name(__name__, name)
