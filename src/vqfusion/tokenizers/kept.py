"""Saving and loading of tokenizers, in a folder of their own or as part of a system."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vqfusion.config import validated
from vqfusion.errors import UserError
from vqfusion.nn.pretrained import Pretrained, Stored
from vqfusion.nn.weights import load_with_metadata, save_weights
from vqfusion.tokenizers.codec.entropy_model import EntropyModel
from vqfusion.tokenizers.familiarity import Familiarity


class KeptTokenizer(Pretrained):
    """A tokenizer that can be saved to a folder of its own, or under a `name` to the folder of a system.

    `entropy_model` gives the probability of each code given its neighbours, for the codec, and `familiarity` says
    whether a sample is like the training data; not every tokenizer has them.
    """

    kind: ClassVar[str] = "tokenizer"
    entropy_model: EntropyModel | None = None
    familiarity: Familiarity | None = None

    def fingerprint(self) -> str:
        """Identifier that changes whenever the meaning of an id changes."""
        raise NotImplementedError

    def write_own(self, folder: Path, name: str | None) -> None:
        """Write everything that is neither in the config nor in the entropy model and the familiarity."""
        raise NotImplementedError

    @classmethod
    def read_own(cls, config: Any, folder: Path, name: str | None) -> Any:
        """Load what `write_own` wrote."""
        raise NotImplementedError

    def write(self, folder: Path, name: str | None = None) -> None:
        """Write everything but the config."""
        self.write_own(folder, name)
        save_entropy_model(self, folder, name)
        save_familiarity(self, folder, name)

    @classmethod
    def read(cls, config: Any, folder: Path, name: str | None = None) -> Any:
        """Load what `write` wrote, in evaluation mode.

        Args:
            config: Config of the tokenizer.
            folder: Folder of the tokenizer or of the system.
            name: Name in the system; None in a folder of its own.

        Returns:
            The tokenizer.
        """
        tokenizer = cls.read_own(config, folder, name)
        tokenizer.entropy_model = load_entropy_model(tokenizer, folder, name)
        tokenizer.familiarity = load_familiarity(tokenizer, folder, name)
        return tokenizer

    def write_parts(self, folder: Path) -> dict[str, Any]:
        self.write(folder)
        return {}

    @classmethod
    def read_parts(cls, stored: Stored, device: torch.device) -> Any:
        held, own = stored.config.get("kind"), cls.config_type.model_fields["kind"].default
        if held != own:
            what = f"holds a tokenizer of kind {held!r}, not {own!r}"
            raise UserError(f"{stored.folder}: {what}; vqfusion.load opens every kind")
        config = validated(cls.config_type, stored.config, f"{stored.folder}/config.json")
        tokenizer = cls.read(config, stored.folder)
        return tokenizer.to(device) if isinstance(tokenizer, nn.Module) else tokenizer


def entropy_path(folder: Path, name: str | None) -> Path:
    """File of the entropy model of a tokenizer."""
    return _beside(folder, "entropy", name)


def save_entropy_model(tokenizer: KeptTokenizer, folder: Path, name: str | None = None) -> None:
    """Write the entropy model of a tokenizer, if it has one, with the fingerprint of the tokenizer as metadata."""
    if tokenizer.entropy_model is not None:
        _save(tokenizer, entropy_path(folder, name), tokenizer.entropy_model.tensors())


def load_entropy_model(tokenizer: KeptTokenizer, folder: Path, name: str | None = None) -> EntropyModel | None:
    """Entropy model of a tokenizer; None where there is none, or it belongs to another state of the tokenizer."""
    found: EntropyModel | None = _load(tokenizer, entropy_path(folder, name), EntropyModel.from_tensors)
    return found


def save_familiarity(tokenizer: KeptTokenizer, folder: Path, name: str | None = None) -> None:
    """Write the familiarity of a tokenizer, if it has one, with the fingerprint of the tokenizer as metadata."""
    if tokenizer.familiarity is not None:
        _save(tokenizer, _beside(folder, "familiarity", name), tokenizer.familiarity.tensors())


def load_familiarity(tokenizer: KeptTokenizer, folder: Path, name: str | None = None) -> Familiarity | None:
    """Familiarity of a tokenizer; None where there is none, or it belongs to another state of the tokenizer."""
    found: Familiarity | None = _load(tokenizer, _beside(folder, "familiarity", name), Familiarity.from_tensors)
    return found


def _beside(folder: Path, what: str, name: str | None) -> Path:
    return folder / (f"{what}-{name}.safetensors" if name else f"{what}.safetensors")


def _save(tokenizer: KeptTokenizer, path: Path, tensors: dict[str, Tensor]) -> None:
    save_weights(path, tensors, {"tokenizer": tokenizer.fingerprint()})


def _load(tokenizer: KeptTokenizer, path: Path, made_from: Callable[[dict[str, Tensor]], Any]) -> Any:
    """What a file holds; None where there is no file, or it belongs to another state of the tokenizer."""
    if not path.exists():
        return None
    tensors, metadata = load_with_metadata(path)
    try:
        return made_from(tensors) if metadata.get("tokenizer") == tokenizer.fingerprint() else None
    except ValueError as error:
        raise UserError(f"{path}: {error}; restore the original file or delete it") from None
