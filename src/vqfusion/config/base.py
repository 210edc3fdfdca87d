"""What every config shares: strict keys, bounded numbers, YAML in, one line for the first mistake."""

from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from vqfusion.errors import UserError
from vqfusion.files import plain_name


class Config(BaseModel):
    """Frozen, and strict about names: a misspelt key is an error, not a default."""

    model_config = ConfigDict(frozen=True, extra="forbid")


AnyConfig = TypeVar("AnyConfig", bound=Config)

# numbers that make sense: a config with others is refused before anything is built from it
Count = Annotated[int, Field(ge=1)]

Whole = Annotated[int, Field(ge=0)]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]

Share = Annotated[float, Field(ge=0, le=1)]

BelowOne = Annotated[float, Field(ge=0, lt=1)]

Seed = Annotated[int, Field(ge=0, lt=2**64)]

# names that become names of files and folders
PlainName = Annotated[str, AfterValidator(plain_name)]


def plain_parts(name: str) -> str:
    """`name` if each of its parts between colons is plain, as in `length:de`."""
    return ":".join(plain_name(part) for part in name.split(":"))


TokenizerName = Annotated[str, AfterValidator(plain_parts)]


def later(default: Any) -> Any:
    """The default of a field that was added after configs of its kind had been written.

    Such a field is written only where it has another value. So a config that does not use it is written, hashed into
    fingerprints and compared on resuming exactly as before, and older folders and runs still match.
    """
    return Field(default, exclude_if=lambda value: value == default)


def check_levels(widths: tuple[int, ...], depths: tuple[int, ...]) -> None:
    if len(widths) != len(depths):
        raise ValueError(f"widths has {len(widths)} levels and depths {len(depths)}; give one for each")


def load_yaml(path: Path) -> dict[str, Any]:
    """Mapping of a YAML file; a syntax error names file and line."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
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
    except (ValueError, LookupError, AttributeError) as error:  # of a date, a number or a tag that is none
        raise UserError(f"{path}: not valid YAML ({error})") from None
    if not isinstance(data, dict):
        raise UserError(f"{path}: expected `key: value` lines, found {type(data).__name__}")
    return data


def validated(kind: type[AnyConfig], data: dict[str, Any], where: str) -> AnyConfig:
    """The config, or one line that names the first wrong key."""
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
