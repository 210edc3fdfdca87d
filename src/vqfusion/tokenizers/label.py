"""Tokenizer of labels: one token for each name of a closed list."""

import hashlib
from pathlib import Path
from typing import Any

import torch

from vqfusion.config import LabelTokenizerConfig
from vqfusion.errors import UserError
from vqfusion.nn.pretrained import Stored
from vqfusion.tokenizers.base import BaseTokenizer
from vqfusion.types import Sample, Tokens


class LabelTokenizer(BaseTokenizer):
    """A closed list of names; the id is the index in the list. Lengths are labels whose names are numbers."""

    config_type = LabelTokenizerConfig
    closed = True

    def __init__(self, names: tuple[str, ...], modality: str = "label"):
        self.names = names
        self.modality = modality
        self.config = LabelTokenizerConfig(names=names)
        self.codebook_size = len(names)
        self._ids = {name: i for i, name in enumerate(names)}

    def encode(self, sample: Sample, search: int = 0) -> Tokens:
        if sample.data not in self._ids:
            known = ", ".join(self.names[:12]) + (", ..." if len(self.names) > 12 else "")
            raise UserError(f"unknown {self.modality} {sample.data!r}; known: {known}")
        return Tokens(torch.tensor([self._ids[sample.data]]), self.codebook_size, self.modality)

    def decode(self, tokens: Tokens) -> Sample:
        return Sample(self.modality, self.names[int(tokens.ids.reshape(-1)[0])])

    def fingerprint(self) -> str:
        return hashlib.sha256("\n".join(self.names).encode()).hexdigest()[:16]

    def write_own(self, folder: Path, name: str | None) -> None:
        """Write nothing: the names are in the config."""

    @classmethod
    def read_own(cls, config: LabelTokenizerConfig, folder: Path, name: str | None) -> Any:
        return cls(config.names)

    def write_parts(self, folder: Path) -> dict[str, Any]:
        return super().write_parts(folder) | {"modality": self.modality}

    @classmethod
    def read_parts(cls, stored: Stored, device: torch.device) -> Any:
        tokenizer = super().read_parts(stored, device)
        tokenizer.modality = str(stored.more.get("modality", "label"))
        return tokenizer
