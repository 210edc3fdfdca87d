"""SAMPLE <-> TOKENS: tokenizers of every modality, their quantizers and codecs; imported when first used."""

from vqfusion.lazy import public

__getattr__, __dir__, __all__ = public(
    __name__,
    audio="AudioTokenizer",
    base="BaseTokenizer",
    build="build_network",
    conformance="check_quantizer check_tokenizer",
    gaussian_vqvae="GaussianVQVAE bits_per_dim",
    image="ImageTokenizer",
    label="LabelTokenizer",
    network="TokenizerNetwork",
    photo="PhotoTokenizer",
    quantizers="QUANTIZERS make_quantizer",
    search="search_codes",
    series="SeriesTokenizer",
    signal="SignalTokenizer",
    standardised="StandardisedTokenizer",
    text="TextTokenizer",
    text_vqvae="TextVQVAETokenizer",
    volume="VolumeTokenizer",
    vqvae="VQVAE",
)
