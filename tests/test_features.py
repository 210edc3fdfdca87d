"""Continuous features in place of tokens where a sound is given."""

import pytest
import torch

from vqfusion.config import (
    AudioTokenizerConfig,
    ChainConfig,
    DrawConfig,
    FusionConfig,
    LabelTokenizerConfig,
    SlotConfig,
    VQVAEConfig,
)
from vqfusion.models.fusion.fusion import Fusion, FusionBatch, SlotFrames, SlotTokens
from vqfusion.models.fusion.generate import slot_distribution
from vqfusion.models.fusion.slots import stack_frames
from vqfusion.nn.spectrogram import log_mel, mel_filters
from vqfusion.tokenizers.audio import AudioTokenizer
from vqfusion.train.codec.augment import vary_frames
from vqfusion.train.fusion.draws import TokenRecord
from vqfusion.train.fusion.held_out import HeldOut
from vqfusion.types import Sample

RATE = 8000


def tone(hertz: float, seconds: float = 0.4, gain: float = 0.3) -> torch.Tensor:
    return gain * torch.sin(2 * torch.pi * hertz * torch.arange(round(seconds * RATE)) / RATE)[None]


def test_a_tone_is_in_its_band_and_loudness_changes_nothing():
    filters = mel_filters(129, RATE, 40)
    assert filters.shape == (40, 129) and (filters.sum(dim=1) > 0).all()
    bands = []
    for hertz in (200.0, 1000.0, 3000.0):
        frames = log_mel(tone(hertz), RATE, 40)
        assert frames.shape == (1, 40, 40) and torch.isfinite(frames).all()
        band = int(frames[0, 10:-10].mean(dim=0).argmax())
        bands.append(band)
        assert abs(int(filters[:, round(hertz / RATE * 256)].argmax()) - band) <= 1
        assert torch.allclose(frames, log_mel(tone(hertz, gain=0.03), RATE, 40), atol=1e-3)
    assert bands == sorted(bands) and torch.isfinite(log_mel(torch.zeros(1, 800), RATE, 40)).all()


def test_frames_of_a_sound_of_any_rate_are_whole_positions():
    shape = VQVAEConfig(rank=1, channels=129, widths=(8,), depths=(0,), quantizer="fsq", levels=(3, 3))
    tokenizer = AudioTokenizer(
        AudioTokenizerConfig(sample_rate_hz=RATE, window_samples=256, hop_samples=50, vqvae=shape)
    )
    frames = tokenizer.features(Sample("audio", tone(500, 0.21), sample_rate_hz=RATE), 40, 4)
    assert frames.shape == (24, 40)
    other = tokenizer.features(Sample("audio", tone(500, 0.21).repeat(2, 1), sample_rate_hz=2 * RATE), 40, 4)
    assert other.shape == (12, 40), "half as long, and one channel of two"


@pytest.fixture(scope="module")
def fusion() -> Fusion:
    torch.manual_seed(0)
    slots = {
        "audio": SlotConfig(tokenizer="audio", shape=(24,), patch=(2,), variable=True, features=5),
        "label": SlotConfig(tokenizer="label", shape=(1,)),
    }
    config = FusionConfig(
        dim=32, layers=2, heads=2, slots=slots, positions="rotary", packed=True, dropout=0.2, label_smoothing=0.1
    )
    made = Fusion(config, {"audio": 7, "label": 4})
    for name, parameter in made.named_parameters():
        if "conv_out" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return made


def test_padding_of_frames_changes_nothing(fusion):
    frames = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0))
    padded = SlotFrames(torch.cat([frames, torch.ones(2, 4, 5)], dim=1), (torch.arange(10) < 6).expand(2, -1))
    hidden = SlotTokens(torch.zeros(2, 1, dtype=torch.int64))
    fusion.eval()
    with torch.no_grad():
        both = [
            fusion.logits(
                {"label": hidden}, {"label": torch.ones(2, 1, dtype=torch.bool)}, fusion.prefix({"audio": one}, 2)
            )["label"]
            for one in (SlotFrames(frames), padded)
        ]
    assert torch.allclose(*both, atol=1e-5)


def test_dropout_follows_from_the_seed_and_smoothing_is_for_training_alone(fusion):
    frames = SlotFrames(torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0)))
    label, hidden = SlotTokens(torch.tensor([[1], [3]])), torch.ones(2, 1, dtype=torch.bool)

    def loss(seed: int) -> tuple[float, float]:
        batch = FusionBatch({"audio": frames}, {"label": label}, {"label": hidden}, torch.ones(2), name="x", seed=seed)
        made, report = fusion.loss([batch])
        return float(made.detach()), float(report["bits/x/label"])

    fusion.train()
    assert loss(1) == loss(1) and loss(1) != loss(2)
    smoothed, bits = loss(1)
    assert abs(smoothed - bits * 0.6931) > 1e-4, "the report is the cross-entropy of the labels"
    fusion.eval()
    plain, bits = loss(1)
    assert plain == pytest.approx(bits * 0.693147, rel=1e-4) and loss(2) == (plain, bits)


def test_varied_frames_are_whole_positions_of_the_same_seed():
    frames = torch.randn(48, 40, generator=torch.Generator().manual_seed(0))
    sizes = set()
    for seed in range(30):
        first, again = (vary_frames(frames, 4, torch.Generator().manual_seed(seed)) for _ in range(2))
        assert torch.equal(first, again) and torch.isfinite(first).all() and first.shape[1] == 40
        assert first.shape[0] % 4 == 0 and 38 <= first.shape[0] <= 60
        sizes.add(first.shape[0])
    assert len(sizes) > 3
    assert vary_frames(frames[:4], 4, torch.Generator().manual_seed(0)).shape[0] >= 4


def test_frames_of_several_lengths_are_one_batch_with_a_mask():
    frames, mask = stack_frames([torch.ones(4, 3), torch.ones(2, 3)])
    assert frames.shape == (2, 4, 3) and mask.tolist() == [[True] * 4, [True, True, False, False]]
    assert float(frames.sum()) == 18 and stack_frames([torch.ones(4, 3)] * 2)[1] is None


def test_names_are_validated_with_the_frames_that_the_model_is_given(fusion):
    """Truths that are what the model answers to the frames: no answer is wrong; codes say nothing."""
    names = ("a", "b", "c", "d")
    chain = ChainConfig(
        name="x",
        tokenizers={"audio": AudioTokenizerConfig(), "label": LabelTokenizerConfig(names=names)},
        fusion=fusion.config,
        draws=(DrawConfig(given=("audio",), target=("label",)),),
    )
    generator, records = torch.Generator().manual_seed(0), []
    fusion.eval()
    for i in range(12):
        frames = 3 * torch.randn(2 + 2 * (i % 3), 5, generator=generator)
        with torch.no_grad():
            answer = slot_distribution(fusion, "label", fusion.prefix({"audio": SlotFrames(frames[None])}, 1)).argmax(1)
        records.append(
            TokenRecord(str(i), ({"audio": torch.zeros(len(frames)).long(), "label": answer},), {"audio": frames})
        )
    assert len({int(one.slots["label"]) for one in records}) > 1
    held_out = HeldOut(records, chain, frozenset())
    assert held_out(fusion).values["error audio>label"] == 0
