"""SAMPLE <-> TOKENS: tokenizers of every modality, their quantizers and codecs; imported when first used."""

from importlib import import_module
from typing import Any

_HOME = {
    "AudioTokenizer": "audio", "BaseTokenizer": "base", "build_network": "build", "GaussianVQVAE": "gaussian_vqvae",
    "bits_per_dim": "gaussian_vqvae", "ImageTokenizer": "image", "LabelTokenizer": "label",
    "TokenizerNetwork": "network", "search_codes": "search", "SeriesTokenizer": "series", "SignalTokenizer": "signal",
    "StandardisedTokenizer": "standardised", "TextTokenizer": "text", "TextVQVAETokenizer": "text_vqvae",
    "VolumeTokenizer": "volume", "VQVAE": "vqvae", "QUANTIZERS": "quantizers", "vector_quantizer": "quantizers",
    "check_quantizer": "conformance.check", "check_tokenizer": "conformance.check",
}  # fmt: skip

__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
