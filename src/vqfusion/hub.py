"""From the name of a model to its folder: a zoo name, a folder, or an id on the Hugging Face hub."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from vqfusion.errors import UserError

if TYPE_CHECKING:
    from vqfusion.models.fusion.system import System
    from vqfusion.models.restoration.prior import Prior

ZOO = Path(__file__).parent / "zoo"
DEFAULT_MODEL: Literal["emoji"] = "emoji"


def zoo() -> list[str]:
    """Names of the models that ship with the package."""
    return sorted(path.parent.name for path in ZOO.glob("*/config.json"))


def find_model(name: str) -> Path:
    """The local folder of a model.

    A name of the zoo comes first, then an existing folder; `owner/name` is looked up among the files that the
    hub's client already holds, and only then fetched. UserError lists the known models.
    """
    if name in zoo():
        return ZOO / name
    if Path(name).is_dir():
        return Path(name)
    if name.count("/") == 1 and not name.startswith((".", "/", "~")) and all(name.split("/")):
        return fetch(name)
    raise UserError(
        f"model {name!r} is neither in the zoo ({', '.join(zoo()) or 'empty'}) nor a folder; "
        "give one of these, or owner/name for a model on the Hugging Face hub"
    )


def fetch(name: str) -> Path:
    """The folder of a model on the hub: from the local cache if it is there, else downloaded."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    patterns = ["*.json", "*.safetensors", "*.txt", "*.md"]
    try:
        return Path(snapshot_download(name, allow_patterns=patterns, local_files_only=True))
    except HFValidationError:
        raise UserError(f"model {name!r} is neither a folder nor an id on the hub (owner/name)") from None
    except LocalEntryNotFoundError:
        pass  # not in the cache yet: ask the hub
    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except Exception as error:  # the client raises errors of several libraries
        reason = type(error).__name__
        raise UserError(
            f"model {name!r} is neither a folder nor in the cache, and the hub did not give it ({reason}); "
            f"check the name and the connection, or use one of the zoo: {', '.join(zoo())}"
        ) from None


@overload
def load(name: Literal["emoji"] = DEFAULT_MODEL, device: str | None = None) -> "System": ...
@overload
def load(name: Literal["photo", "volume", "sound"], device: str | None = None) -> "Prior": ...
@overload
def load(name: str, device: str | None = None) -> Any: ...
def load(name: str = DEFAULT_MODEL, device: str | None = None) -> Any:
    """Load a model, ready to be asked: a `System` with its tokenizers, a `Prior` or a `LatentDiffusion`, as its
    config.json says.

    `name` as for `find_model`; `device` is `cpu`, `cuda`, `cuda:1`, `mps`; None takes CUDA where there is
    one. UserError where the name, the folder or the device is unusable.
    """
    return open_model(find_model(name), device)


def open_model(folder: Path, device: str | None = None) -> Any:
    """The model in a folder, of the kind that its config.json says; as `load`."""
    kind = kind_of(folder)
    if kind == "prior":
        from vqfusion.models.restoration.prior import Prior

        return Prior.from_pretrained(folder, device)
    if kind == "latent-diffusion":
        from vqfusion.models.latent.latent_diffusion import LatentDiffusion

        return LatentDiffusion.from_pretrained(folder, device)
    from vqfusion.models.fusion.system import System

    return System.from_pretrained(folder, device)


def load_system(name: str = DEFAULT_MODEL, device: str | None = None) -> "System":
    """`load` where a System is needed; UserError where the name is that of something else."""
    folder = find_model(name)
    kind = kind_of(folder)
    if kind == "prior":
        raise UserError(f"model {name!r} is a prior, for restoration only; give a system such as {DEFAULT_MODEL}")
    if kind != "system":
        raise UserError(f"model {name!r} is a {kind} model, for `vqfusion any`; give a system such as {DEFAULT_MODEL}")
    system: System = open_model(folder, device)
    return system


def kind_of(folder: Path) -> str:
    """`system`, `prior` or `latent-diffusion`: what the config.json of a model says that it is."""
    from vqfusion.nn.weights import load_json

    return str(load_json(folder / "config.json").get("kind", "system"))
