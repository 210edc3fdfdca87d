"""Where models are: in a folder, in a zip, or on the Hugging Face hub. Torch-free."""

import re
from fnmatch import fnmatch
from pathlib import Path

from vqfusion.errors import UserError
from vqfusion.files import require_own
from vqfusion.limits import MODEL
from vqfusion.nn.archive import SUFFIX, unpacked

PATTERNS = ("*.json", "*.safetensors", "*.txt", "*.md", "*.tsv")
COMMIT = re.compile(r"[0-9a-f]{40}")


def local_folder(name: str | Path) -> Path:
    """Folder of a model that is given as a folder, as a zip of `vqfusion models export`, or as `owner/name` on the hub.

    An existing folder or file comes first. `owner/name`, or `owner/name@revision`, is taken from the cache of the hub
    and else downloaded.

    Raises:
        UserError: There is no such model, or it cannot be read or fetched.
    """
    path = Path(name)
    if path.is_dir():
        return path
    if path.suffix.lower() == SUFFIX:
        return unpacked(path)
    if isinstance(name, str) and names_repository(name):
        return fetch(name)
    raise UserError(f"{name}: no such folder; give a folder, a {SUFFIX} file, or owner/name on the Hugging Face hub")


def names_repository(name: str) -> bool:
    """Whether a name has the form `owner/name` or `owner/name@revision`."""
    owner, _, rest = name.partition("@")[0].partition("/")
    return bool(owner and rest) and "/" not in rest and not name.startswith((".", "/", "~"))


def fetch(name: str, refresh: bool = False) -> Path:
    """Folder of a model on the hub, from the local cache or downloaded.

    Args:
        name: `owner/name`, or `owner/name@revision` for one commit, tag or branch. Without a revision the newest commit
            is fetched, and the same one is taken from the cache from then on.
        refresh: Ask the hub which commit the name stands for now, though the cache has one. A commit is what it is,
            and is not asked for again.

    Returns:
        The folder of the commit; its name is the hash of the commit.

    Raises:
        UserError: There is no such model, it is too large, there is no connection, or others may write to the cache.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    repository, _, revision = name.partition("@")

    def snapshot(here: bool) -> Path:
        found = snapshot_download(
            repository, revision=revision or None, allow_patterns=list(PATTERNS), local_files_only=here
        )
        return require_own(Path(found), "HF_HOME")

    if not refresh or COMMIT.fullmatch(revision):
        try:
            return snapshot(here=True)
        except HFValidationError:
            raise UserError(f"model {name!r} is neither a folder nor an id on the hub (owner/name)") from None
        except LocalEntryNotFoundError:
            pass  # not in the cache yet: ask the hub
    try:
        _require_model(repository, revision)
        return snapshot(here=False)
    except UserError:
        raise
    except Exception as error:  # the client raises errors of several libraries
        reason = type(error).__name__
        raise UserError(
            f"model {name!r} is neither a folder nor in the cache, and the download failed ({reason}); "
            "check the name and the connection, or take one that is here: `vqfusion models` lists them"
        ) from None


def _require_model(repository: str, revision: str) -> None:
    """Raise UserError where a repository of the hub holds no model of this package, or one over the limit of size."""
    from huggingface_hub import HfApi

    held = HfApi().model_info(repository, revision=revision or None, files_metadata=True).siblings or []
    if held and "config.json" not in {one.rfilename for one in held}:
        raise UserError(f"{repository}: holds no vqfusion model on the hub (no config.json)")
    taken = [one for one in held if any(fnmatch(one.rfilename, pattern) for pattern in PATTERNS)]
    MODEL.require(sum(one.size or 0 for one in taken), f"model {repository}")


def publish(folder: Path, repo_id: str, private: bool = False, token: str | None = None) -> str:
    """Upload a folder to the hub as a model.

    Args:
        folder: The folder.
        repo_id: `owner/name`; the repository is created where it is missing.
        private: Whether a new repository is visible to its owner only.
        token: Access token with write permission; None uses that of `hf auth login`.

    Returns:
        URL of the commit.

    Raises:
        UserError: The upload failed: no such owner, no permission, no connection.
    """
    from huggingface_hub import HfApi

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
