"""Saving and loading of models of every kind: config.json, safetensors and a model card in a folder."""

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
from vqfusion.nn.bundle import export_zip, write_bundle
from vqfusion.nn.card import write_card
from vqfusion.nn.remote import local_folder, publish
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
# in format 1 the key of the config named the kind
CONFIG_OF_FORMAT_1 = {
    "chain": "system",
    "prior": "prior",
    "latent_diffusion": "latent-diffusion",
    "diffusion_model": "diffusion-model",
}


AnyPretrained = TypeVar("AnyPretrained", bound="Pretrained")


@dataclass(frozen=True)
class Stored:
    """Content of a config.json.

    Attributes:
        folder: Folder of the model.
        kind: Kind of the model, see `models.kinds`.
        config: Config as plain values.
        more: Further values that the kind stores.
    """

    folder: Path
    kind: str
    config: dict[str, Any]
    more: dict[str, Any] = field(default_factory=dict)


def read_stored(folder: str | Path) -> Stored:
    """Read the config.json of a model, of format 1 or 2; UserError where there is none."""
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
    """Base of all models that are saved to a folder; `vqfusion.load` opens what `save_pretrained` wrote.

    Each kind has a name, a `config` of its `config_type` and, if it is a network, a file of `weights`. The default
    `write_parts` and `read_parts` are those of a torch module that is built from its config alone; other kinds override
    them. `folder` is the folder from which the model was loaded.
    """

    kind: ClassVar[str]
    config_type: ClassVar[type[Config]]
    config: Any
    weights: ClassVar[str] = WEIGHTS
    folder: Path | None = None

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json, weights (matrices as float16 where that is lossless) and a model card to a folder.

        Args:
            folder: Folder, created where it is missing.

        Raises:
            ValueError: No config describes the model.
            UserError: The folder cannot be written.
        """
        where, config = Path(folder), self.config
        if config is None:
            raise ValueError("parts of your own have no config: keep their state_dict, or build with from_config")
        more = self.write_parts(where)
        contract = {"format": FORMAT_VERSION, "kind": self.kind, "config": config.model_dump(mode="json"), **more}
        save_json(where / "config.json", contract)
        write_card(self, where)

    def push_to_hub(
        self, repo_id: str, private: bool = False, token: str | None = None, licence: str | None = None
    ) -> str:
        """Publish the model on the Hugging Face hub, with its model card; `vqfusion.load(repo_id)` opens it.

        Scores and calibrated intervals in the folder that the model was loaded from go along where the weights are
        still those. A card that was written by hand in that folder is kept.

        Args:
            repo_id: `owner/name`; the repository is created where it is missing.
            private: Whether a new repository is visible to its owner only.
            token: Access token with write permission; None uses that of `hf auth login`.
            licence: Licence of the weights for the generated card, as the hub writes it: `cc-by-4.0`, `mit`.

        Returns:
            URL of the commit.

        Raises:
            UserError: The upload failed: no such owner, no permission, no connection.
        """
        with TemporaryDirectory() as folder:
            write_bundle(self, Path(folder), repo_id, licence)
            return publish(Path(folder), repo_id, private, token)

    def export(self, path: str | Path, licence: str | None = None, overwrite: bool = False) -> None:
        """Write the model to one zip file, which `vqfusion.load` and `--model` open.

        It holds what `push_to_hub` publishes.

        Args:
            path: File to make; its name ends in `.zip`.
            licence: Licence of the weights for the generated card, such as `cc-by-4.0`.
            overwrite: Replace an existing file.

        Raises:
            UserError: The file exists or cannot be written, or its name has another suffix.
        """
        export_zip(self, Path(path), licence, overwrite)

    @classmethod
    def from_pretrained(cls: type[AnyPretrained], folder: str | Path, device: str | None = "cpu") -> AnyPretrained:
        """Load what `save_pretrained`, `export` or `push_to_hub` wrote, in evaluation mode.

        Args:
            folder: Folder of the model, its zip, or `owner/name` or `owner/name@revision` on the Hugging Face hub.
            device: `cpu`, `cuda`, `cuda:1`, `mps`; None takes CUDA where available.

        Returns:
            The model.

        Raises:
            UserError: The folder holds another kind of model, or is damaged.
        """
        folder = local_folder(folder)
        stored = read_stored(folder)
        if stored.kind != cls.kind:
            raise UserError(f"{folder}: holds a {stored.kind}, not a {cls.kind}; vqfusion.load opens every kind")
        where = pick_device(device)
        with buildable(stored.folder):
            model: AnyPretrained = cls.read_parts(stored, where)
        model.folder = stored.folder
        return model

    def write_parts(self, folder: Path) -> dict[str, Any]:
        """Write everything but the config; returns further values to store in config.json."""
        assert isinstance(self, nn.Module)
        save_weights(folder / self.weights, half_precision(self.state_dict()))
        return {}

    @classmethod
    def read_parts(cls, stored: Stored, device: torch.device) -> Any:
        """Load a model of this kind from what was stored."""
        config = validated(cls.config_type, stored.config, f"{stored.folder}/config.json")
        require_room(stored.folder / cls.weights, getattr(config, "least_parameters", 0))
        model = cls.from_config(config)
        assert isinstance(model, nn.Module)
        load_into(model, load_weights(stored.folder / cls.weights), stored.folder / cls.weights)
        model.to(device).eval()
        return model

    @classmethod
    def from_config(cls, config: Any) -> Any:
        """Build an untrained model."""
        return cls(config)  # type: ignore[call-arg]


@contextmanager
def buildable(folder: Path) -> Iterator[None]:
    """Context that turns errors of building a model from what a config stores into one line that names the folder."""
    try:
        yield
    except UserError as error:
        if str(folder) in str(error):
            raise
        raise UserError(f"{folder}/config.json: no network can be built from it ({error})") from None
    except (ValueError, RuntimeError, TypeError, ArithmeticError, LookupError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise UserError(f"{folder}/config.json: no network can be built from it ({reason})") from None
