"""A System on disk: config.json with the data contract, safetensors, vocabularies."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from safetensors import safe_open
from torch import nn

from vqfusion.config import ChainConfig, LabelTokenizerConfig, TokenizerConfig, validated
from vqfusion.errors import UserError
from vqfusion.models.fusion.fusion import Fusion
from vqfusion.models.fusion.slot_tokenizers import SlotTokenizers
from vqfusion.models.fusion.taught import Taught
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
from vqfusion.tokenizers.base import BaseTokenizer
from vqfusion.tokenizers.build import build_network
from vqfusion.tokenizers.codec.entropy_model import EntropyModel
from vqfusion.tokenizers.label import LabelTokenizer
from vqfusion.tokenizers.network import TokenizerNetwork
from vqfusion.tokenizers.text import TextTokenizer

NAMES = "names.json"


@dataclass(frozen=True)
class Parts:
    """What a System is made of; `fusion` is None where the chain has tokenizers only.

    `taught` has the names that it learned, where it learned names.
    """

    config: ChainConfig
    tokenizers: SlotTokenizers
    fusion: Fusion | None
    taught: Taught = field(default_factory=Taught)


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
    if parts.fusion is not None:
        save_weights(folder / "fusion.safetensors", half_precision(parts.fusion.state_dict()))
    if parts.taught.names:
        save_json(folder / NAMES, parts.taught.names)
    save_json(folder / "config.json", contract)


def load_parts(folder: Path, device: str | None = "cpu") -> Parts:
    """Read a system back. A tokenizer that is not the one Fusion was trained on is refused."""
    slots = load_tokenizers(folder, device)
    config, chosen = slots.config, pick_device(device)
    if not config.fusion.slots:
        return Parts(config, slots, None)
    with _buildable(folder):
        fusion = Fusion(config.fusion, slots.vocabularies)
    load_into(fusion, load_weights(folder / "fusion.safetensors"), folder / "fusion.safetensors")
    return Parts(config, slots, fusion.to(chosen), _load_taught(folder / NAMES))


def load_tokenizers(folder: Path, device: str | None = "cpu") -> SlotTokenizers:
    """The tokenizers of a system alone, with its config."""
    stored = load_json(folder / "config.json")
    if "kind" in stored:
        raise UserError(f"{folder}: a {stored['kind']} model; this needs one with tokenizers, such as emoji")
    trained_on = stored.get("fingerprints")
    if stored.get("format") != FORMAT_VERSION or "chain" not in stored or not isinstance(trained_on, dict):
        raise UserError(f"{folder}: not a vqfusion model of format {FORMAT_VERSION}")
    chosen = pick_device(device)
    config = validated(ChainConfig, stored["chain"], f"{folder}/config.json")
    tokenizers = {name: load_tokenizer(one, folder, name) for name, one in config.tokenizers.items()}
    for name, tokenizer in tokenizers.items():
        if tokenizer.fingerprint() != trained_on.get(name):
            raise UserError(
                f"{folder}: tokenizer {name!r} is not the one this model was trained on "
                f"({tokenizer.fingerprint()} instead of {trained_on.get(name)}); restore the original file"
            )
        if isinstance(tokenizer, nn.Module):
            tokenizer.to(chosen).eval()
    return SlotTokenizers(config, tokenizers)


def _load_taught(path: Path) -> Taught:
    """The names that a system learned, where it learned names."""
    names = load_json(path) if path.exists() else {}
    if not all(isinstance(texts, list) and all(isinstance(text, str) for text in texts) for texts in names.values()):
        raise UserError(f"{path}: not lists of names; restore the original file")
    return Taught(names)


@contextmanager
def _buildable(folder: Path) -> Iterator[None]:
    """A config whose values fit no network is one line that names the folder."""
    try:
        yield
    except (ValueError, RuntimeError, TypeError, ArithmeticError, LookupError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{folder}/config.json: no network can be built from it ({reason})") from None


def save_tokenizer(tokenizer: BaseTokenizer, folder: Path, name: str) -> None:
    """Write one tokenizer; closed lists of names live in the config alone."""
    if isinstance(tokenizer, TextTokenizer):
        tokenizer.save(folder / f"{name}.json")
    elif isinstance(tokenizer, TokenizerNetwork):
        save_weights(folder / f"tokenizer-{name}.safetensors", half_precision(tokenizer.state_dict()))


def load_tokenizer(config: TokenizerConfig, folder: Path, name: str) -> BaseTokenizer:
    """Read one tokenizer."""
    if isinstance(config, LabelTokenizerConfig):
        return LabelTokenizer(config.names, "label")
    with _buildable(folder):
        network = build_network(config)
    if network is not None:
        path = folder / f"tokenizer-{name}.safetensors"
        load_into(network, load_weights(path), path)
        return network.eval()
    return TextTokenizer.load(folder / f"{name}.json")


def save_entropy_model(model: EntropyModel, folder: Path, name: str, fingerprint: str) -> None:
    """Write the entropy model of a tokenizer, beside it and marked with its fingerprint."""
    save_weights(folder / f"entropy-{name}.safetensors", model.tensors(), {"tokenizer": fingerprint})


def load_entropy_model(folder: Path, name: str, fingerprint: str) -> EntropyModel | None:
    """The entropy model of a tokenizer; None where there is none, or it was made for another state of it."""
    path = folder / f"entropy-{name}.safetensors"
    if not path.exists():
        return None
    tensors = load_weights(path)
    with safe_open(path, "pt") as file:
        made_for = (file.metadata() or {}).get("tokenizer")
    try:
        return EntropyModel.from_tensors(tensors) if made_for == fingerprint else None
    except ValueError as error:
        raise UserError(f"{path}: {error}; restore the original file or delete it") from None
