"""Sizes of a chain that follow from the data: lengths of texts and sounds, sample rate."""

import math
from collections.abc import Iterable, Sequence
from typing import TypeVar

from vqfusion.config import AudioTokenizerConfig, ChainConfig, LabelTokenizerConfig, TextTokenizerConfig
from vqfusion.data import Dataset
from vqfusion.models.fusion.slots import length_slot, patch_size
from vqfusion.tokenizers.text import TextTokenizer
from vqfusion.types import Sample

FIT = 0.99  # share of the samples that fit their slot as a whole; longer ones are cut into pieces
LOOKED_AT = 2000  # texts, and a tenth of it in sounds, from which lengths are estimated
LONGEST_TEXT, LONGEST_SOUND = 2048, 2400  # tokens at most by default: half a minute of sound
SHORTEST = 8
RATES_HZ = (8000, 16000, 24000)
CODES_PER_S, WINDOW_S = 80, 0.032

T = TypeVar("T")


def sized(chain: ChainConfig, dataset: Dataset, max_length: int | None = None) -> ChainConfig:
    """The chain with slots as long as the data, sound at the rate of the data, and positions without a table.

    Args:
        chain: A chain of the short form.
        dataset: Its data.
        max_length: Tokens of the longest text that is taken as a whole; by default, and for sounds, `FIT` of the
            training samples fit.

    Returns:
        The chain.
    """
    tokenizers, slots = dict(chain.tokenizers), dict(chain.fusion.slots)
    for name, slot in slots.items():
        config = tokenizers[slot.tokenizer]
        records = dataset.select("train", slots=(name,))
        if not records:
            continue
        if isinstance(config, TextTokenizerConfig):
            most = max_length or _tokens([one.load(name).data for one in spread(records, LOOKED_AT)], config)
            slots[name] = slot.model_copy(update={"shape": (most,), "steps": most})
        elif isinstance(config, AudioTokenizerConfig):
            sounds = [one.load(name) for one in spread(records, LOOKED_AT // 10)]
            tokenizers[slot.tokenizer] = at_rate(config, rate_of(sounds))
            codes = [math.ceil(CODES_PER_S * one.data.shape[1] / (one.sample_rate_hz or 1)) for one in sounds]
            slots[name] = slot.model_copy(update={"shape": (rounded(fitting(codes), patch_size(slot), LONGEST_SOUND),)})
    for name, slot in slots.items():
        if slot.variable and (length := slots.get(length_slot(name))):
            sharing = [one for one in slots if length_slot(one) in slots and slots[one].variable]
            same = [one for one in sharing if slots[length_slot(one)].tokenizer == length.tokenizer]
            most = max(slots[one].shape[0] // patch_size(slots[one]) for one in same)
            tokenizers[length.tokenizer] = LabelTokenizerConfig(names=tuple(str(n + 1) for n in range(most)))
    fusion = chain.fusion.model_copy(update={"slots": slots, "positions": "rotary"})
    return ChainConfig.model_validate(
        chain.model_copy(update={"tokenizers": tokenizers, "fusion": fusion}).model_dump()
    )


def spread(items: Sequence[T], most: int) -> list[T]:
    """At most so many items, evenly spread."""
    step = max(1, len(items) / most)
    return [items[int(i * step)] for i in range(min(most, len(items)))]


def fitting(lengths: Iterable[int]) -> int:
    """Length that `FIT` of the samples do not exceed."""
    ordered = sorted(lengths)
    return ordered[math.ceil(FIT * len(ordered)) - 1]


def rounded(length: int, step: int, most: int) -> int:
    """A length as the size of a slot: a multiple of `step` between `SHORTEST` and `most`."""
    return step * math.ceil(min(max(length, SHORTEST), most) / step)


def _tokens(texts: list[str], config: TextTokenizerConfig) -> int:
    """Size of a slot for these texts, by a vocabulary of their own."""
    tokenizer = TextTokenizer.train(texts, config.vocabulary_size)
    return rounded(fitting(len(tokenizer.encode(Sample("text", text)).ids) for text in texts), 8, LONGEST_TEXT)


def rate_of(sounds: list[Sample]) -> int:
    """Least of `RATES_HZ` that keeps all frequencies of half of the sounds; the highest for high rates."""
    rates = sorted(one.sample_rate_hz or RATES_HZ[0] for one in sounds)
    return next((rate for rate in RATES_HZ if rate >= rates[len(rates) // 2]), RATES_HZ[-1])


def at_rate(config: AudioTokenizerConfig, rate_hz: int) -> AudioTokenizerConfig:
    """A tokenizer of sound at another rate, with windows and codes of the same duration."""
    hop, window = rate_hz // CODES_PER_S, int(WINDOW_S * rate_hz)
    hop //= 2 ** (len(config.vqvae.widths) - 1)
    vqvae = config.vqvae.model_copy(update={"channels": window // 2 + 1})
    sizes = {"sample_rate_hz": rate_hz, "window_samples": window, "hop_samples": hop, "vqvae": vqvae}
    return config.model_copy(update=sizes)
