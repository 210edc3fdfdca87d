"""Tokenizers: shapes at every rank, round trips, any Unicode string, spectrograms, weights on disk."""

import pytest
import torch

from vqfusion.config import AudioTokenizerConfig, ImageTokenizerConfig, VQVAEConfig
from vqfusion.errors import UserError
from vqfusion.nn.spectrogram import compress_magnitude, expand_magnitude, griffin_lim, istft, stft
from vqfusion.nn.weights import round_to_half
from vqfusion.tokenizers.audio import AudioTokenizer
from vqfusion.tokenizers.build import load_tokenizer
from vqfusion.tokenizers.image import ImageTokenizer
from vqfusion.tokenizers.label import LabelTokenizer
from vqfusion.tokenizers.text import TextTokenizer
from vqfusion.tokenizers.vqvae import VQVAE
from vqfusion.types import Sample, Tokenizer, Tokens

SMALL = dict(widths=(8, 8, 16), depths=(0, 1, 1), codebook_size=20, dim=4, levels=(4, 5))
WORDS = ["red apple", "green apple", "roter Apfel", "pomme rouge", "красное яблоко", "红苹果"] * 3


@pytest.fixture(scope="module")
def text() -> TextTokenizer:
    return TextTokenizer.train(WORDS, 300)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("quantizer", ["vq", "fsq"])
def test_vqvae_at_every_rank(rank, quantizer):
    torch.manual_seed(0)
    net = VQVAE(VQVAEConfig(rank=rank, channels=2, quantizer=quantizer, **SMALL)).eval()
    x = torch.randn(2, 2, *(8, 12, 16)[:rank])
    with torch.no_grad():
        out = net(x)
    ids = net.encode(x)
    assert ids.shape == (2, *(2, 3, 4)[:rank]) and out.signal.shape == x.shape
    assert torch.equal(ids, out.codes.indices)
    assert torch.allclose(net.decode(ids), out.signal, atol=1e-5)
    assert int(ids.max()) < net.quantizer.codebook_size
    with pytest.raises(ValueError, match="multiples of 4"):
        net.encode(torch.randn(1, 2, *(7, 8, 8)[:rank]))


def test_vqvae_learns_to_reconstruct():
    torch.manual_seed(0)
    net = VQVAE(VQVAEConfig(rank=1, channels=1, **SMALL))
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    net.quantizer.attach(optimizer)
    phase = torch.linspace(0, 6.28, 64)
    x = torch.stack([torch.sin(torch.arange(32) * 0.4 + p) for p in phase])[:, None]
    losses = []
    for _ in range(150):
        out = net(x)
        mse = (out.signal - x).square().mean()
        optimizer.zero_grad()
        (mse + out.codes.loss).backward()
        optimizer.step()
        losses.append(float(mse.detach()))
    assert losses[-1] < 0.1 * x.square().mean()


@pytest.mark.parametrize(
    "string",
    ["red apple", " double  space ", "Ünïcödé", "한국어 텍스트", "🍎👩‍👩‍👧", "\t\n\x00", "नमस्ते", "שלום", "a" * 500],
)
def test_any_string_survives(text, string):
    tokens = text.encode(Sample("text", string))
    assert text.decode(tokens).data == string
    assert int(tokens.ids.max()) < text.codebook_size


def test_bpe_compresses_what_it_learned_and_is_deterministic(text, tmp_path):
    assert len(text.encode(Sample("text", "red apple")).ids) < 5
    assert TextTokenizer.train(WORDS, 300).fingerprint() == text.fingerprint()
    text.save(tmp_path / "t.json")
    assert TextTokenizer.load(tmp_path / "t.json").fingerprint() == text.fingerprint()
    (tmp_path / "t.json").write_text("{")
    with pytest.raises(UserError, match="t.json: not readable as JSON"):
        TextTokenizer.load(tmp_path / "t.json")


def test_labels(text):
    labels = LabelTokenizer(("cat", "dog"))
    assert labels.decode(labels.encode(Sample("label", "dog"))).data == "dog"
    with pytest.raises(UserError, match="known: cat, dog"):
        labels.encode(Sample("label", "cow"))
    assert isinstance(labels, Tokenizer) and isinstance(text, Tokenizer)


