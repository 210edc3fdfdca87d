"""Saving and loading of a System: config.json with the data contract, safetensors, vocabularies."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vqfusion.config import ChainConfig, validated
from vqfusion.errors import UserError
from vqfusion.models.fusion.fusion import Fusion
from vqfusion.models.fusion.slot_tokenizers import SlotTokenizers
from vqfusion.models.fusion.taught import Taught
from vqfusion.nn.pretrained import Stored, buildable
from vqfusion.nn.weights import (
    half_precision,
    load_into,
    load_json,
    load_weights,
    require_room,
    save_json,
    save_weights,
)
from vqfusion.tokenizers.build import load_tokenizer

NAMES, TOGETHER = "names.json", "names_together.json"


@dataclass(frozen=True)
class Parts:
    """Parts of a System.

    Attributes:
        config: Config of the chain.
        tokenizers: Its tokenizers.
        fusion: Its transformer; None where the chain has tokenizers only.
        taught: The names that it was trained on, where the texts were names.
    """

    config: ChainConfig
    tokenizers: SlotTokenizers
    fusion: Fusion | None
    taught: Taught = field(default_factory=Taught)


def save_parts(parts: Parts, folder: Path) -> dict[str, Any]:
    """Write everything but the config; returns the fingerprint of each tokenizer that Fusion was trained on."""
    tokenizers = parts.tokenizers.by_name
    for name, tokenizer in tokenizers.items():
        tokenizer.write(folder, name)
    if parts.fusion is not None:
        save_weights(folder / "fusion.safetensors", half_precision(parts.fusion.state_dict()))
    if parts.taught.names:
        save_json(folder / NAMES, parts.taught.names)
    if parts.taught.together:
        save_json(folder / TOGETHER, parts.taught.stored_together())
    return {"fingerprints": {name: tokenizer.fingerprint() for name, tokenizer in tokenizers.items()}}


def load_parts(stored: Stored, device: torch.device) -> Parts:
    """Load a system; UserError where a tokenizer is not the one that Fusion was trained on."""
    slots, folder = load_tokenizers(stored, device), stored.folder
    config = slots.config
    if not config.fusion.slots:
        return Parts(config, slots, None)
    path = folder / "fusion.safetensors"
    require_room(path, config.fusion.least_parameters)
    with buildable(folder):
        fusion = Fusion(config.fusion, slots.vocabularies)
    load_into(fusion, load_weights(path), path)
    return Parts(config, slots, fusion.to(device), _load_taught(folder))


def load_tokenizers(stored: Stored, device: torch.device) -> SlotTokenizers:
    """Load the tokenizers of a system without its transformer."""
    folder, trained_on = stored.folder, stored.more.get("fingerprints")
    if stored.kind != "system":
        raise UserError(f"{folder}: holds a {stored.kind}; this needs a system, with tokenizers, such as emoji")
    if not isinstance(trained_on, dict):
        raise UserError(f"{folder}: not a vqfusion model: config.json has no fingerprints; restore the original file")
    config = validated(ChainConfig, stored.config, f"{folder}/config.json")
    tokenizers = {name: load_tokenizer(one, folder, name) for name, one in config.tokenizers.items()}
    for name, tokenizer in tokenizers.items():
        if tokenizer.fingerprint() != trained_on.get(name):
            raise UserError(
                f"{folder}: tokenizer {name!r} is not the one this model was trained on "
                f"({tokenizer.fingerprint()} instead of {trained_on.get(name)}); restore the original file"
            )
        if isinstance(tokenizer, nn.Module):
            tokenizer.to(device)
    return SlotTokenizers(config, tokenizers)


def _load_taught(folder: Path) -> Taught:
    """Load the names that a system was trained on, and their labels."""
    path, more = folder / NAMES, folder / TOGETHER
    names = load_json(path) if path.exists() else {}
    if not all(isinstance(texts, list) and all(isinstance(text, str) for text in texts) for texts in names.values()):
        raise UserError(f"{path}: not lists of names; restore the original file")
    try:
        return Taught.from_stored(names, load_json(more) if more.exists() else {})
    except (AttributeError, KeyError, TypeError, ValueError):
        raise UserError(f"{more}: does not fit {NAMES}; restore the original file") from None
