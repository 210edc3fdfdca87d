"""Text tokenizer: byte-level BPE, so that any Unicode string survives the round trip."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as BPETokenizer

from vqfusion.config import TextTokenizerConfig
from vqfusion.errors import UserError
from vqfusion.files import write_bytes
from vqfusion.nn.weights import load_json
from vqfusion.tokenizers.base import BaseTokenizer
from vqfusion.tokenizers.pieces import cut_text, join_texts
from vqfusion.types import Sample, Tokens

VOCABULARY = "vocabulary"  # file name in a folder of its own


class TextTokenizer(BaseTokenizer):
    """Byte-pair encoding over UTF-8 bytes: Sennrich, Haddow, Birch (2016); bytes as in Radford et al. (2019).

    Every vocabulary has all 256 bytes, so that no text is unknown and `decode(encode(text)) == text`.
    """

    config_type = TextTokenizerConfig
    modality = "text"
    joins = True

    def __init__(self, bpe: BPETokenizer):
        self.bpe = bpe
        self.codebook_size = bpe.get_vocab_size()
        self.config = TextTokenizerConfig(vocabulary_size=self.codebook_size)

    @classmethod
    def train(cls, texts: Iterable[str], vocabulary_size: int) -> "TextTokenizer":
        """Learn merges until the vocabulary has `vocabulary_size` tokens or no pair repeats."""
        bpe = _over_bytes(models.BPE())
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary_size,
            show_progress=False,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        )
        bpe.train_from_iterator(texts, trainer)
        return cls(bpe)

    @classmethod
    def load(cls, path: Path) -> Any:
        """Load a vocabulary; UserError where the file is not one."""
        model = load_json(path).get("model")
        try:
            return cls(_over_bytes(_checked(model)))
        except Exception as error:  # the tokenizers library raises bare Exception
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
            raise UserError(f"{path}: not a readable BPE vocabulary ({reason})") from None

    def save(self, path: Path) -> None:
        """Write the vocabulary as JSON."""
        write_bytes(path, self.bpe.to_str().encode())

    def encode(self, sample: Sample, search: int = 0) -> Tokens:
        ids = self.bpe.encode(sample.data).ids
        return Tokens(torch.tensor(ids, dtype=torch.int64), self.codebook_size, self.modality)

    def decode(self, tokens: Tokens) -> Sample:
        return Sample(self.modality, self.bpe.decode(tokens.ids.tolist(), skip_special_tokens=False))

    def pieces(self, sample: Sample, shape: tuple[int, ...], step: int) -> list[Sample]:
        def fits(text: str) -> bool:
            return len(self.bpe.encode(text).ids) <= shape[0]

        return [Sample(self.modality, part) for part in cut_text(sample.data, fits)]

    def joined(self, samples: Sequence[Sample]) -> Sample:
        return Sample(self.modality, join_texts([sample.data for sample in samples]))

    def fingerprint(self) -> str:
        return hashlib.sha256(self.bpe.to_str().encode()).hexdigest()[:16]

    def write_own(self, folder: Path, name: str | None) -> None:
        self.save(folder / f"{name or VOCABULARY}.json")

    @classmethod
    def read_own(cls, config: TextTokenizerConfig, folder: Path, name: str | None) -> Any:
        return cls.load(folder / f"{name or VOCABULARY}.json")


def _over_bytes(model: models.BPE) -> BPETokenizer:
    """Tokenizer of UTF-8 bytes with this model; words keep combining marks with their letters."""
    bpe = BPETokenizer(model)
    words = pre_tokenizers.Split(Regex(r" ?\S+|\s+"), behavior="isolated")
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bpe.pre_tokenizer = pre_tokenizers.Sequence([words, as_bytes])
    bpe.decoder = decoders.ByteLevel()
    return bpe


def _checked(model: Any) -> models.BPE:
    """Model of a file; ValueError where vocabulary and merges do not fit, on which the library would crash."""
    vocabulary, merges = model["vocab"], [tuple(pair) for pair in model["merges"]]
    if sorted(vocabulary.values()) != list(range(len(vocabulary))):
        raise ValueError("its ids are not 0, 1, 2, ...")
    if not vocabulary.keys() >= set(pre_tokenizers.ByteLevel.alphabet()):
        raise ValueError("a byte is missing")
    for first, second in merges:
        if not {first, second, first + second} <= vocabulary.keys():
            raise ValueError(f"{first + second!r} is merged and not in it")
    return models.BPE(vocabulary, merges)
