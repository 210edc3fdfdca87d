"""Measurements of texts: damaged encodings, MinHash of its shingles, and hashes of its words."""

import re
import unicodedata
import zlib
from functools import cache

import numpy as np

from vqfusion.data.audit.item import Measured
from vqfusion.types import Sample

HEAD = 400  # characters that are kept, for the language and for reports
WORDS = 200  # words of the embedding
SHINGLE, HASHES, MOST_SHINGLES = 5, 64, 20_000
# UTF-8 of two to four bytes; what it stands for must be likely in a text, see `_likely`
SEQUENCE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
ACCENTED_WORD = re.compile("[À-ÖØ-öø-ÿ]{4,}")  # in no language: Cyrillic or Greek that was read as Latin
LOST = re.compile(r"[^\W\d_]\?[a-zà-ÿ]|\ufffd")


def measure_text(sample: Sample) -> Measured:
    """Measure a text."""
    text = str(sample.data)
    plain = plain_form(text)
    facts = {"garbled": float(garbled(text)), "letters": float(sum(c.isalpha() for c in text[:HEAD]))}
    sizes = {"characters": float(len(text))}
    return Measured(facts, sizes, minhash(plain or text), terms(plain or text), head=text[:HEAD])


def plain_form(text: str) -> str:
    """Words in lower case and normal form KC, without punctuation."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.findall(r"\w+", folded))


def garbled(text: str) -> int:
    """Number of places that look like a text in one encoding that was read in another.

    UTF-8 that was read as Windows-1252 or Latin-1, whose sequences stand for letters or punctuation; words of
    accented letters alone; replacement characters, and question marks within words.
    """
    if text.isascii() and "?" not in text:
        return 0
    found = len(LOST.findall(text)) if "://" not in text else text.count("\ufffd")
    found += len(ACCENTED_WORD.findall(text))
    raw = bytes(_byte_of(c) for c in text)
    return found + sum(_likely(match.group()) for match in SEQUENCE.finditer(raw))


def _likely(sequence: bytes) -> bool:
    """Whether a sequence of UTF-8 stands for a character that texts are full of.

    Of sequences of two bytes, whose characters may well follow each other in a text, only those that stand for
    accented Latin letters and begin with one of the letters that such texts are known for.
    """
    try:
        character = sequence.decode()
    except UnicodeDecodeError:
        return False
    if len(sequence) == 2:
        return "\xa1" <= character <= "\u017f" or "\u0391" <= character <= "\u044f"
    return unicodedata.category(character)[0] in "LPSN"


@cache
def _byte_of(character: str) -> int:
    """Byte that was read as this character in Windows-1252 or Latin-1; a space for others."""
    try:
        return character.encode("cp1252")[0]
    except UnicodeEncodeError:
        return ord(character) if ord(character) < 256 else 0x20


def terms(plain: str) -> np.ndarray:
    """Hashes of single words and of pairs of words, each once, sorted."""
    words = plain.split()[:WORDS]
    pairs = [f"{a} {b}" for a, b in zip(words, words[1:], strict=False)]
    return np.unique(np.array([zlib.crc32(term.encode(errors="replace")) for term in words + pairs], np.uint32))


def minhash(plain: str) -> np.ndarray:
    """MinHash (Broder, 1997) of the runs of five characters: the fraction of equal values estimates the Jaccard index.

    The text is padded at both ends, so that a change of one letter changes five runs wherever it is.
    """
    padded = f"{' ' * (SHINGLE - 1)}{plain[:MOST_SHINGLES]}{' ' * (SHINGLE - 1)}".encode("utf-32-le", "replace")
    runs = {padded[i : i + 4 * SHINGLE] for i in range(0, len(padded) - 4 * SHINGLE + 1, 4)}
    hashes = np.array([zlib.crc32(run) for run in runs], np.uint64)
    random = np.random.default_rng(0)
    factors, shifts = random.integers(0, 2**64, (2, HASHES, 1), np.uint64)  # products wrap around at 2^64
    factors |= np.uint64(1)
    return ((factors * hashes + shifts) >> np.uint64(32)).min(1).astype(np.uint32)
