"""What all configs share: strict keys, bounded numbers, YAML input, and one-line errors."""

from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from vqfusion.errors import UserError
from vqfusion.files import plain_name
from vqfusion.limits import CONFIG_BYTES, CONFIG_VALUES, MEMORY, network_bytes


class Config(BaseModel):
    """Base of all configs: frozen, and a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


AnyConfig = TypeVar("AnyConfig", bound=Config)

# bounded numbers: a config outside of them is rejected before anything is built from it
Count = Annotated[int, Field(ge=1)]

Whole = Annotated[int, Field(ge=0)]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]

Share = Annotated[float, Field(ge=0, le=1)]

BelowOne = Annotated[float, Field(ge=0, lt=1)]

Seed = Annotated[int, Field(ge=0, lt=2**64)]

# names that become file or folder names
PlainName = Annotated[str, AfterValidator(plain_name)]


def plain_parts(name: str) -> str:
    """Return `name` if each of its parts between colons is a plain name, as in `length:de`."""
    return ":".join(plain_name(part) for part in name.split(":"))


TokenizerName = Annotated[str, AfterValidator(plain_parts)]


def later(default: Any) -> Any:
    """Default value of a field that was added after configs of this class had been written.

    The field is written only where it differs from the default. A config that does not use it is therefore written,
    hashed into fingerprints and compared on resuming exactly as before, and older folders and runs still match.
    """
    return Field(default, exclude_if=lambda value: value == default)


def check_levels(widths: tuple[int, ...], depths: tuple[int, ...]) -> None:
    """Raise ValueError unless `widths` and `depths` have the same number of levels."""
    if len(widths) != len(depths):
        raise ValueError(f"widths has {len(widths)} levels and depths {len(depths)}; give one for each")


def levels_parameters(widths: tuple[int, ...], depths: tuple[int, ...], rank: int) -> int:
    """Lower bound of the number of parameters of a network with these levels.

    Each residual block has two convolutions of 3 positions along each axis, on the way down and up; one convolution
    leads from each level to the next.
    """
    blocks = sum(4 * depth * width**2 * 3**rank for width, depth in zip(widths, depths, strict=True))
    return blocks + sum(2 * a * b for a, b in zip(widths, widths[1:], strict=False))


def check_network(what: str, parameters: int, blocks: int, smallest_signal: int) -> None:
    """Raise UserError where a network, or the smallest signal that it takes, exceeds the memory.

    Args:
        what: Name of the network in the message.
        parameters: Number of its parameters.
        blocks: Number of its blocks.
        smallest_signal: Number of values of the smallest signal that it takes.
    """
    MEMORY.require(network_bytes(parameters, blocks), what)
    MEMORY.require(4 * smallest_signal, f"the smallest signal of {what}")


def load_yaml(path: Path) -> dict[str, Any]:
    """Read the mapping in a YAML file.

    Raises:
        UserError: The file is missing, unreadable or not YAML; a syntax error names file and line.
    """
    try:
        CONFIG_BYTES.require(path.stat().st_size, str(path))
        data = construct(path.read_text(encoding="utf-8"), str(path))
    except RecursionError:
        raise UserError(f"{path}: not valid YAML (nested too deeply)") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise UserError(f"{where}: not valid YAML ({getattr(error, 'problem', error)})") from None
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8 text ({error.__class__.__name__})") from None
    except (ValueError, LookupError, AttributeError) as error:  # an impossible date, number or tag
        raise UserError(f"{path}: not valid YAML ({error})") from None
    if not isinstance(data, dict):
        raise UserError(f"{path}: expected `key: value` lines, found {type(data).__name__}")
    return data


def construct(text: str, where: str) -> Any:
    """Content of YAML text; UserError where aliases and merge keys would expand it beyond all measure."""
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        CONFIG_VALUES.require(_values(node, {}), where)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _values(node: yaml.Node, counted: dict[int, int]) -> int:
    """Number of values of a node with all aliases expanded; UserError for a node that contains itself."""
    if id(node) not in counted:
        counted[id(node)] = -1
        parts = node.value if isinstance(node.value, list) else []
        children = [one for part in parts for one in (part if isinstance(part, tuple) else (part,))]
        counted[id(node)] = 1 + sum(_values(child, counted) for child in children)
    if counted[id(node)] < 0:
        raise UserError(f"line {node.start_mark.line + 1} of the YAML file holds itself; write the values out")
    return counted[id(node)]


def validated(kind: type[AnyConfig], data: dict[str, Any], where: str) -> AnyConfig:
    """Build a config from a mapping.

    Args:
        kind: Class of the config.
        data: Mapping as read from YAML or JSON.
        where: File or place that the error message names.

    Returns:
        The config.

    Raises:
        UserError: One line that names the first wrong key.
    """
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])[:80]
        if first["type"] == "extra_forbidden":
            from difflib import get_close_matches

            near = get_close_matches(key, kind.model_fields, n=1)
            raise UserError(f"{where}: {key}: no such key{f'; did you mean {near[0]}?' if near else ''}") from None
        reason = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{where}: {key}: {reason}" if key else f"{where}: {reason}") from None
