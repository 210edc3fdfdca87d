"""Models in folders: config.json, safetensors and a card, written and read in one way for every kind."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, TypeVar

import torch
from torch import nn

from vqfusion.config import Config, validated
from vqfusion.errors import UserError
from vqfusion.nn.card import CARD, card, own_card, write_card
from vqfusion.nn.weights import (
    half_precision,
    load_into,
    load_json,
    load_weights,
    pick_device,
    require_room,
    save_json,
    save_weights,
)

FORMAT_VERSION = 2
WEIGHTS = "model.safetensors"
# format 1 kept the config of each kind under a key of its own
CONFIG_OF_FORMAT_1 = {
    "chain": "system",
    "prior": "prior",
    "latent_diffusion": "latent-diffusion",
    "diffusion_model": "diffusion-model",
}


AnyPretrained = TypeVar("AnyPretrained", bound="Pretrained")


@dataclass(frozen=True)
class Stored:
    """What a config.json says: the kind of the model, its config as plain values, and what else the kind keeps."""

    folder: Path
    kind: str
    config: dict[str, Any]
    more: dict[str, Any] = field(default_factory=dict)


def read_stored(folder: str | Path) -> Stored:
    """The config.json of a model of format 1 or 2; UserError where there is none."""
    folder = Path(folder)
    data = load_json(folder / "config.json")
    kind, config = data.pop("kind", None), data.pop("config", None)
    version = data.pop("format", None)
    if version == 1:
        for key, kind_of_key in CONFIG_OF_FORMAT_1.items():
            if key in data and kind in (None, kind_of_key):
                kind, config = kind_of_key, data.pop(key)
                break
    elif version != FORMAT_VERSION:
        kind = None
    if not isinstance(kind, str) or not isinstance(config, dict):
        raise UserError(f"{folder}: not a vqfusion model of format 1 or {FORMAT_VERSION}")
    return Stored(folder, kind, config, data)


class Pretrained:
    """The base of everything that lives in a folder; `vqfusion.load` opens what `save_pretrained` wrote.

    A kind has a name, a `config` of its `config_type` and, where it is a network, a file of `weights`. As they stand
    here, `write_parts` and `read_parts` are those of a torch module that is built from its config alone; other kinds
    give their own. `folder` is where a model was read from.
    """

    kind: ClassVar[str]
    config_type: ClassVar[type[Config]]
    config: Any
    weights: ClassVar[str] = WEIGHTS
    folder: Path | None = None

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json, the weights (matrices as float16 where that loses nothing) and a card to a folder.

        Raises ValueError where no config describes the model, and UserError where the folder cannot be written.
        """
        where, config = Path(folder), self.config
        if config is None:
            raise ValueError("parts of your own have no config: keep their state_dict, or build with from_config")
        more = self.write_parts(where)
        contract = {"format": FORMAT_VERSION, "kind": self.kind, "config": config.model_dump(mode="json"), **more}
        save_json(where / "config.json", contract)
        write_card(self, where)

    def push_to_hub(self, repo_id: str, private: bool = False, token: str | None = None) -> str:
        """Publish the model on the Hugging Face hub, with its card (that of its folder where it was written by hand).

        `vqfusion.load(repo_id)` opens it.

        Args:
            repo_id: `owner/name`; the repository is made where it is missing.
            private: Whether a new repository is seen by its owner alone.
            token: A token that may write; None takes that of `hf auth login`.

        Returns:
            The address of the commit.

        Raises:
            UserError: The hub did not take it: no such owner, no right to write, no connection.
        """
        from huggingface_hub import HfApi

        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            known = self.folder or Path(folder)
            page = own_card(known) or card(self, known, repo_id)
            (Path(folder) / CARD).write_text(page, encoding="utf-8")
            try:
                api = HfApi(token=token)
                api.create_repo(repo_id, private=private, exist_ok=True)
                return str(api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message="Model"))
            except Exception as error:  # the client raises errors of several libraries
                reason = " ".join(str(error).split())[:160]
                raise UserError(
                    f"{repo_id}: the hub did not take the model ({type(error).__name__}: {reason}); check the name, "
                    "the connection and `hf auth login`"
                ) from None

    @classmethod
    def from_pretrained(cls: type[AnyPretrained], folder: str | Path, device: str | None = "cpu") -> AnyPretrained:
        """Read what `save_pretrained` wrote, in evaluation mode.

        `device` is `cpu`, `cuda`, `cuda:1`, `mps`; None takes CUDA where there is one. UserError where the folder
        holds another kind of model, or where it is damaged.
        """
        stored = read_stored(folder)
        if stored.kind != cls.kind:
            raise UserError(f"{folder}: holds a {stored.kind}, not a {cls.kind}; vqfusion.load opens every kind")
        model: AnyPretrained = cls.read_parts(stored, pick_device(device))
        model.folder = stored.folder
        return model

    def write_parts(self, folder: Path) -> dict[str, Any]:
        """Write everything but the config; returns what else config.json should hold."""
        assert isinstance(self, nn.Module)
        save_weights(folder / self.weights, half_precision(self.state_dict()))
        return {}

    @classmethod
    def read_parts(cls, stored: Stored, device: torch.device) -> Any:
        """The model of a folder of this kind."""
        config = validated(cls.config_type, stored.config, f"{stored.folder}/config.json")
        require_room(stored.folder / cls.weights, getattr(config, "least_parameters", 0))
        with buildable(stored.folder):
            model = cls.from_config(config)
        assert isinstance(model, nn.Module)
        load_into(model, load_weights(stored.folder / cls.weights), stored.folder / cls.weights)
        model.to(device).eval()
        return model

    @classmethod
    def from_config(cls, config: Any) -> Any:
        """An untrained model."""
        return cls(config)  # type: ignore[call-arg]


@contextmanager
def buildable(folder: Path) -> Iterator[None]:
    """A config whose values fit no network is one line that names the folder."""
    try:
        yield
    except (ValueError, RuntimeError, TypeError, ArithmeticError, LookupError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{folder}/config.json: no network can be built from it ({reason})") from None
