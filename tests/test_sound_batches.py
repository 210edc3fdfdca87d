"""Sounds that a tokenizer learns from are those that it is given in use."""

import torch

from vqfusion.data.loudness import as_heard
from vqfusion.data.record import Dataset, Record
from vqfusion.train.codec.sources import load_sounds, usual_length
from vqfusion.types import Sample


def test_a_sound_tokenizer_learns_from_sounds_as_loud_as_it_is_given_them():
    """Quiet recordings are raised before they are encoded, so that they are raised in training too."""
    quiet = Sample(
        "audio", 0.003 * torch.randn(2, 4000, generator=torch.Generator().manual_seed(0)), sample_rate_hz=8000
    )
    data = Dataset("quiet", [Record("a", "train", sources={"audio": lambda: quiet})])
    (learned,) = load_sounds(data, 8000)
    assert learned.shape == (1, 4000) and torch.equal(learned, as_heard(quiet, 8000))
    assert 0.05 < float(learned.square().mean().sqrt()) < 0.3
    twice = Sample("audio", 2 * quiet.data, sample_rate_hz=8000)
    assert torch.allclose(as_heard(twice, 8000), learned, atol=1e-5)


def test_crops_are_as_long_as_most_sounds():
    sounds = [torch.zeros(1, 400)] * 95 + [torch.zeros(1, 9000)] * 5
    assert usual_length(sounds, 100) == 400 and usual_length(sounds, 300) == 600
