"""What is known of a model in a folder without loading its weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqfusion.modalities import MODALITIES
from vqfusion.models.kinds import KINDS, kind_of
from vqfusion.models.unfinished import is_unfinished
from vqfusion.nn.card import CARD
from vqfusion.nn.card_header import plain_line, read_header
from vqfusion.nn.pretrained import read_stored


@dataclass(frozen=True)
class About:
    """Facts about a model.

    Attributes:
        kind: Kind, see `KINDS`.
        modalities: Modalities, such as `image`.
        use: What it is for.
        bytes: Size of its weights on disk.
        licence: Licence of the weights as its card states it; empty where it does not.
        score: First score that its card states; empty where it states none.
        unfinished: Whether its training is unfinished.
    """

    kind: str
    modalities: tuple[str, ...]
    use: str
    bytes: int
    licence: str
    score: str
    unfinished: bool


def about(folder: Path) -> About:
    """Read the facts about the model in a folder from its config and its card.

    Raises:
        UserError: There is no model of this package, or of a kind that this version knows.
    """
    kind, config = kind_of(folder), read_stored(folder).config
    header = read_header(folder / CARD)
    return About(
        kind=kind,
        modalities=_modalities(config),
        use=KINDS[kind].use,
        bytes=sum(path.stat().st_size for path in folder.glob("*.safetensors")),
        licence=plain_line(header.licence),
        score=header.score,
        unfinished=is_unfinished(folder),
    )


def _modalities(config: dict[str, Any]) -> tuple[str, ...]:
    """Modalities that a config names: its own, or those of its tokenizers."""
    tokenizers = config.get("tokenizers")
    held = list(tokenizers.values()) if isinstance(tokenizers, dict) else [config, config.get("tokenizer")]
    rows = [row for row in held if isinstance(row, dict)]
    named = [row.get("modality") or row.get("kind") for row in rows]
    return tuple(dict.fromkeys(name for name in named if isinstance(name, str) and name in MODALITIES))
