"""Slots as long as the data, and records longer than their slot."""

import pytest
import torch

from vqfusion.config import ShortConfig
from vqfusion.data import Dataset, Record
from vqfusion.models.fusion.slot_tokenizers import SlotTokenizers
from vqfusion.tokenizers.build import build_network
from vqfusion.tokenizers.label import LabelTokenizer
from vqfusion.tokenizers.text import TextTokenizer
from vqfusion.train.fusion.own_data import expand
from vqfusion.train.fusion.sizes import fitting, rate_of, spread
from vqfusion.train.fusion.views import tokenize_records
from vqfusion.types import Sample

TASKS = ("classify", "write")
WORDS = "the sea is calm and a boat goes by while birds sleep".split()


def texts(longest: int) -> Dataset:
    """200 texts of 1 to 12 words and one of `longest`."""
    generator = torch.Generator().manual_seed(0)

    def text(count: int) -> str:
        return " ".join(WORDS[int(i)] for i in torch.randint(len(WORDS), (count,), generator=generator)) + "."

    made = [text(1 + i % 12) for i in range(200)] + [". ".join(text(9) for _ in range(longest // 9))]
    rows = [(text, "ab"[i % 2]) for i, text in enumerate(made)]
    sources = [
        {"text:en": (lambda text=text: Sample("text", text)), "label": (lambda label=label: Sample("label", label))}
        for text, label in rows
    ]
    return Dataset("texts", [Record(str(i), "train", sources=one) for i, one in enumerate(sources)])


def tones(rate_hz: int, seconds: list[float]) -> Dataset:
    sounds = [Sample("audio", torch.rand(1, round(s * rate_hz)) - 0.5, sample_rate_hz=rate_hz) for s in seconds]
    sources = [{"audio": (lambda one=one: one), "speaker": lambda: Sample("label", "x")} for one in sounds]
    return Dataset("tones", [Record(str(i), "train", sources=one) for i, one in enumerate(sources)])


def test_the_length_of_a_slot_is_what_99_of_100_samples_have():
    assert fitting(range(1, 101)) == 99 and fitting([5]) == 5
    assert spread(list(range(10)), 4) == [0, 2, 5, 7] and spread([1, 2], 5) == [1, 2]
    chain = expand(ShortConfig(name="x", data="x", size="tiny", tasks=TASKS), texts(400))
    slot = chain.fusion.slots["text:en"]
    assert 8 <= slot.shape[0] <= 32 and slot.shape[0] % 8 == 0 and chain.fusion.positions == "rotary"
    assert len(chain.tokenizers["length:text"].names) == slot.shape[0] == slot.steps
    longer = expand(ShortConfig(name="x", data="x", size="tiny", tasks=TASKS, max_length=2048), texts(400))
    assert longer.fusion.slots["text:en"].shape == (2048,) and len(longer.tokenizers["length:text"].names) == 2048


def test_a_text_longer_than_its_slot_is_learned_from_whole():
    dataset = texts(400)
    chain = expand(ShortConfig(name="x", data="x", size="tiny", tasks=TASKS), dataset)
    loaded = [record.load("text:en").data for record in dataset.records]
    text = TextTokenizer.train(loaded, 300)
    slots = SlotTokenizers(chain, {"text": text, "label": LabelTokenizer(("a", "b"))})
    records = tokenize_records(dataset, slots, chain)
    pieces = [one.slots["text:en"] for one in records if one.key == "200"]
    assert len(records) == 200 + len(pieces) and len(pieces) > 400 / chain.fusion.slots["text:en"].shape[0]
    assert all({"text:en", "label"} == one.slots.keys() for one in records)
    said = " ".join(text.bpe.decode(one.tolist()) for one in pieces)
    assert said.split() == loaded[-1].split()


@pytest.mark.parametrize("rate,taken", [(8000, 8000), (11025, 16000), (22050, 24000), (48000, 24000)])
def test_sound_is_taken_at_the_rate_of_the_data(rate, taken):
    assert rate_of([Sample("audio", torch.zeros(1, 9), sample_rate_hz=rate)]) == taken


def test_sounds_longer_than_their_slot_are_learned_in_pieces():
    dataset = tones(8000, [0.5] * 199 + [4.0])
    chain = expand(ShortConfig(name="x", data="x", size="tiny", slots=("audio", "speaker")), dataset)
    slot, config = chain.fusion.slots["audio"], chain.tokenizers["audio"]
    assert (config.sample_rate_hz, config.window_samples, config.vqvae.channels) == (8000, 256, 129)
    assert slot.shape[0] == 60 and len(chain.tokenizers["length:audio"].names) == 15  # one and a half of 0.5 s
    tokenizer = build_network(config).eval()
    assert tokenizer.seconds(80) == 1.0
    slots = SlotTokenizers(chain, {"audio": tokenizer, "speaker": LabelTokenizer(("x",))})
    records = tokenize_records(dataset, slots, chain)
    pieces = [one.slots["audio"] for one in records if one.key == "199"]
    assert sum(map(len, pieces)) == 320 and all(len(one) <= 60 for one in pieces)
