"""Recipes of public sets (`data.public`): the short form, as for one's own data, with the score that it reached.

The scores, beside the baselines that the library fits, are of `benchmarks/own_data.py`; docs/own-data.md has the table.
"""

from collections.abc import Callable

from vqfusion.config import ChainConfig, ShortConfig
from vqfusion.data import open_dataset
from vqfusion.train.fusion.own_data import expand


def _short(name: str, *tasks: str, languages: tuple[str, ...] = ("en",), **settings: int) -> ChainConfig:
    """Config of a public set of this name, learned for these tasks."""
    short = ShortConfig(name=name, data=name, tasks=tasks, languages=languages, **settings)
    return expand(short, open_dataset(name))


def mnist() -> ChainConfig:
    """10,000 handwritten digits, read and drawn."""
    return _short("mnist", "classify", "label -> image", batch=64)


def fsdd() -> ChainConfig:
    """Spoken digits of a speaker who was never heard, written down."""
    return _short("fsdd", "transcribe")


def sst2() -> ChainConfig:
    """Phrases of film reviews, positive or negative."""
    return _short("sst2", "classify")


def clinc150() -> ChainConfig:
    """Questions with 150 intents."""
    return _short("clinc150", "classify")


def snips() -> ChainConfig:
    """Commands with 7 intents."""
    return _short("snips", "classify")


def goemotions() -> ChainConfig:
    """Comments, positive or negative."""
    return _short("goemotions", "classify")


def multi30k() -> ChainConfig:
    """German captions into English."""
    return _short("multi30k", "text:de -> text:en", languages=("de", "en"))


def tatoeba() -> ChainConfig:
    """Everyday sentences between English and German, both ways."""
    return _short("tatoeba", "translate", languages=("en", "de"))


PUBLIC: dict[str, Callable[[], ChainConfig]] = {
    "mnist": mnist,
    "fsdd": fsdd,
    "sst2": sst2,
    "clinc150": clinc150,
    "snips": snips,
    "goemotions": goemotions,
    "multi30k": multi30k,
    "tatoeba": tatoeba,
}
