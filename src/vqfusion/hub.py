"""Find a model by name: in the zoo, in a folder, or on the Hugging Face hub."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from vqfusion.deprecated import old_name
from vqfusion.errors import UserError
from vqfusion.files import require_own

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

    Names of the zoo take precedence, then existing folders; `owner/name`, or `owner/name@revision`, is looked up in the
    local cache of the hub and then downloaded. UserError lists the known models.
    """
    if name in zoo():
        return ZOO / name
    if Path(name).is_dir():
        return Path(name)
    if name.count("/") == 1 and not name.startswith((".", "/", "~")) and all(name.split("/")):
        return fetch(name)
    raise UserError(
        f"model {name!r} is neither in the zoo ({', '.join(zoo()) or 'empty'}) nor a folder; "
        "give one of these, or owner/name (or owner/name@revision) for a model on the Hugging Face hub"
    )


def fetch(name: str) -> Path:
    """Folder of a model on the hub, from the local cache or downloaded.

    Args:
        name: `owner/name`, or `owner/name@revision` for one commit, tag or branch. Without a revision the newest commit
            is fetched, and the same one is taken from the cache from then on.

    Returns:
        The folder of the commit.

    Raises:
        UserError: There is no such model, no connection, or others may write to the cache.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    patterns = ["*.json", "*.safetensors", "*.txt", "*.md"]
    repository, _, revision = name.partition("@")

    def snapshot(here: bool) -> Path:
        found = snapshot_download(repository, revision=revision or None, allow_patterns=patterns, local_files_only=here)
        return require_own(Path(found), "HF_HOME")

    try:
        return snapshot(here=True)
    except HFValidationError:
        raise UserError(f"model {name!r} is neither a folder nor an id on the hub (owner/name)") from None
    except LocalEntryNotFoundError:
        pass  # not in the cache yet: ask the hub
    try:
        return snapshot(here=False)
    except UserError:
        raise
    except Exception as error:  # the client raises errors of several libraries
        reason = type(error).__name__
        raise UserError(
            f"model {name!r} is neither a folder nor in the cache, and the download failed ({reason}); "
            f"check the name and the connection, or use one of the zoo: {', '.join(zoo())}"
        ) from None


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
    """Load anything that `save_pretrained` wrote.

    That is a `System`, `Prior`, `LatentDiffusion`, `DiffusionModel`, VQ-VAE, tokenizer or quantizer.

    Args:
        name: Name of the zoo, folder, or `owner/name` on the Hugging Face hub.
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
