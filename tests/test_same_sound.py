"""The same sound in another file, at another level, in other channels gives the same answer, in that file's terms."""

import struct

import numpy as np
import pytest
import soundfile
import torch

from vqfusion.config import PriorConfig
from vqfusion.data.io import read, write
from vqfusion.data.io import sound as sound_files
from vqfusion.data.io.riff import further_chunks
from vqfusion.data.io.sound import SoundExtras, mixed, read_sound, write_sound
from vqfusion.data.loudness import HEARD, SPEECH, gain_to_be_heard, loudness
from vqfusion.errors import UserError
from vqfusion.models.codec.codec import Codec
from vqfusion.models.restoration.fitted import FittedSample
from vqfusion.models.restoration.prior import Prior
from vqfusion.models.sampling import Sampling
from vqfusion.tasks import TASKS
from vqfusion.types import Sample

RATE = 16000
STORED = [
    ("WAV", "PCM_U8"), ("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "PCM_32"), ("WAV", "FLOAT"), ("WAV", "DOUBLE"),
    ("WAV", "ULAW"), ("WAV", "ALAW"), ("FLAC", "PCM_S8"), ("FLAC", "PCM_24"), ("AIFF", "PCM_24"), ("AIFF", "FLOAT"),
    ("W64", "PCM_32"), ("AU", "ULAW"), ("CAF", "ALAC_24"),
]  # fmt: skip
SUFFIX = {form: suffix for suffix, form in reversed(sound_files.FORMATS.items())}


def voice(seconds: float = 0.5, gain: float = 1.0) -> np.ndarray:
    """Bursts of a falling tone with pauses of near silence between them."""
    t = np.arange(int(seconds * RATE)) / RATE
    tone = 0.3 * np.sin(2 * np.pi * (300 * t - 80 * t**2)) * (np.sin(2 * np.pi * 4 * t) > -0.3)
    return gain * (tone + 0.01 * np.random.default_rng(0).standard_normal(len(t)))


@pytest.fixture(scope="module")
def prior() -> Prior:
    """An untrained prior that changes what it is given."""
    torch.manual_seed(0)
    config = PriorConfig(modality="audio", value_range=(-1.0, 1.0), sample_rate_hz=RATE, widths=(4, 6), depths=(1, 1))
    made = Prior(config).eval().requires_grad_(False)
    for parameter in made.parameters():
        if not parameter.abs().max():
            torch.nn.init.normal_(parameter, std=0.02)
    return made


def asked(prior: Prior, task: str, sample: Sample, **options) -> tuple[Sample, float]:
    answer = TASKS[task](**options)(prior, sample, Sampling())
    return answer.samples[0][0], answer.findings[0].sigma


# files


@pytest.mark.parametrize("form, subtype", STORED)
def test_every_way_of_storing_comes_back_to_the_last_bit(tmp_path, form, subtype):
    path, again = (tmp_path / f"{name}{SUFFIX[form]}" for name in "ab")
    stereo = np.stack([voice(), -0.5 * voice()], 1)
    soundfile.write(path, stereo, 44100, subtype=subtype, format=form)
    sample = read_sound(path, keep=True)
    assert sample.data.shape == (2, 8000) and write_sound(sample, again) == ()
    info = soundfile.info(again)
    assert (info.format, info.subtype, info.samplerate, info.channels, info.frames) == (form, subtype, 44100, 2, 8000)
    assert torch.equal(read_sound(again, keep=True).data, sample.data)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".w64", ".au", ".caf"])
def test_every_suffix_is_written_and_told_by_its_first_bytes(tmp_path, suffix):
    sample = Sample("audio", torch.from_numpy(voice()).float()[None], sample_rate_hz=RATE)
    write(sample, tmp_path / f"a{suffix}")
    (tmp_path / f"a{suffix}").rename(tmp_path / "a.txt")
    back = read(tmp_path / "a.txt")
    assert back.modality == "audio" and abs(back.data.shape[1] / back.sample_rate_hz - 0.5) < 0.1


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
def test_tags_stay_and_what_a_format_cannot_hold_is_said(tmp_path, suffix):
    tags = {"title": "Größe", "artist": "A. N. Other"}
    sample = Sample("audio", torch.from_numpy(voice()).float()[None], RATE, extras=SoundExtras(tags=tags))
    assert write_sound(sample, tmp_path / f"a{suffix}") == ()
    assert tags.items() <= read_sound(tmp_path / f"a{suffix}", keep=True).extras.tags.items()
    [line] = write_sound(sample, tmp_path / "a.w64")
    assert "title" in line and "artist" in line


