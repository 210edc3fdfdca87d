"""Conformance checks: whether a quantizer or a tokenizer keeps its contract."""

from vqfusion.lazy import public

__getattr__, __dir__, __all__ = public(
    __name__,
    check="Report check_quantizer check_tokenizer",
    contracts="CONTRACTS NotApplicable",
)
