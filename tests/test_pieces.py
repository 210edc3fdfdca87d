"""Inputs longer than their slot: cut, answered piece by piece, and joined."""

from dataclasses import replace

import pytest
import torch

from vqfusion.config import (
    AudioTokenizerConfig,
    ChainConfig,
    FusionConfig,
    LabelTokenizerConfig,
    SlotConfig,
    TextTokenizerConfig,
    VQVAEConfig,
)
from vqfusion.data import loudness
from vqfusion.models.fusion.fusion import Fusion, SlotTokens
from vqfusion.models.fusion.slot_tokenizers import SlotTokenizers
from vqfusion.models.fusion.system import System
from vqfusion.models.sampling import Sampling
from vqfusion.tokenizers.audio import AudioTokenizer
from vqfusion.tokenizers.label import LabelTokenizer
from vqfusion.tokenizers.pieces import cut_sound, cut_text, join_texts
from vqfusion.tokenizers.text import TextTokenizer
from vqfusion.types import Sample

SENTENCE = "the film is slow, and the end is good."


def words(most: int):
    return lambda text: len(text.split()) <= most


@pytest.mark.parametrize("most", [1, 2, 7, 1000])
def test_a_text_is_cut_between_words_and_nothing_is_lost(most):
    text = " ".join([SENTENCE, "Is it?  Yes!", "well"] * 9)
    pieces = cut_text(text, words(most))
    assert all(map(words(most), pieces)) and " ".join(pieces).split() == text.split()
    assert " ".join(join_texts(pieces).split()) == " ".join(text.split())
    if most == 7:
        assert sum(piece.endswith((".", "?", "!", ",", "well")) for piece in pieces) > 0.6 * len(pieces)


def test_texts_without_spaces_are_cut_at_their_marks_and_joined_without_spaces():
    text = "今天天气很好。我们去公园。他在家。" * 4
    pieces = cut_text(text, lambda part: len(part) <= 20)
    assert all(piece.endswith("。") for piece in pieces) and join_texts(pieces) == text
    assert "".join(cut_text("x" * 50, lambda part: len(part) <= 8)) == "x" * 50


@pytest.mark.parametrize("length", [1, 399, 400, 401, 3217])
def test_a_sound_is_cut_where_it_is_quiet_into_whole_codes(length):
    generator = torch.Generator().manual_seed(0)
    sound = torch.randn(1, length, generator=generator)
    sound[:, 300:320] = sound[:, 620:640] = 0.0
    pieces = cut_sound(sound, 400, 10, 100)
    assert torch.equal(torch.cat(pieces, dim=1), sound)
    assert all(0 < one.shape[1] <= 400 for one in pieces) and all(one.shape[1] % 10 == 0 for one in pieces[:-1])
    if length > 1000:
        assert [one.shape[1] for one in pieces[:2]] == [310, 320], "in the middle of both pauses"


@pytest.fixture(scope="module")
def small() -> System:
    """A network that has learned nothing, over texts, sounds and labels."""
    torch.manual_seed(0)
    vqvae = VQVAEConfig(rank=1, channels=33, widths=(8,), depths=(0,), quantizer="fsq", levels=(3, 3))
    audio = AudioTokenizerConfig(
        sample_rate_hz=1000, window_samples=64, hop_samples=20, griffin_lim_steps=1, vqvae=vqvae
    )
    text = TextTokenizer.train([SENTENCE], 300)
    tokenizers = {
        "text": text, "audio": AudioTokenizer(audio).eval(), "label": LabelTokenizer(("good", "bad", "odd")),
        "length:text": LabelTokenizer(tuple(map(str, range(1, 17))), "length"),
        "length:audio": LabelTokenizer(tuple(map(str, range(1, 11))), "length"),
    }  # fmt: skip
    words = dict(tokenizer="text", shape=(16,), variable=True, steps=16, temperature=0.0, certain=0.5)
    slots = {
        "text:en": SlotConfig(**words), "text:de": SlotConfig(**words),
        "audio": SlotConfig(tokenizer="audio", shape=(20,), patch=(2,), variable=True, steps=2),
        "label": SlotConfig(tokenizer="label", shape=(1,)),
        "length:de": SlotConfig(tokenizer="length:text", shape=(1,)),
        "length:audio": SlotConfig(tokenizer="length:audio", shape=(1,)),
    }  # fmt: skip
    configs = {
        "text": TextTokenizerConfig(vocabulary_size=text.codebook_size), "audio": audio,
        **{name: LabelTokenizerConfig(names=one.names) for name, one in tokenizers.items() if one.closed},
    }  # fmt: skip
    chain = ChainConfig(
        name="small", tokenizers=configs, languages=("en", "de"),
        fusion=FusionConfig(dim=32, layers=2, heads=2, slots=slots, positions="rotary"),
    )  # fmt: skip
    slot_tokenizers = SlotTokenizers(chain, tokenizers)
    return System(chain, slot_tokenizers, Fusion(chain.fusion, slot_tokenizers.vocabularies))