def test_floats_beyond_full_scale_keep_their_level_and_are_clipped_only_with_a_line(tmp_path):
    loud = voice(gain=8.0)
    soundfile.write(tmp_path / "a.wav", loud, RATE, subtype="FLOAT")
    sample = read_sound(tmp_path / "a.wav", keep=True)
    np.testing.assert_allclose(sample.data[0], loud, rtol=1e-6)
    assert write_sound(sample, tmp_path / "b.wav") == ()
    assert torch.equal(read_sound(tmp_path / "b.wav").data, sample.data)
    [line] = write_sound(sample, tmp_path / "b.flac")
    assert "clipped" in line and read_sound(tmp_path / "b.flac").data.abs().max() <= 1


def test_a_sound_of_too_many_values_is_refused_with_what_can_be_done(tmp_path, monkeypatch):
    monkeypatch.setattr(sound_files, "MOST_VALUES", 7999)
    soundfile.write(tmp_path / "a.wav", voice(), RATE)
    with pytest.raises(UserError, match="cut it into pieces"):
        read(tmp_path / "a.wav")


# channels


@pytest.mark.parametrize("case", ["same", "opposite", "left", "right"])
def test_channels_are_mixed_without_cancelling(case):
    one = torch.from_numpy(voice()).float()
    channels = {"same": (one, one), "opposite": (one, -0.98 * one), "left": (one, 0 * one), "right": (0 * one, one)}
    made = mixed(Sample("audio", torch.stack(channels[case]), sample_rate_hz=RATE))
    level = float(made.data[0] @ one / (one @ one))
    assert made.data.shape == (1, len(one)) and 0.98 < abs(level) < 1.01
    assert bool(made.notes) == (case != "same")


@pytest.mark.parametrize("task", ["enhance", "denoise"])
@pytest.mark.parametrize("sigma", [None, "0.01"])
def test_each_channel_is_restored_as_if_alone(prior, task, sigma):
    left, right = torch.from_numpy(np.stack([voice(), 0.1 * voice()[::-1]])).float()
    silent = torch.zeros_like(left)
    whole, _ = asked(prior, task, Sample("audio", torch.stack([left, right, silent]), RATE), sigma=sigma)
    for channel, made in zip((left, right), whole.data, strict=False):
        alone, _ = asked(prior, task, Sample("audio", channel[None], RATE), sigma=sigma)
        torch.testing.assert_close(made, alone.data[0], atol=1e-5, rtol=1e-4)
    assert not whole.data[2].any(), "digital silence"


# level


@pytest.mark.parametrize("gain, offset", [(0.01, 0.0), (1e-4, 0.0), (50.0, 0.0), (1.0, 0.2)])
@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("task", ["enhance", "denoise"])
def test_gain_and_offset_do_not_change_the_answer(prior, task, rate, gain, offset):
    data = torch.from_numpy(voice()).double()[None]
    plain, sigma = asked(prior, task, Sample("audio", data, rate))
    other, other_sigma = asked(prior, task, Sample("audio", data * gain + offset, rate))
    torch.testing.assert_close((other.data - offset) / gain, plain.data, atol=2e-5, rtol=0)
    assert other_sigma == pytest.approx(gain * sigma, rel=1e-2)


def test_neither_pauses_nor_a_click_move_the_loudness():
    sound = torch.from_numpy(voice(1.0))
    own = loudness(sound, RATE)
    assert loudness(0.003 * sound, RATE) == pytest.approx(0.003 * own)
    assert loudness(torch.cat([sound, torch.zeros(4 * RATE)]), RATE) == pytest.approx(own, rel=0.05)
    clicked = 0.003 * sound
    clicked[777] = 1.0
    assert loudness(clicked, RATE) == pytest.approx(0.003 * own, rel=0.05)
    assert loudness(torch.zeros(100), RATE) == loudness(torch.full((100,), 0.5), RATE) == 0


def test_a_sound_is_fitted_to_the_loudness_of_speech(prior):
    quiet = torch.from_numpy(voice(gain=0.002)).float()[None]
    fitted = FittedSample.of(Sample("audio", quiet, RATE), prior)
    assert loudness(fitted.y[0, 0], RATE) == pytest.approx(SPEECH, rel=1e-3)
    torch.testing.assert_close(fitted.back(fitted.y).data, quiet)


