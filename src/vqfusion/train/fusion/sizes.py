"""Sizes of a chain that follow from the data: lengths of texts and sounds, sample rate."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from vqfusion.config import AudioTokenizerConfig, ChainConfig, LabelTokenizerConfig, SlotConfig, TextTokenizerConfig
from vqfusion.data import Dataset
from vqfusion.modalities import MODALITIES
from vqfusion.models.fusion.slots import SlotName, length_slot, patch_size
from vqfusion.tokenizers.text import TextTokenizer
from vqfusion.types import Sample

FIT = 0.99  # share of the samples that fit their slot as a whole; longer ones are cut into pieces
LOOKED_AT = 2000  # texts, and a tenth of it in sounds, from which lengths are estimated
LONGEST_TEXT, LONGEST_SOUND = 2048, 2400  # tokens at most by default: half a minute of sound
SHORTEST = 8
RATES_HZ = (8000, 16000, 24000)
FEW = 20_000  # records below which dropout, label smoothing and weight decay keep a model from learning them by heart
BAND_MEL = 53.6  # width of a band of the features: 40 bands of 8 kHz sound
SLOWER = 1.5  # times the longest sound is heard as a whole: a new speaker may be slower than all in training
CODES_PER_S, WINDOW_S = 80, 0.032
VIEWS = 6  # of pictures that a few records are learned from
PICTURED = {name for name, modality in MODALITIES.items() if modality.pictured}

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
            heard = 0 if SlotName.parse(name).view else mel_bands(rate_of(sounds))
            longest = fitting(codes) * (SLOWER if heard else 1)
            shape = (rounded(math.ceil(longest), patch_size(slot), LONGEST_SOUND),)
            slots[name] = slot.model_copy(update={"shape": shape, "features": heard})
    for name, slot in slots.items():
        if slot.variable and (length := slots.get(length_slot(name))):
            sharing = [one for one in slots if length_slot(one) in slots and slots[one].variable]
            same = [one for one in sharing if slots[length_slot(one)].tokenizer == length.tokenizer]
            most = max(slots[one].shape[0] // patch_size(slots[one]) for one in same)
            tokenizers[length.tokenizer] = LabelTokenizerConfig(names=tuple(str(n + 1) for n in range(most)))
    changed = chain.model_copy(update={"tokenizers": tokenizers, **_trained(chain, slots, dataset)})
    return ChainConfig.model_validate(changed.model_dump())


def _trained(chain: ChainConfig, slots: dict[str, SlotConfig], dataset: Dataset) -> dict[str, Any]:
    """Transformer, draws and stages: features are varied, codecs that nothing asks for stay as they are made."""
    few = len(dataset.select("train")) < FEW
    careful = {"dropout": 0.1, "label_smoothing": 0.05} if few else {}
    decay = {"weight_decay": 0.05} if few else {}
    heard = {name for name, slot in slots.items() if slot.features}
    targets = {name for row in chain.draws for group in (row.target, *row.also) for name in group}
    asked = {slot.tokenizer for name, slot in slots.items() if name in targets}
    unasked = {slots[name].tokenizer for name in heard} - asked
    varied = heard | ({name for name in slots if SlotName.parse(name).modality in PICTURED} if few else set())
    return {
        "fusion": chain.fusion.model_copy(update={"slots": slots, "positions": "rotary", "packed": True, **careful}),
        "fusion_stage": chain.fusion_stage.model_copy(update=decay),
        "draws": tuple(
            row.model_copy(update={"augment": True}) if varied & {*row.given} else row for row in chain.draws
        ),
        "views_per_sample": VIEWS if varied - heard else 1,
        "tokenizer_stages": {
            name: stage.model_copy(update={"steps": 0}) if name in unasked else stage
            for name, stage in chain.tokenizer_stages.items()
        },
    }


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


def mel_bands(rate_hz: int) -> int:
    """Number of bands of the features of sound at a rate."""
    return round(2595 * math.log10(1 + rate_hz / 2 / 700) / BAND_MEL)


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
