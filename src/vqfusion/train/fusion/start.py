"""Fine-tuning: initialisation of a chain from a trained system."""

import torch

from vqfusion.config import ChainConfig
from vqfusion.errors import UserError
from vqfusion.models.fusion.fusion import Fusion, module_key
from vqfusion.models.fusion.pretrained import Parts
from vqfusion.tokenizers.base import BaseTokenizer


def adopted_tokenizers(chain: ChainConfig, start: Parts) -> tuple[ChainConfig, dict[str, BaseTokenizer]]:
    """Tokenizers that the chain takes over unchanged, and the chain with their configs.

    Picture, sound and text tokenizers of the same name are taken over; class names come from the data.
    """
    adopted = {
        name: start.tokenizers.by_name[name]
        for name, config in chain.tokenizers.items()
        if name in start.config.tokenizers
        and config.kind == start.config.tokenizers[name].kind
        and not start.tokenizers.by_name[name].closed
    }
    configs = {**chain.tokenizers, **{name: start.config.tokenizers[name] for name in adopted}}
    return chain.model_copy(update={"tokenizers": configs}), adopted


def require_same_size(chain: ChainConfig, start: Parts) -> None:
    """Raise UserError where the trained transformer has another size."""
    if start.fusion is None or not chain.fusion.slots:
        return
    old, new = ((one.dim, one.layers, one.heads) for one in (start.config.fusion, chain.fusion))
    if old != new:
        sizes = ["{} wide with {} layers and {} heads".format(*size) for size in (old, new)]
        raise UserError(
            f"the model to start from is {sizes[0]}, this one {sizes[1]}; in a short YAML file `size: base` is the "
            "size of emoji"
        )


@torch.no_grad()
def copy_weights(fusion: Fusion, tokenizers: dict[str, BaseTokenizer], start: Parts) -> list[str]:
    """Copy every weight that has the same meaning in both systems; returns the names of the others.

    Slots are matched by name; embeddings of classes only where the lists of names agree.
    """
    assert start.fusion is not None, "the caller looks"
    source, target, fresh = start.fusion.state_dict(), fusion.state_dict(), []
    known = start.tokenizers.by_name
    changed = {
        module_key(name)
        for name, tokenizer in tokenizers.items()
        if tokenizer.closed
        and not ((other := known.get(name)) is not None and other.closed and other.names == tokenizer.names)
    }
    for name, tensor in target.items():
        if name == "slot_embedding.weight":
            for slot, row in fusion.slot_ids.items():
                if slot in start.fusion.slot_ids:
                    tensor[row] = source[name][start.fusion.slot_ids[slot]]
        elif changed.isdisjoint(name.split(".")) and name in source and source[name].shape == tensor.shape:
            tensor.copy_(source[name])
        else:
            fresh.append(name)
    return fresh