@pytest.mark.parametrize("gain", [0.01, 0.001, 20.0])
def test_codes_of_a_sound_do_not_depend_on_its_level_and_it_comes_back_at_it(system, gain):
    codec = Codec(system.tokenizers, {})
    sound = torch.from_numpy(voice()).float()[None]
    sound *= SPEECH / loudness(sound[0], RATE)
    plain, other = (codec.encode(Sample("audio", data, RATE)) for data in (sound, gain * sound))
    assert plain.header.scale is None and plain.payload == other.payload
    ratio = codec.decode(other).data.square().mean() / codec.decode(plain).data.square().mean()
    assert float(ratio) == pytest.approx(gain**2, rel=1e-3)
    heard = system.tokenizers.encode_many("audio", [Sample("audio", data, RATE) for data in (sound, gain * sound)])
    assert torch.equal(*heard)


def test_the_sounds_of_the_shipped_model_are_taken_as_they_are():
    from vqfusion.data.emoji import open_emoji

    clips = [record.load("audio") for record in open_emoji().records if "audio" in record.sources][::50]
    levels = [loudness(clip.data[0], clip.sample_rate_hz) for clip in clips]
    assert HEARD[0] < min(levels) and max(levels) < HEARD[1]
    assert all(gain_to_be_heard(clip.data[0], clip.sample_rate_hz) == 1 for clip in clips)


# what was known stays


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_32", "DOUBLE"])
def test_outside_its_gap_a_sound_stays_to_the_last_bit(cli, prior, subtype):
    stereo = np.stack([voice(), 0.01 * voice()[::-1]], 1)
    mask = np.zeros(len(stereo), np.float32)
    mask[3000:3300] = 1
    stereo[mask > 0] = 0.9  # what lies in the gap is not looked at
    soundfile.write("a.wav", stereo, 44100, subtype=subtype)
    np.save("mask.npy", mask)
    prior.save_pretrained("prior")
    code, out, err = cli("inpaint", "a.wav", "--mask", "mask.npy", "--model", "prior", "--steps", "2")
    assert (code, out) == (0, "a.inpaint.wav\n") and "8000 Hz" in err
    before, after = (soundfile.read(name)[0] for name in ("a.wav", "a.inpaint.wav"))
    assert soundfile.info("a.inpaint.wav").subtype == subtype
    assert np.array_equal(before[mask == 0], after[mask == 0])
    assert np.abs(after[mask > 0]).max(0)[1] < 0.1, "filled in at the level of its channel"


def test_the_format_stays(cli, prior):
    prior.save_pretrained("prior")
    soundfile.write("a.flac", np.stack([voice(), voice()], 1), 22050, subtype="PCM_24")
    assert cli("enhance", "a.flac", "--model", "prior")[:2] == (0, "a.enhance.flac\n")
    info = soundfile.info("a.enhance.flac")
    assert (info.subtype, info.channels, info.samplerate, info.frames) == ("PCM_24", 2, 22050, 8000)


def test_a_model_over_codes_answers_channel_by_channel_at_their_levels(system):
    one = torch.from_numpy(voice()).float()
    sample = Sample("audio", torch.stack([one, -0.01 * one, 0 * one]), RATE, extras=SoundExtras(subtype="FLOAT"))
    [[made]] = TASKS["enhance"]()(system, sample, Sampling(steps=1)).samples
    levels = [loudness(channel, RATE) for channel in made.data]
    assert made.data.shape == sample.data.shape and made.extras == sample.extras
    assert levels[2] == 0 and 0.003 < levels[1] / levels[0] < 0.03


def chunk(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def test_chunks_of_a_wav_file_stay_and_what_cannot_hold_them_says_so(tmp_path):
    soundfile.write(tmp_path / "a.wav", voice(), 16000, "PCM_24")
    further = (
        (b"bext", b"Broadcast Wave" * 50),
        (b"cue ", struct.pack("<II4sIII", 1, 80, b"data", 0, 0, 80)),
        (b"iXML", b"<a/>\n"),
    )
    whole = (tmp_path / "a.wav").read_bytes()
    extra = b"".join(chunk(*one) for one in further)
    (tmp_path / "a.wav").write_bytes(
        whole[:4] + struct.pack("<I", len(whole) + len(extra) - 8) + whole[8:36] + extra + whole[36:]
    )
    sample = read(tmp_path / "a.wav", keep=True)
    assert sample.extras.chunks == further
    assert write(sample, tmp_path / "b.wav") == ()
    again = read(tmp_path / "b.wav", keep=True)
    assert again.extras.chunks == further and torch.equal(again.data, sample.data)
    assert write(sample, tmp_path / "b.flac") == ("this format holds none of the chunks bext, cue, iXML; .wav does",)
    damaged = (tmp_path / "a.wav").read_bytes()
    for cut in range(0, 900, 7):
        found = further_chunks(damaged[:cut])
        assert found == further[: len(found)], "whole chunks alone"