def test_pictures_of_any_size_and_channels():
    torch.manual_seed(0)
    tokenizer = ImageTokenizer(ImageTokenizerConfig(vqvae=VQVAEConfig(**SMALL))).eval()
    for channels, height, width in ((3, 16, 16), (1, 10, 7), (4, 4, 4)):
        tokens = tokenizer.encode(Sample("image", torch.rand(channels, height, width)))
        assert tokens.ids.shape == (-(-height // 4), -(-width // 4))
        back = tokenizer.decode(tokens).data
        assert back.shape == (3, 4 * tokens.ids.shape[0], 4 * tokens.ids.shape[1])
        assert 0 <= float(back.min()) and float(back.max()) <= 1


def test_spectrogram_and_back_is_the_sound():
    x = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0)) * 0.1
    for hop in (100, 128, 160):
        assert torch.allclose(istft(stft(x, 512, hop), 512, hop, 4000), x, atol=1e-5)
    spectrum = stft(x, 512, 100)
    assert torch.allclose(expand_magnitude(compress_magnitude(spectrum)), spectrum.abs(), rtol=1e-3, atol=1e-5)


def test_griffin_lim_finds_a_sound_with_these_magnitudes():
    t = torch.arange(8000) / 16000
    x = (0.3 * torch.sin(2 * torch.pi * (300 + 400 * t) * t) + 0.1 * torch.sin(2 * torch.pi * 1500 * t))[None]
    mag = stft(x, 512, 128).abs()

    def error(steps):
        back = griffin_lim(mag, 512, 128, 8000, steps)
        return float((stft(back, 512, 128).abs() - mag).norm() / mag.norm())

    assert error(32) < 0.1 and error(32) < 0.6 * error(1)
    assert torch.equal(griffin_lim(mag, 512, 128, 8000, 4), griffin_lim(mag, 512, 128, 8000, 4))


def test_sound_goes_to_codes_and_back():
    shape = VQVAEConfig(rank=1, channels=257, widths=(16, 16), depths=(1, 1), quantizer="fsq", levels=(4, 4))
    torch.manual_seed(0)
    tokenizer = AudioTokenizer(AudioTokenizerConfig(hop_samples=100, vqvae=shape)).eval()
    sound = Sample("audio", torch.rand(1, 1010) - 0.5, sample_rate_hz=16000)
    tokens = tokenizer.encode(sound)
    assert tokens.ids.shape == (6,) and tokenizer.samples_per_code == 200
    back = tokenizer.decode(tokens)
    assert back.data.shape == (1, 1200) and back.sample_rate_hz == 16000
    with pytest.raises(ValueError, match="16000 Hz, not 8000 Hz"):
        tokenizer.encode(Sample("audio", sound.data, sample_rate_hz=8000))


def test_weights_come_back_with_the_same_fingerprint(tmp_path):
    config = ImageTokenizerConfig(vqvae=VQVAEConfig(**SMALL))
    tokenizer = ImageTokenizer(config)
    round_to_half(tokenizer)
    tokenizer.write(tmp_path, "image")
    loaded = load_tokenizer(config, tmp_path, "image")
    assert loaded.fingerprint() == tokenizer.fingerprint()
    with torch.no_grad():
        loaded.vqvae.quantizer.codebook[0] += 0.1
    assert loaded.fingerprint() != tokenizer.fingerprint()
    other = ImageTokenizerConfig(vqvae=VQVAEConfig(**{**SMALL, "widths": (8, 8, 8)}))
    with pytest.raises(UserError, match="do not fit the config"):
        load_tokenizer(other, tmp_path, "image")
    path = tmp_path / "tokenizer-image.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="do not fit the config beside it"):
        load_tokenizer(config, tmp_path, "image")


def test_tokens_of_another_grid_decode_too():
    tokenizer = ImageTokenizer(ImageTokenizerConfig(vqvae=VQVAEConfig(**SMALL))).eval()
    ids = torch.zeros(3, 5, dtype=torch.int64)
    assert tokenizer.decode(Tokens(ids, 20, "image")).data.shape == (3, 12, 20)
