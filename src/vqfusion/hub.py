"""Find a model by name: in the zoo, in a folder, in a zip, or on the Hugging Face hub."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from vqfusion.deprecated import old_name
from vqfusion.errors import UserError
from vqfusion.nn.archive import SUFFIX
from vqfusion.nn.remote import local_folder, names_repository

if TYPE_CHECKING:
    from vqfusion.models.fusion.system import System
    from vqfusion.models.restoration.prior import Prior

ZOO = Path(__file__).parent / "zoo"
DEFAULT_MODEL: Literal["emoji"] = "emoji"


def zoo() -> list[str]:
    """Names of the models that ship with the package."""
    return sorted(path.parent.name for path in ZOO.glob("*/config.json"))


def find_model(name: str) -> Path:
    """Local folder of a model.

    Names of the zoo take precedence, then existing folders; a zip that `vqfusion models export` wrote is unpacked to
    the user's cache, and `owner/name`, or `owner/name@revision`, is looked up in the local cache of the hub and then
    downloaded. UserError lists the known models.
    """
    if name in zoo():
        return ZOO / name
    if Path(name).is_dir() or Path(name).suffix.lower() == SUFFIX or names_repository(name):
        return local_folder(name)
    raise UserError(
        f"model {name!r} is neither in the zoo ({', '.join(zoo()) or 'empty'}) nor a folder; "
        "give one of these, or owner/name (or owner/name@revision) for a model on the Hugging Face hub"
    )


@overload
def load(
    name: Literal["emoji"] = DEFAULT_MODEL, device: str | None = None, kinds: Collection[str] = ()
) -> "System": ...
@overload
def load(
    name: Literal["photo", "volume", "sound"], device: str | None = None, kinds: Collection[str] = ()
) -> "Prior": ...
@overload
def load(name: str, device: str | None = None, kinds: Collection[str] = ()) -> Any: ...
def load(name: str = DEFAULT_MODEL, device: str | None = None, kinds: Collection[str] = ()) -> Any:
    """Load anything that `save_pretrained`, `export` or `push_to_hub` wrote.

    That is a `System`, `Prior`, `LatentDiffusion`, `DiffusionModel`, VQ-VAE, tokenizer or quantizer.

    Args:
        name: Name of the zoo, folder, zip file, or `owner/name` or `owner/name@revision` on the Hugging Face hub.
        device: `cpu`, `cuda`, `cuda:1`, `mps`; None takes CUDA where available.
        kinds: Accepted kinds of `vqfusion.models.kinds.KINDS`; empty accepts all.

    Returns:
        The model, in evaluation mode.

    Raises:
        UserError: The name, the folder or the device is unusable, or the model is of another kind.
    """
    from vqfusion.models.kinds import KINDS, kind_of, open_model

    folder = find_model(name)
    kind = kind_of(folder)
    if kinds and kind not in kinds:
        wanted = " or ".join(f"a {one}" for one in kinds)
        like = f" such as {DEFAULT_MODEL}" if "system" in kinds else ""
        raise UserError(f"model {name!r} is a {kind}, {KINDS[kind].use}; give {wanted}{like}")
    return open_model(folder, device)


def __getattr__(name: str) -> Any:
    return old_name(__name__, name)
