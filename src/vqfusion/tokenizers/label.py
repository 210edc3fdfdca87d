"""Names of classes to one token and back."""

import hashlib

import torch

from vqfusion.errors import UserError
from vqfusion.tokenizers.base import BaseTokenizer
from vqfusion.types import Sample, Tokens


class LabelTokenizer(BaseTokenizer):
    """A closed list of names; the id is the place in the list. Lengths are labels whose names are numbers."""

    closed = True

    def __init__(self, names: tuple[str, ...], modality: str = "label"):
        self.names = names
        self.modality = modality
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
