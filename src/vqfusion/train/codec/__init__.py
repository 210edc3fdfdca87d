"""Training of tokenizers and of entropy models."""

from vqfusion.lazy import public

__getattr__, __dir__, __all__ = public(
    __name__,
    entropy="fit_entropy_model",
    tokenizers="train_tokenizer",
)
