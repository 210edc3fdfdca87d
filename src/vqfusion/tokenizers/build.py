"""The tokenizer that a config names, where it is a network."""

from collections.abc import Callable
from typing import Any

from vqfusion.config import TokenizerConfig
from vqfusion.modalities import MODALITIES, SIGNALS, imported
from vqfusion.tokenizers.network import TokenizerNetwork
from vqfusion.tokenizers.text_vqvae import TextVQVAETokenizer

NETWORKS: dict[str, Callable[[Any], TokenizerNetwork]] = {
    **{name: imported(MODALITIES[name].tokenizer) for name in SIGNALS},
    "text-vqvae": TextVQVAETokenizer,
}


def build_network(config: TokenizerConfig) -> TokenizerNetwork | None:
    """An untrained network with `vqvae` and `loss`; None for vocabularies, which are counted, not trained."""
    kind = NETWORKS.get(config.kind)
    return kind(config) if kind else None