def say(*texts: str) -> list[Sample]:
    return [Sample("text", text) for text in texts]


def noise(seconds: float) -> Sample:
    sound = 0.2 * torch.randn(1, int(1000 * seconds), generator=torch.Generator().manual_seed(1))
    return Sample("audio", sound, sample_rate_hz=1000)


def test_a_long_text_is_judged_by_the_pool_of_its_pieces(small):
    short, long = SENTENCE, " ".join([SENTENCE] * 8)
    (alone,) = small.distribution({"text:en": say(short)}, "label")
    (pooled,) = small.distribution({"text:en": say(long)}, "label")
    assert pooled == pytest.approx(alone), "all of its pieces are the same sentence"
    pieces = small.tokenizers.pieces("text:en", Sample("text", "a good film. " * 30))
    each = small.distribution({"text:en": pieces}, "label")
    sizes = [len(piece.data) for piece in pieces]
    (whole,) = small.distribution({"text:en": say("a good film. " * 30)}, "label")
    logs = torch.tensor([[one[name] for name in ("good", "bad", "odd")] for one in each]).log()
    expected = (torch.tensor(sizes)[:, None] / sum(sizes) * logs).sum(0).softmax(0)
    assert [whole[name] for name in ("good", "bad", "odd")] == pytest.approx(expected.tolist(), abs=1e-5)


def test_what_fits_is_answered_as_a_whole_beside_what_does_not(small):
    texts = say(SENTENCE, " ".join([SENTENCE] * 5), "a film")
    together = small.distribution({"text:en": texts}, "label")
    for one, text in zip(together, texts, strict=True):
        assert one == pytest.approx(small.distribution({"text:en": [text]}, "label")[0], abs=1e-6)
    vectors = small.embed({"text:en": texts})
    assert torch.allclose(vectors[1:2], small.embed({"text:en": texts[1:2]}), atol=1e-5)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(3), atol=1e-5)


def test_answers_to_pieces_are_joined_and_do_not_depend_on_the_batch(small):
    texts, sampling = say(SENTENCE, " ".join([SENTENCE] * 4)), Sampling(samples=2, seed=3)
    made = small.generate({"text:en": texts}, "text:de", sampling)
    alone = small.generate({"text:en": texts[:1]}, "text:de", sampling)
    assert [one.data for one in made.samples[0]] == [one.data for one in alone.samples[0]]
    pieces = small.tokenizers.pieces("text:en", texts[1])
    parts = small.generate({"text:en": pieces[:1]}, "text:de", replace(sampling, items=(1,)))
    assert len(pieces) >= 2 and made.samples[1][0].data.startswith(parts.samples[0][0].data)


def test_hours_of_sound_are_heard_and_a_long_text_is_spoken(small):
    (speakers,) = small.distribution({"audio": noise(9.7)}, "label")
    assert sum(speakers.values()) == pytest.approx(1)
    made = small.generate({"audio": noise(3.3)}, "text:de")
    assert made.samples[0][0].data and not made.warnings
    spoken = small.generate({"text:en": say(" ".join([SENTENCE] * 4))}, "audio")
    pieces = small.tokenizers.pieces("text:en", Sample("text", " ".join([SENTENCE] * 4)))
    assert spoken.samples[0][0].data.shape[1] >= len(pieces) * 40


def test_an_answer_that_cannot_be_joined_is_about_the_beginning_and_says_so(small):
    made = small.generate({"text:en": say(" ".join([SENTENCE] * 4))}, "label")
    assert "beginning" in made.warnings[0]


def test_a_bound_of_a_long_text_is_that_of_its_pieces(small):
    long = " ".join([SENTENCE] * 3)
    pieces = small.tokenizers.pieces("text:en", Sample("text", long))
    whole = small.likelihood({}, {"text:en": say(long)}, draws=2)
    parts = small.likelihood({}, {"text:en": pieces}, draws=2)
    assert whole.bits == pytest.approx(parts.bits) and whole.tokens == parts.tokens


def test_without_a_table_a_sequence_may_be_of_any_length(small):
    fusion = small.fusion
    assert "text__en" not in fusion.places and "label" in fusion.places
    ids = torch.randint(256, (1, 2048), generator=torch.Generator().manual_seed(0))
    mask = torch.arange(2048)[None] < 700
    with torch.no_grad():
        padded = fusion.prefix({"text:en": SlotTokens(ids, mask)}, 1)
        exact = fusion.prefix({"text:en": SlotTokens(ids[:, :700])}, 1)
    assert torch.allclose(padded.values[-1][:, :, :701], exact.values[-1], atol=1e-5)


def test_the_loudness_of_hours_is_measured_in_parts(monkeypatch):
    sound = torch.randn(5000, generator=torch.Generator().manual_seed(0)) + 0.3
    sound[1000:2000] = 0.0
    whole = loudness.loudness(sound, 1000)
    monkeypatch.setattr(loudness, "LONG", 700)
    assert loudness.loudness(sound, 1000) == pytest.approx(whole, rel=1e-6)
    assert loudness.loudness(torch.zeros(5000), 1000) == 0
