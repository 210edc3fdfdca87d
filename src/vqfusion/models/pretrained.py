"""A System on disk: config.json with the data contract, safetensors, vocabularies."""

from dataclasses import dataclass
from pathlib import Path

from vqfusion.config import (
    AudioTokenizerConfig,
    ChainConfig,
    ImageTokenizerConfig,
    LabelTokenizerConfig,
    TokenizerConfig,
    validated,
)
from vqfusion.errors import UserError
from vqfusion.models.fusion import Fusion
from vqfusion.models.tokenize import AnyTokenizer, SlotTokenizers
from vqfusion.nn.weights import (
    FORMAT_VERSION,
    half_precision,
    load_into,
    load_json,
    load_weights,
    pick_device,
    save_json,
    save_weights,
)
from vqfusion.tokenizers.audio import AudioTokenizer
from vqfusion.tokenizers.image import ImageTokenizer
from vqfusion.tokenizers.label import LabelTokenizer
from vqfusion.tokenizers.text import TextTokenizer


@dataclass(frozen=True)
class Parts:
    """What a System is made of."""

    config: ChainConfig
    tokenizers: SlotTokenizers
    fusion: Fusion


def save_parts(parts: Parts, folder: Path) -> None:
    """Write a system; the config records the fingerprint of every tokenizer that Fusion was trained on."""
    tokenizers = parts.tokenizers.by_name
    contract = {
        "format": FORMAT_VERSION,
        "chain": parts.config.model_dump(mode="json"),
        "fingerprints": {name: tokenizer.fingerprint() for name, tokenizer in tokenizers.items()},
    }
    for name, tokenizer in tokenizers.items():
        save_tokenizer(tokenizer, folder, name)
    save_weights(folder / "fusion.safetensors", half_precision(parts.fusion.state_dict()))
    save_json(folder / "config.json", contract)


def load_parts(folder: Path, device: str | None = "cpu") -> Parts:
    """Read a system back. A tokenizer that is not the one Fusion was trained on is refused."""
    stored = load_json(folder / "config.json")
    if stored.get("format") != FORMAT_VERSION or "chain" not in stored:
        raise UserError(f"{folder}: not a vqfusion model of format {FORMAT_VERSION}")
    chosen = pick_device(device)
    config = validated(ChainConfig, stored["chain"], f"{folder}/config.json")
    tokenizers = {name: load_tokenizer(one, folder, name) for name, one in config.tokenizers.items()}
    trained_on = stored.get("fingerprints", {})
    for name, tokenizer in tokenizers.items():
        if tokenizer.fingerprint() != trained_on.get(name):
            raise UserError(
                f"{folder}: tokenizer {name!r} is not the one this model was trained on "
                f"({tokenizer.fingerprint()} instead of {trained_on.get(name)}); restore the original file"
            )
        if isinstance(tokenizer, ImageTokenizer | AudioTokenizer):
            tokenizer.to(chosen).eval()
    slots = SlotTokenizers(config, tokenizers)
    fusion = Fusion(config.fusion, slots.vocabularies)
    load_into(fusion, load_weights(folder / "fusion.safetensors"), folder / "fusion.safetensors")
    return Parts(config, slots, fusion.to(chosen))


def save_tokenizer(tokenizer: AnyTokenizer, folder: Path, name: str) -> None:
    """Write one tokenizer; closed lists of names live in the config alone."""
    if isinstance(tokenizer, TextTokenizer):
        tokenizer.save(folder / f"{name}.json")
    elif not isinstance(tokenizer, LabelTokenizer):
        save_weights(folder / f"tokenizer-{name}.safetensors", half_precision(tokenizer.state_dict()))


def load_tokenizer(config: TokenizerConfig, folder: Path, name: str) -> AnyTokenizer:
    """Read one tokenizer."""
    if isinstance(config, LabelTokenizerConfig):
        return LabelTokenizer(config.names, "label")
    if isinstance(config, ImageTokenizerConfig | AudioTokenizerConfig):
        path = folder / f"tokenizer-{name}.safetensors"
        network = ImageTokenizer(config) if isinstance(config, ImageTokenizerConfig) else AudioTokenizer(config)
        load_into(network, load_weights(path), path)
        return network.eval()
    return TextTokenizer.load(folder / f"{name}.json")
