"""Files <-> samples, data sets and their splits, and what training does to pictures and sounds."""

import json
import struct
import zlib
from collections import Counter
from io import BytesIO

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image, ImageOps

from vqfusion.data import open_dataset, read, write
from vqfusion.data import transforms as T
from vqfusion.data.io.picture import read_picture
from vqfusion.data.io.sound import read_sound
from vqfusion.errors import UserError
from vqfusion.types import Sample

STYLES = ("noto", "fluent")


@pytest.fixture(scope="module")
def emoji():
    return open_dataset("emoji")


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(values: np.ndarray, colour: int, bits: int = 16, more: bytes = b"") -> bytes:
    """A PNG made by hand, each row coded as differences from the row above (filter 2)."""
    height, width = values.shape[:2]
    bytes_a_row = width * values.shape[2] * bits // 8
    rows = np.frombuffer(values.astype(">u2" if bits == 16 else "u1").tobytes(), np.uint8)
    rows = rows.reshape(height, bytes_a_row)
    up = np.diff(rows.astype(int), axis=0, prepend=0) % 256
    coded = b"".join(b"\2" + row.astype(np.uint8).tobytes() for row in up)
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    body = more + png_chunk(b"IDAT", zlib.compress(coded)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + body


def picture(height: int = 12, width: int = 20, channels: int = 3) -> Sample:
    generator = torch.Generator().manual_seed(0)
    return Sample("image", torch.randint(0, 256, (channels, height, width), generator=generator) / 255)


def sine(frequency: float = 440.0, rate: int = 16000, seconds: float = 1.0) -> Sample:
    time = torch.arange(int(rate * seconds)) / rate
    return Sample("audio", 0.5 * torch.sin(2 * torch.pi * frequency * time)[None], sample_rate_hz=rate)


def saved(array: np.ndarray, form: str = "PNG", **options) -> bytes:
    buffer = BytesIO()
    Image.fromarray(array).save(buffer, form, **options)
    return buffer.getvalue()


# pictures


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_a_picture_with_damaged_notes_keeps_its_pixels(form, tmp_path):
    """Every byte of the notes in turn is damaged; Pillow warns of some and raises half a dozen errors at others."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0112], exif[0x011A], exif[0x011B] = "Maker", 1, 72.0, 72.0
    exif.get_ifd(0x8769)[0x829A] = 0.01
    exif.get_ifd(0x8825)[2] = (1.0, 2.0, 3.0)
    whole = saved(np.zeros((2, 3, 3), np.uint8), form, exif=exif)
    start = whole.index(b"MM\0*")
    lost = 0
    for place in range(start, start + len(exif.tobytes()) - len(b"Exif\0\0")):
        for value in (whole[place] ^ 1, 255):
            made = read_picture(whole[:place] + bytes([value]) + whole[place + 1 :], keep=True)
            assert sorted(made.data.shape) == [2, 3, 3]
            lost += made.extras.exif is None
            write(made, tmp_path / "a.png", force=True)
            write(made, tmp_path / "a.jpg", force=True)
    assert lost > 10


@pytest.mark.parametrize("suffix", [".png", ".webp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_lossless_pictures_come_back_exactly(tmp_path, suffix, channels):
    sample = picture(channels=channels)
    write(sample, tmp_path / f"a{suffix}")
    back = read_picture(tmp_path / f"a{suffix}", channels)
    torch.testing.assert_close(back.data, sample.data, rtol=0, atol=1e-6)


def test_jpeg_is_close_in_colour_too(tmp_path):
    smooth = torch.stack([torch.linspace(0, 1, 64).expand(48, 64), torch.full((48, 64), 0.2), torch.ones(48, 64)])
    write(Sample("image", smooth), tmp_path / "a.jpg")
    assert (read(tmp_path / "a.jpg").data - smooth).abs().max() < 0.03


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    array = (picture().data.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(array, exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(BytesIO(data))))
    assert read_picture(data).data.shape[1:] == ((12, 20) if orientation < 5 else (20, 12))
    np.testing.assert_allclose(read_picture(data).data.permute(1, 2, 0), upright / 255, atol=1e-6)


@pytest.mark.parametrize("colour, channels", [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_16_bits_keep_their_precision(colour, channels):
    values = np.random.default_rng(0).integers(0, 65536, (7, 9, channels))
    wanted = values / 65535
    if channels in (2, 4):
        wanted = wanted[..., :-1] * wanted[..., -1:] + (1 - wanted[..., -1:])
    found = read_picture(png(values, colour)).data.permute(1, 2, 0)
    np.testing.assert_allclose(found, wanted, atol=1 / 65535 / 100)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_colour_declared_transparent_is_white(bits):
    values = np.full((2, 2, 3), 7)
    values[0, 0] = 3
    clear = png_chunk(b"tRNS", struct.pack(">HHH", 3, 3, 3))
    image = read_picture(png(values, 2, bits, clear)).data
    assert (image[:, 0, 0] == 1).all() and (image[:, 1, 1] == torch.tensor(7) / (2**bits - 1)).all()


def test_alpha_is_put_over_white():
    array = np.zeros((2, 2, 4), np.uint8)
    array[0, 0] = 200, 100, 0, 255
    array[0, 1] = 200, 100, 0, 51
    image = read_picture(saved(array)).data
    torch.testing.assert_close(image[:, 0, 0] * 255, torch.tensor([200.0, 100, 0]))
    torch.testing.assert_close(image[:, 0, 1], torch.tensor([200.0, 100, 0]) / 255 * 0.2 + 0.8)
    assert (image[:, 1] == 1).all()


@pytest.mark.parametrize("mode, channels", [("1", 1), ("L", 1), ("LA", 1), ("P", 3), ("RGBA", 3), ("CMYK", 3)])
def test_every_kind_of_pixel_is_read(mode, channels):
    buffer = BytesIO()
    Image.new(mode, (5, 4)).save(buffer, "JPEG" if mode == "CMYK" else "PNG")
    assert read_picture(buffer.getvalue()).data.shape == (channels, 4, 5)
    assert read_picture(buffer.getvalue(), channels=3).data.shape == (3, 4, 5)
    assert read_picture(buffer.getvalue(), channels=1).data.shape == (1, 4, 5)


# sounds


@pytest.mark.parametrize("suffix, error", [(".wav", 2e-5), (".flac", 2e-5), (".ogg", 0.05)])
def test_sounds_come_back(tmp_path, suffix, error):
    write(sine(), tmp_path / f"a{suffix}")
    back = read(tmp_path / f"a{suffix}")
    assert back.sample_rate_hz == 16000 and back.data.shape == (1, 16000)
    assert (back.data - sine().data).abs().max() < error


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
def test_resampling_keeps_length_pitch_and_level(tmp_path, rate):
    write(sine(1000.0, 44100, 2.0), tmp_path / "a.wav")
    sound = read_sound(tmp_path / "a.wav", sample_rate_hz=rate)
    assert sound.sample_rate_hz == rate and sound.data.shape == (1, 2 * rate)
    peak = torch.fft.rfft(sound.data[0]).abs().argmax() / 2  # 2 s: bins of half a hertz
    assert abs(float(peak) - 1000) <= 0.5
    assert abs(sound.data.square().mean().sqrt() - 0.5 / 2**0.5) < 2e-3


@pytest.mark.parametrize("form, subtype", [("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")])
def test_compressed_sounds_are_read(form, subtype):
    buffer = BytesIO()
    soundfile.write(buffer, sine(rate=48000).data[0].numpy(), 48000, format=form, subtype=subtype)
    sound = read_sound(buffer.getvalue(), sample_rate_hz=16000).data[0]
    assert abs(len(sound) - 16000) <= 1600
    assert abs(int(torch.fft.rfft(sound[:16000]).abs().argmax()) * 16000 / min(len(sound), 16000) - 440) < 2


# texts, and files as such


def test_text_comes_back(tmp_path):
    write(Sample("text", "Rakete 🚀\nzwei"), tmp_path / "a.txt")
    assert read(tmp_path / "a.txt") == Sample("text", "Rakete 🚀\nzwei")


def test_the_content_decides_not_the_suffix(tmp_path):
    (tmp_path / "a.wav").write_bytes(saved(np.zeros((3, 4, 3), np.uint8)))
    assert read(tmp_path / "a.wav").data.shape == (3, 3, 4)
    write(sine(), tmp_path / "b.flac")
    (tmp_path / "b.flac").rename(tmp_path / "b.png")
    assert read(tmp_path / "b.png").modality == "audio"


@pytest.mark.parametrize("kind", ["text", "image"])
def test_standard_input(monkeypatch, kind):
    data = b"a rocket\n" if kind == "text" else saved(np.zeros((3, 4), np.uint8))
    monkeypatch.setattr("sys.stdin", type("In", (), {"buffer": BytesIO(data)}))
    assert read("-").modality == kind


@pytest.mark.parametrize("sample, name", [(picture(), "a.png"), (sine(), "a.wav"), (Sample("text", "new"), "a.txt")])
def test_nothing_is_overwritten_unless_forced(tmp_path, sample, name):
    path = tmp_path / name
    path.write_bytes(b"mine")
    with pytest.raises(UserError, match="exists"):
        write(sample, path)
    assert path.read_bytes() == b"mine"
    write(sample, path, force=True)
    assert path.read_bytes() != b"mine"
    assert [file.name for file in tmp_path.iterdir()] == [name]


def wav(values: list[float]) -> bytes:
    buffer = BytesIO()
    soundfile.write(buffer, np.array(values, np.float32), 8000, format="WAV", subtype="FLOAT")
    return buffer.getvalue()


PNG = saved(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
HUGE = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 20000, 10000, 8, 2, 0, 0, 0))
HUGE += png_chunk(b"IDAT", bytes(100))
BAD_FILES = {
    "empty picture": ("a.png", b"", "empty"),
    "text called picture": ("a.png", b"I am a text", "not a picture"),
    "truncated picture": ("a.png", PNG[: len(PNG) // 2], "broken or cut-off"),
    "truncated header": ("a.png", PNG[:20], "broken"),
    "picture of 0 x 0": ("a.png", png(np.zeros((0, 0, 3)), 2, 8), "a.png"),
    "picture of 200 megapixels": ("a.png", HUGE, "million pixels"),
    "jpeg of nothing but a start": ("a.jpg", b"\xff\xd8\xff\xe0", "broken"),
    "empty sound": ("a.wav", b"", "empty"),
    "text called sound": ("a.wav", b"I am a text", "not a WAV"),
    "truncated sound": ("a.wav", wav([0.1] * 99)[:30], "broken"),
    "sound of no samples": ("a.wav", wav([]), "no samples"),
    "sound with NaN": ("a.wav", wav([0.0, float("nan"), 0.0]), "NaN or infinity at sample 1"),
    "broken FLAC": ("a.flac", b"fLaC" + bytes(100), "broken"),
    "empty text": ("a.txt", b"", "empty"),
    "blank text": ("a.txt", b" \n", "white space"),
    "text that is not UTF-8": ("a.txt", b"caf\xe9 au lait", "UTF-8"),
    "text with zero bytes": ("a.txt", b"a\0b", "zero byte"),
    "text without end": ("a.txt", b"a" * 100_001, "100,000"),
    "unknown suffix": ("a.xyz", b"hello", ".png"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_gets_one_clear_line(tmp_path, case):
    name, content, words = BAD_FILES[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        read(tmp_path / name)
    assert words in str(caught.value) and name in str(caught.value) and "\n" not in str(caught.value)


def test_other_mistakes_with_files(tmp_path):
    for call in (
        lambda: read(tmp_path / "none.png"),
        lambda: read(tmp_path),
        lambda: read(tmp_path / "none.png", "smell"),
        lambda: read_picture(PNG, channels=2),
        lambda: write(picture(), tmp_path / "a.gif"),
        lambda: write(picture(), tmp_path / "none" / "a.png"),
        lambda: write(Sample("image", torch.full((3, 2, 2), float("nan"))), tmp_path / "a.png"),
        lambda: write(Sample("image", torch.zeros(4, 2, 2)), tmp_path / "a.png"),
        lambda: write(Sample("audio", torch.zeros(1, 0), sample_rate_hz=8000), tmp_path / "a.wav"),
        lambda: write(Sample("audio", torch.zeros(1, 9)), tmp_path / "a.wav"),
        lambda: write(Sample("series", torch.zeros(1, 9)), tmp_path / "a.wav"),
        lambda: open_dataset("imagenet"),
    ):
        with pytest.raises(UserError):
            call()
    assert not list(tmp_path.iterdir())


# data sets


def test_counts_of_the_emoji_set(emoji):
    texts = [r for r in emoji.records if not {"image", "audio"} & set(r.slots)]
    assert len(texts) == len({r.key for r in emoji.records}) == 1566
    assert Counter(r.split for r in texts) == {"train": 1329, "val": 89, "test": 148}
    counts = {
        (split, kind): (len(emoji.select(split, kind, ["image"])), len(emoji.select(split, kind, ["audio"])))
        for split in ("train", "val", "test")
        for kind in ("", "concept", "pair", "voice")
    }
    assert {where: count for where, count in counts.items() if any(count)} == {
        ("train", ""): (2483, 7965),
        ("val", "concept"): (178, 534), ("val", "pair"): (40, 0), ("val", "voice"): (0, 180),
        ("test", "concept"): (296, 888), ("test", "pair"): (133, 0), ("test", "voice"): (0, 450),
    }  # fmt: skip
    assert len(emoji.held_out_pairs) == 6 and frozenset({"de", "fr"}) in emoji.held_out_pairs
    assert len({r.load("label").data for r in texts}) == 95


def test_every_concept_has_its_names(emoji):
    languages = [slot for slot in emoji.slots() if slot.startswith("text:")]
    assert len(languages) == 24
    names = {slot: len(emoji.select(slots=["image", slot])) for slot in languages}
    assert min(names.values()) >= max(names.values()) - 2
    rocket = next(r for r in emoji.select(slots=["image"]) if r.load("text:en").data == "rocket")
    assert [rocket.load(f"text:{x}").data for x in ("de", "fr", "it")] == ["Rakete", "fusée", "razzo"]
    assert "space" in emoji.keywords[rocket.key]["en"]
    assert all("text:en" in r.slots or "audio" in r.slots for r in emoji.records)


def test_nothing_held_out_is_trained_on(emoji):
    train = emoji.select("train")
    other = [r for r in emoji.records if r.split != "train"]
    keys = {r.key for r in train}
    assert not keys & {r.key for r in other if r.held_out == "concept"}
    assert {r.key for r in other if r.held_out != "concept"} <= keys
    voices = {s: {r.load("speaker").data for r in emoji.select(*s, slots=["audio"])} for s in
              (("train",), ("test", "voice"), ("val", "voice"), ("test", "concept"))}  # fmt: skip
    assert list(map(len, voices.values())) == [12, 3, 1, 12]
    assert not voices["train",] & (voices["test", "voice"] | voices["val", "voice"])
    assert voices["test", "concept"] == voices["train",]


def test_a_held_out_style_is_trained_in_the_other_style(emoji):
    train = {(r.key, r.load("style").data) for r in emoji.select("train", slots=["image"])}
    for record in emoji.select(held_out="pair"):
        style = record.load("style").data
        assert (record.key, style) not in train
        assert (record.key, STYLES[style == STYLES[0]]) in train


def test_emoji_pictures_and_clips_are_what_they_say(emoji):
    pictures = torch.stack([r.load("image").data for r in emoji.select(slots=["image"])])
    assert pictures.shape == (3130, 3, 64, 64)
    assert pictures.min() >= 0 and pictures.max() <= 1
    corners = pictures[:, :, ::63, ::63].mean(dim=1)
    assert (corners > 0.95).float().mean() > 0.9  # drawings on white: the tiles are cut at the right places
    for record in emoji.select("test", "voice")[:100]:
        sound = record.load("audio")
        assert sound.sample_rate_hz == 16000 and 1600 < sound.data.shape[1] <= 40000
        assert 0.2 < sound.data.abs().max() <= 1
        assert {s for s in record.slots if s.startswith("text:")} <= {"text:en", "text:de", "text:fr"}


def test_clips_lie_between_the_gaps():
    from vqfusion.data.emoji import _speech, read_table

    sound = _speech("nadia").astype(float) / 32767
    rows = [row for row in read_table("clips")["clips"] if row[0] == "nadia"]
    inside = np.zeros(len(sound), bool)
    for _, _, _, start, length, *_ in rows:
        assert not inside[start : start + length].any()
        inside[start : start + length] = True
    assert (sound[~inside] ** 2).mean() < 1e-3 * (sound[inside] ** 2).mean()


def test_digits():
    digits = open_dataset("digits")
    assert Counter(r.split for r in digits.records) == {"train": 1444, "val": 177, "test": 176}
    per_class = Counter((r.split, r.load("label").data) for r in digits.records)
    assert len(per_class) == 30 and min(n for (s, _), n in per_class.items() if s == "test") >= 17
    image = digits.records[0].load("image").data
    assert image.shape == (1, 8, 8) and image.min() == 0 and image.max() <= 1


def test_selecting(emoji):
    with pytest.raises(UserError, match="train, val, test"):
        emoji.select("training")
    with pytest.raises(UserError, match="image"):
        emoji.select(slots=["image"])[0].load("audio")


def test_manifest(tmp_path):
    (tmp_path / "in").mkdir()
    write(picture(), tmp_path / "in" / "a.png")
    write(sine(), tmp_path / "in" / "a.wav")
    rows = [
        {"image": "in/a.png", "audio@noisy": "in/a.wav", "text:en": "a thing", "label": 3, "key": "x"},
        {"text:en": "first", "text:de": "erstes", "split": "val"},
    ]
    path = tmp_path / "my.jsonl"
    path.write_text("\n\n".join(map(json.dumps, rows)) + "\n")
    dataset = open_dataset(path)
    one, two = dataset.records
    assert one.key == "x" and one.slots == ("image", "audio@noisy", "text:en", "label")
    assert one.load("image").data.shape == (3, 12, 20) and one.load("audio@noisy").modality == "audio"
    assert one.load("label").data == "3" and two.load("text:de").data == "erstes"
    assert dataset.select("val") == [two]
    assert [r.key for r in open_dataset(path).records] == [one.key, two.key]


@pytest.mark.parametrize(
    "line, words",
    [
        ('{"image": ', "JSON"),
        ("[1, 2]", "object"),
        ("{}", "no slots"),
        ('{"image": "none.png"}', "none.png"),
        ('{"image": 3}', "'image'"),
        ('{"text:en": " "}', "'text:en'"),
        ('{"text": "which language?"}', "'text'"),
        ('{"smell": "rose"}', "'smell'"),
        ('{"text:en": "a", "split": "training"}', "'training'"),
        ('{"text:en": "a", "key": 3}', "key"),
        (b'{"text:en": "\xff"}', "UTF-8"),
    ],
)
def test_a_mistake_in_a_manifest_is_found_by_file_and_line(tmp_path, line, words):
    line = line if isinstance(line, bytes) else line.encode()
    (tmp_path / "my.jsonl").write_bytes(b'{"text:en": "good"}\n\n' + line + b"\n")
    with pytest.raises(UserError) as caught:
        open_dataset(tmp_path / "my.jsonl")
    assert "my.jsonl:3: " in str(caught.value) and words in str(caught.value)


def test_folder(tmp_path):
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for i in range(100):
            write(picture(2, 2), tmp_path / label / f"{i}.png")
    write(sine(seconds=0.1), tmp_path / "cat" / "7.wav")
    (tmp_path / "cat" / "7.txt").write_text("a cat\n")
    (tmp_path / ".hidden").mkdir()
    write(picture(), tmp_path / ".hidden" / "a.png")
    dataset = open_dataset(tmp_path)
    assert len(dataset.records) == 200 and dataset.name == tmp_path.name
    seven = next(r for r in dataset.records if r.key == "cat/7")
    assert set(seven.slots) == {"image", "audio", "text:en", "label"}
    assert (seven.load("text:en").data, seven.load("label").data) == ("a cat", "cat")
    shares = Counter(r.split for r in dataset.records)
    assert 140 < shares["train"] < 180 and min(shares["val"], shares["test"]) > 8
    split = {r.key: r.split for r in dataset.records}
    (tmp_path / "cat" / "0.png").unlink()
    assert all(split[r.key] == r.split for r in open_dataset(tmp_path).records)


def test_captions_of_a_folder_may_be_in_several_languages(tmp_path):
    for name in ("a.png", "b.png", "v1.de.png"):
        write(picture(2, 2), tmp_path / name)
    captions = {"a.txt": "apple", "a.de.txt": "Apfel", "b.fr.txt": "baie", "v1.de.txt": "English", "c.de.txt": "none"}
    for name, text in captions.items():
        (tmp_path / name).write_text(text)
    records = {record.key: record for record in open_dataset(tmp_path).records}
    found = {key: {slot: r.load(slot).data for slot in r.slots if slot != "image"} for key, r in records.items()}
    assert found == {
        "a": {"text:en": "apple", "text:de": "Apfel"},
        "b": {"text:fr": "baie"},
        "v1.de": {"text:en": "English"},  # a picture of that very name
    }


def test_a_folder_of_nothing_is_a_mistake(tmp_path):
    with pytest.raises(UserError, match="no picture"):
        open_dataset(tmp_path)


# transforms


def test_resizing_keeps_the_mean_and_the_range():
    image = picture(64, 48).data
    small = T.resize_picture(image, (16, 12))
    torch.testing.assert_close(small.mean((1, 2)), image.mean((1, 2)))
    other = T.resize_picture(image, 33)
    assert other.shape == (3, 33, 33) and other.min() >= 0 and other.max() <= 1
    ramp = torch.linspace(0, 1, 60).expand(1, 60, 60)
    assert (T.resize_picture(T.resize_picture(ramp, 45), 60) - ramp).abs().max() < 0.02


def test_fitting_pads_with_white_and_gives_colour():
    fitted = T.fit_picture(torch.zeros(1, 10, 20), 20)
    assert fitted.shape == (3, 20, 20)
    assert (fitted[:, 5:15] == 0).all() and (fitted[:, :5] == 1).all() and (fitted[:, 15:] == 1).all()


def test_fitting_a_long_and_thin_picture_takes_no_more_than_the_picture():
    """A square around it would have 4 thousand million pixels."""
    fitted = T.fit_picture(torch.zeros(1, 1, 65_000), 64)
    assert fitted.shape == (3, 64, 64) and float((1 - fitted).sum()) == 3 * 64
    assert torch.equal(T.fit_picture(fitted, 64), fitted)


def test_noise_has_its_size_and_its_seed():
    clean = torch.full((3, 64, 64), 0.5)

    def noisy(seed):
        return T.add_noise(clean, 25 / 255, torch.Generator().manual_seed(seed)) - clean

    assert abs(noisy(0).std() - 25 / 255) < 2e-3 and abs(noisy(0).mean()) < 3e-3
    assert torch.equal(noisy(0), noisy(0)) and not torch.equal(noisy(0), noisy(1))


@pytest.mark.parametrize("noise", [None, sine(50.0, seconds=0.3).data])
@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 20.0])
def test_noise_at_a_signal_to_noise_ratio(snr_db, noise):
    sound = sine().data
    added = T.add_noise_at_snr(sound, snr_db, torch.Generator().manual_seed(0), noise) - sound
    found = 10 * torch.log10(sound.square().mean() / added.square().mean())
    assert abs(found - snr_db) < 1e-2


def test_gaps():
    sound, mask = T.cut_gaps(torch.ones(1, 100_050), 100, 0.2, torch.Generator().manual_seed(0))
    assert torch.equal(sound.bool(), mask) and mask.shape == (1, 100_050)
    assert abs(mask.float().mean() - 0.8) < 0.04
    blocks = mask[0, :100_000].reshape(-1, 100)
    assert (blocks.all(1) | ~blocks.any(1)).all()


def test_a_limited_set_keeps_whole_things():
    full = open_dataset("emoji")
    small = full.limited(50)
    train = {record.key for record in small.select("train")}
    assert len(train) == 50 and full.limited(None) is full
    assert {record.key for record in small.select("test", "pair")} <= train
    assert {record.key for record in small.select("test", "voice")} <= train
    assert small.select("test", "concept") == full.select("test", "concept")
    assert {record.key for record in full.limited(20).select("train")} < train
