"""Transform coding: linear and convolutional transforms, a context model, and its coder in integers."""

from vqfusion.lazy import public

__getattr__, __dir__, __all__ = public(
    __name__,
    coder="LatentCoder",
    context="ContextModel",
    networks="Analysis Synthesis",
)
