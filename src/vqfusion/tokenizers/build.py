"""Builds and loads the tokenizer that a config describes."""

from pathlib import Path
from typing import Any

from vqfusion.config import TokenizerConfig
from vqfusion.errors import UserError
from vqfusion.modalities import MODALITIES, SIGNALS, imported
from vqfusion.nn.pretrained import read_stored
from vqfusion.tokenizers.base import BaseTokenizer
from vqfusion.tokenizers.label import LabelTokenizer
from vqfusion.tokenizers.network import TokenizerNetwork
from vqfusion.tokenizers.photo import PhotoTokenizer
from vqfusion.tokenizers.text import TextTokenizer
from vqfusion.tokenizers.text_vqvae import TextVQVAETokenizer

NETWORKS: dict[str, Any] = {
    **{name: imported(MODALITIES[name].tokenizer) for name in SIGNALS},
    "text-vqvae": TextVQVAETokenizer,
    "photo": PhotoTokenizer,
}
TOKENIZERS: dict[str, type[BaseTokenizer]] = {**NETWORKS, "text": TextTokenizer, "label": LabelTokenizer}


def open_tokenizer(folder: str | Path, device: str | None = "cpu") -> BaseTokenizer:
    """Load a tokenizer of any kind from its own folder; see `Pretrained.from_pretrained`."""
    kind = read_stored(folder).config.get("kind")
    if kind not in TOKENIZERS:
        raise UserError(f"{folder}: holds a tokenizer of kind {kind!r}; known: {', '.join(TOKENIZERS)}")
    return TOKENIZERS[kind].from_pretrained(folder, device)


def build_network(config: TokenizerConfig) -> TokenizerNetwork | PhotoTokenizer | None:
    """Build the untrained network of a tokenizer; None for tokenizers without one (text, labels)."""
    kind = NETWORKS.get(config.kind)
    return kind(config) if kind else None


def load_tokenizer(config: TokenizerConfig, folder: Path, name: str) -> BaseTokenizer:
    """Load a tokenizer of a system, in evaluation mode.

    Args:
        config: Config of the tokenizer.
        folder: Folder of the system.
        name: Name of the tokenizer in the system.

    Returns:
        The tokenizer.
    """
    found: Any = TOKENIZERS[config.kind].read(config, folder, name)
    return found
