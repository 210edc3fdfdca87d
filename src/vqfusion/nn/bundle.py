"""What travels with a model: its files, its measurements and its card, in a new folder."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from vqfusion.errors import UserError
from vqfusion.nn.archive import SUFFIX, pack
from vqfusion.nn.card import CARD, card, own_card
from vqfusion.nn.weights import load_weights

# measured on the weights, or said about them: not written by `save_pretrained`
BESIDE = ("eval.json", "intervals-*.json", "unfinished.json", "sources.tsv", "LICENSE*", "NOTICE*")


def write_bundle(model: Any, folder: Path, name: str, licence: str | None = None) -> None:
    """Write everything that a model is elsewhere to an empty folder.

    Scores, calibrated intervals and sources in the folder that the model was loaded from go along where its weights
    are still those; data, checkpoints and logs of a training never do. A card that was written by hand is kept.

    Args:
        model: The model.
        folder: Empty folder.
        name: Argument of `vqfusion.load` in the generated card.
        licence: Licence of the weights for the generated card, such as `cc-by-4.0`.

    Raises:
        UserError: A licence is given, but the card was written by hand.
    """
    known: Path | None = model.folder
    page = own_card(known) if known else None
    if page is not None and licence is not None:
        raise UserError(f"{known}/{CARD}: was written by hand; state the licence in it, and leave out --licence")
    model.save_pretrained(folder)
    if known is not None and _same_weights(folder, known):
        for path in folder.glob("*.safetensors"):  # byte for byte: calibrations name the hash of the file
            shutil.copyfile(known / path.name, path)
        for pattern in BESIDE:
            for path in known.glob(pattern):
                if path.is_file():
                    shutil.copyfile(path, folder / path.name)
    (folder / CARD).write_text(page or card(model, known or folder, name, licence), encoding="utf-8")


def export_zip(model: Any, path: Path, licence: str | None = None, overwrite: bool = False) -> None:
    """Write a model to one zip, which `vqfusion.load` opens.

    Args:
        model: The model.
        path: File to make; its name ends in .zip.
        licence: Licence of the weights for the generated card, such as `cc-by-4.0`.
        overwrite: Replace an existing file.

    Raises:
        UserError: The file exists or cannot be written, has another suffix, or a licence is given where the card was
            written by hand.
    """
    if path.suffix.lower() != SUFFIX:
        raise UserError(f"{path}: the name must end in {SUFFIX}")
    with TemporaryDirectory(prefix="vqfusion-") as folder:
        write_bundle(model, Path(folder), path.name, licence)
        pack(Path(folder), path, overwrite)


def _same_weights(new: Path, known: Path) -> bool:
    """Whether the weights in two folders are the same tensors."""
    for path in new.glob("*.safetensors"):
        if not (known / path.name).is_file():
            return False
        ours, theirs = load_weights(path), load_weights(known / path.name)
        if ours.keys() != theirs.keys():
            return False
        if not all(torch.equal(tensor, theirs[key].to(tensor.dtype)) for key, tensor in ours.items()):
            return False
    return True
