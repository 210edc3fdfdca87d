import json
import math
import sys
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser

import pytest
import torch

import vqfusion
from vqfusion.config import (
    AudioTokenizerConfig,
    ChainConfig,
    FusionConfig,
    ImageTokenizerConfig,
    LabelTokenizerConfig,
    PriorConfig,
    SlotConfig,
    TextTokenizerConfig,
    VQVAEConfig,
)
from vqfusion.data.record import Dataset, Record
from vqfusion.demo.demo import ACTS, run_demo
from vqfusion.evaluate.baselines.pictures import HogClassifier, jpeg, mean_picture, nearest_picture
from vqfusion.evaluate.baselines.recogniser import NameRecogniser, spoken_words
from vqfusion.evaluate.baselines.sounds import MfccClassifier, mfcc, opus
from vqfusion.evaluate.baselines.texts import PivotDictionary
from vqfusion.evaluate.bench import Bench
from vqfusion.evaluate.report import Report, Row
from vqfusion.evaluate.table import GROUPS, evaluate
from vqfusion.models.fusion.fusion import Fusion
from vqfusion.models.fusion.slot_tokenizers import SlotTokenizers
from vqfusion.models.fusion.system import System
from vqfusion.models.restoration.prior import Prior
from vqfusion.tokenizers.audio import AudioTokenizer
from vqfusion.tokenizers.image import ImageTokenizer
from vqfusion.tokenizers.label import LabelTokenizer
from vqfusion.tokenizers.text import TextTokenizer
from vqfusion.types import Sample, UserError

RATE = 16000
COLOURS = {"red": "rot", "green": "grün", "blue": "blau", "white": "weiß", "black": "schwarz", "pink": "rosa"}
SHAPES = {"heart": "Herz", "circle": "Kreis", "square": "Quadrat"}
STYLES, VOICES = ("flat", "round"), ("ada", "bruno")


def picture(seed: int) -> Sample:
    small = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return Sample("image", torch.nn.functional.interpolate(small[None], (64, 64), mode="bilinear")[0])


def tone(hertz: float, seed: int = 0) -> Sample:
    """A hum of 0.6 s with a syllable-like envelope."""
    time = torch.arange(int(0.6 * RATE)) / RATE
    wave = sum(torch.sin(2 * math.pi * hertz * k * time) / k for k in range(1, 12)) / 4
    noise = torch.randn(len(time), generator=torch.Generator().manual_seed(seed))
    wave = wave * (0.6 + 0.4 * torch.sin(2 * math.pi * (4 + seed % 3) * time)) + 0.003 * noise
    return Sample("audio", wave[None].clamp(-1, 1), sample_rate_hz=RATE)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Things called "red heart" and so on, in two languages, two styles and three voices."""
    records = []
    names = [(f"{c} {s}", f"{d} {t}", s) for s, t in SHAPES.items() for c, d in COLOURS.items()]
    for i, (english, german, shape) in enumerate(names):
        split = "test" if i % 6 == 5 else "train"
        kind = "concept" if split == "test" else ""
        texts = {"text:en": partial(Sample, "text", english), "text:de": partial(Sample, "text", german)}
        label = {"label": partial(Sample, "label", shape)}
        records.append(Record(str(i), split, kind, label | texts))
        for j, style in enumerate(STYLES):
            pair = split == "train" and j == 1 and i % 4 == 0
            shown = {"image": partial(picture, 2 * i + j), "style": partial(Sample, "label", style)}
            where = ("test", "pair") if pair else (split, kind)
            records.append(Record(str(i), *where, shown | label | texts))
        for j, voice in enumerate((*VOICES, "clara")):
            where = ("test", "voice") if voice == "clara" and split == "train" else (split, kind)
            if voice == "clara" and split == "test":
                continue
            for language in ("en", "de"):
                said = {f"text:{language}": texts[f"text:{language}"]}
                spoken = {
                    "audio": partial(tone, 110.0 + 60 * j, i),
                    "speaker": partial(Sample, "label", voice),
                }
                records.append(Record(str(i), *where, spoken | said | label))
    return Dataset("toy", records, frozenset({frozenset({"de", "en"})}), licence="made up here")


@pytest.fixture(scope="module")
def toy(dataset) -> System:
    """A System of every slot with random weights, small enough to be asked for everything."""
    torch.manual_seed(0)
    codes = VQVAEConfig(widths=(8, 8, 8), depths=(0, 0, 0), codebook_size=16, dim=4)
    sound = VQVAEConfig(rank=1, channels=257, widths=(8, 8), depths=(0, 0), codebook_size=16, dim=4)
    names = {
        "label": tuple(SHAPES),
        "style": STYLES,
        "speaker": VOICES,
        "length:text": tuple(str(n + 1) for n in range(20)),
        "length:audio": tuple(str(n + 1) for n in range(40)),
    }
    audio = AudioTokenizerConfig(hop_samples=256, griffin_lim_steps=4, vqvae=sound)
    tokenizers = {
        "image": ImageTokenizer(ImageTokenizerConfig(vqvae=codes)).eval(),
        "audio": AudioTokenizer(audio).eval(),
        "text": TextTokenizer.train([*COLOURS, *COLOURS.values(), *SHAPES, *SHAPES.values()], 320),
        **{name: LabelTokenizer(words) for name, words in names.items()},
    }
    one = {name: SlotConfig(tokenizer=name, shape=(1,), steps=1) for name in ("label", "style", "speaker")}
    grid = dict(tokenizer="image", patch=(4, 4), steps=1)
    wave = dict(tokenizer="audio", shape=(80,), patch=(2,), variable=True, steps=1)
    text = dict(tokenizer="text", shape=(20,), variable=True, steps=1, temperature=0.0)
    slots = {
        "image": SlotConfig(**grid, shape=(16, 16)),
        "image@16": SlotConfig(**grid, shape=(4, 4)),
        "image@noisy": SlotConfig(**grid, shape=(16, 16)),
        "audio": SlotConfig(**wave),
        "audio@noisy": SlotConfig(**wave),
        "length:audio": SlotConfig(tokenizer="length:audio", shape=(1,)),
        **{f"text:{language}": SlotConfig(**text) for language in ("en", "de")},
        **{f"length:{language}": SlotConfig(tokenizer="length:text", shape=(1,)) for language in ("en", "de")},
        **one,
    }
    config = ChainConfig(
        name="toy",
        languages=("en", "de"),
        tokenizers={
            "image": ImageTokenizerConfig(vqvae=codes),
            "audio": audio,
            "text": TextTokenizerConfig(vocabulary_size=320),
            **{name: LabelTokenizerConfig(names=words) for name, words in names.items()},
        },
        fusion=FusionConfig(dim=32, layers=1, heads=2, slots=slots),
    )
    tokens = SlotTokenizers(config, tokenizers)
    return System(config, tokens, Fusion(config.fusion, tokens.vocabularies))


def test_every_group_measures_a_system(toy, dataset):
    for extra in ("pystoi", "pocketsphinx", "skimage"):
        pytest.importorskip(extra)
    heard = []
    report = evaluate(toy, limit=6, dataset=dataset, progress=heard.append)
    assert heard == list(GROUPS) and not report.skipped
    assert {row.group for row in report.rows} == set(GROUPS)
    for row in report.rows:
        assert math.isfinite(row.value) and row.n > 0, row
        if row.unit == "%" and "error" not in row.metric:
            assert 0 <= row.value <= 100
        if row.low is not None:
            assert row.low <= row.value <= row.high
        if row.group not in ("likelihood", "audio-tokenizer", "image-tokenizer", "translate"):
            assert row.n <= 6
    back = Report.from_json(report.to_json())
    assert back == report
    uniform = [row for row in report.rows if row.group == "likelihood"]
    assert all(0 < row.value < 3 * row.baselines["uniform"] for row in uniform)


def test_evaluation_is_a_function_of_the_seed(toy, dataset):
    def run(seed):
        report = evaluate(toy, only=["describe", "image-tokenizer"], seed=seed, limit=4, dataset=dataset)
        return [replace(row, seconds=0.0) for row in report.rows]

    assert run(3) == run(3)


def test_evaluation_mistakes_have_one_line(toy, dataset):
    for wrong, words in (
        ({"only": ["nothing"]}, "no group called 'nothing'; there are: image-tokenizer"),
        ({"split": "train"}, "test or val"),
        ({"limit": 0}, "at least 1"),
    ):
        with pytest.raises(UserError, match=words):
            evaluate(toy, dataset=dataset, **wrong)
    report = evaluate(toy, only=["describe"], split="val", dataset=dataset)
    assert report.rows == () and "no val records" in report.skipped["describe"]


def test_a_small_model_skips_what_it_cannot_do(toy, dataset):
    slots = {name: slot for name, slot in toy.config.fusion.slots.items() if name in ("image", "label")}
    config = toy.config.model_copy(update={"fusion": toy.config.fusion.model_copy(update={"slots": slots})})
    tokens = SlotTokenizers(config, {name: toy.tokenizers.by_name[name] for name in ("image", "label")})
    small = System(config, tokens, Fusion(config.fusion, tokens.vocabularies))
    report = evaluate(small, only=["classify", "speak"], limit=4, dataset=dataset)
    assert [row.group for row in report.rows] == ["classify"]
    assert "audio" in report.skipped["speak"]


def test_choices_do_not_depend_on_the_order_of_asking(toy, dataset):
    bench = Bench(toy, dataset, seed=5)
    train = bench.training("image")
    assert bench.pick(train, 7) == bench.pick(train, 7)
    assert len(set(map(id, bench.pick(train, 7)))) == 7
    assert replace(bench, limit=3).pick(train, 7) == replace(bench, limit=3).pick(train, 5)


class Balance(HTMLParser):
    """Collects the tags that stay open, and every address that the page would load."""

    void = {"meta", "img", "br", "path"}

    def __init__(self):
        super().__init__()
        self.open, self.sources = [], []

    def handle_starttag(self, tag, attributes):
        if tag not in self.void:
            self.open.append(tag)
        self.sources += [value for name, value in attributes if name in ("src", "href", "srcset", "data")]

    def handle_endtag(self, tag):
        if tag not in self.void:
            assert self.open.pop() == tag


def test_demo_page_stands_alone(toy, dataset, tmp_path):
    pytest.importorskip("skimage")
    scores = evaluate(toy, only=["describe"], limit=4, dataset=dataset)
    prior = Prior(PriorConfig(channels=3, widths=(8, 8), depths=(1, 1))).eval()
    page = run_demo(toy, tmp_path / "demo", dataset=dataset, scores=scores, prior=prior)
    text = page.read_text(encoding="utf-8")
    parser = Balance()
    parser.feed(text)
    assert parser.open == []
    assert parser.sources and all(source.startswith(("data:", "#")) for source in parser.sources)
    assert "http://" not in text and "https://" not in text and "url(" not in text and "@import" not in text
    assert "prefers-color-scheme: dark" in text
    assert text.count("prior, ") >= 18  # six pictures, three repairs, each with its PSNR
    for name in (*ACTS, "scores"):
        assert f'<section id="{name}">' in text
    report = json.loads((page.parent / "report.json").read_text(encoding="utf-8"))
    assert set(report["sections"]) == set(ACTS)
    assert all(section["items"] and section["seconds"] >= 0 for section in report["sections"].values())
    from PIL import Image

    with Image.open(page.parent / "overview.png") as montage:
        assert montage.width == 1200


def test_demo_escapes_what_it_shows():
    from vqfusion.pages.page import bars, word

    assert "<b>" not in word("<b>&", "en") and "&lt;b&gt;&amp;" in word("<b>&", "en")
    assert "<i>" not in bars({"<i>": 1.0}, "x")


def test_report_judges_and_survives_json(tmp_path):
    high = Row("a", "what", "accuracy", 81.0, "%", n=10, low=60.0, high=95.0, target=80.0)
    low = Row("b", "what | else", "error", 12.0, "%", sense="<=", target=10.0, baselines={"other": 20.0})
    open_ended = Row("c", "other", "bits", math.nan, ceiling=3.0)
    assert (high.met, low.met, open_ended.met) == (True, False, None)
    report = Report("m", "test", 0, (high, low), {"speak": "no slot"}, 1.5, "here")
    assert Report.from_json(report.to_json(tmp_path / "r.json")) == report
    assert Report.from_json(tmp_path / "r.json") == report
    assert json.loads(report.to_json())["rows"][1]["met"] is False
    assert math.isnan(Report.from_json(Report("m", "test", 0, (open_ended,)).to_json()).rows[0].value)
    lines = report.to_markdown().splitlines()
    columns = lines[0].count("|")
    assert columns == lines[1].count("|") == lines[3].count("|") - lines[3].count("\\|")
    assert "speak: not measured (no slot)" in report.to_markdown()
    assert report.to_rich().row_count == 2
    with pytest.raises(UserError, match="not a report"):
        Report.from_json("{}")


def test_jpeg_keeps_to_its_budget():
    data = picture(0).data
    coded = [jpeg(data, budget) for budget in (10, 700, 1500, 4000)]
    assert not coded[0].within_budget and coded[0].size_bytes > 10
    assert all(c.within_budget and c.size_bytes <= b for c, b in zip(coded[1:], (700, 1500, 4000), strict=True))
    errors = [float((c.data - data).square().mean()) for c in coded]
    assert errors == sorted(errors, reverse=True)
    assert jpeg(data[:1], 900).data.shape == (1, 64, 64)


def test_nearest_and_mean_picture():
    train = torch.stack([picture(seed).data for seed in range(6)])
    assert nearest_picture(train + 0.01, train).tolist() == list(range(6))
    noise = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    slow = torch.cdist(noise.flatten(1).double(), train.flatten(1).double()).argmin(1)
    assert torch.equal(nearest_picture(noise, train), slow)
    best = (train - mean_picture(train)).square().sum()
    assert best < (train - train[0]).square().sum()


def test_hog_tells_directions_apart():
    pytest.importorskip("skimage")
    phase = torch.linspace(0, 3, 12)[:, None, None, None]
    stripes = 0.5 + 0.5 * torch.sin(torch.arange(64) / 3 + phase).expand(12, 3, 64, 64)
    both = torch.cat([stripes, stripes.transpose(2, 3)])
    labels = ["upright"] * 12 + ["lying"] * 12
    model = HogClassifier().fit(both[::2], labels[::2])
    assert model.predict(both[1::2]) == labels[1::2]


def test_opus_and_mfcc():
    sounds = [tone(150.0 + 20 * i, i).data for i in range(4)]
    coded = opus(sounds, RATE)
    assert [s.shape for s in coded.sounds] == [s.shape for s in sounds]
    assert 4000 < coded.bits_per_second < 16000
    for ours, theirs in zip(coded.sounds, sounds, strict=True):  # the same place in time
        assert float(torch.corrcoef(torch.cat([ours, theirs]))[0, 1]) > 0.5
    louder = mfcc(2 * sounds[0], RATE) - mfcc(sounds[0], RATE)  # loudness moves the first coefficient only
    assert float(louder[0].min()) > 1 and float(louder[1:].abs().mean()) < 0.05
    clips = [tone(hertz + seed, seed).data for hertz in (100.0, 250.0) for seed in range(8)]
    names = ["low"] * 8 + ["high"] * 8
    assert MfccClassifier().fit(clips[::2], RATE, names[::2]).predict(clips[1::2]) == names[1::2]
    with pytest.raises(UserError, match="resample"):
        opus(sounds, 22050)


def test_recogniser_knows_its_names():
    pytest.importorskip("pocketsphinx")
    from vqfusion.data import open_dataset

    assert spoken_words("T-Rex: man’s Shoe!") == "t rex man's shoe"
    clips = [
        record
        for record in open_dataset("emoji").select("train", slots=("audio", "text:en"))
        if record.load("speaker").data == "ada"
    ][:24:4]
    names = [record.load("text:en").data for record in clips]
    ear = NameRecogniser([*names, "red heart", "xyzzyq plugh"])
    assert "xyzzyq plugh" not in ear and "red heart" in ear
    heard = [ear.hear(record.load("audio").data, RATE) for record in clips]
    assert sum(h == name for h, name in zip(heard, names, strict=True)) >= 4
    assert set(heard) <= {*ear.names, ""}
    with pytest.raises(UserError, match="no name"):
        NameRecogniser(["xyzzyq"])


def test_pivot_dictionary():
    concepts = [{"en": "dog", "de": "Hund", "fr": "chien"}, {"en": "cat", "de": "Katze"}]
    dictionary = PivotDictionary(concepts)
    assert dictionary.translate("Hund", "de", "fr") == "chien"
    assert dictionary.translate("Katze", "de", "fr") == "" and dictionary.translate("Maus", "de", "en") == ""
    assert dictionary.translate("Katze", "de", "en") == "cat"


def test_without_a_package_its_rows_are_skipped_with_the_reason(monkeypatch):
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    report = evaluate(vqfusion.load("emoji"), only=["speak"], limit=1)
    assert report.rows == () and "pip install" in report.skipped["speak"]


def test_a_system_is_judged_on_its_own_data_and_without_the_targets_of_another(toy, tmp_path, monkeypatch):
    own = System(toy.config.model_copy(update={"data": "digits"}), toy.tokenizers, toy.fusion)
    report = evaluate(own, only=["image-tokenizer", "speak"], limit=2)
    assert report.data == "digits" and report.judged_on == f"{own.config.name} on digits, split test"
    assert report.rows and all(row.target is None and "target" not in row.note for row in report.rows)
    assert "digits has no test records" in report.skipped["speak"]
    assert "on digits" in report.to_markdown() and Report.from_json(report.to_json()) == report
    lost = System(toy.config.model_copy(update={"data": "gone"}), toy.tokenizers, toy.fusion)
    for judge in (evaluate, partial(run_demo, folder=tmp_path / "demo")):
        with pytest.raises(
            UserError, match="no data set 'gone'.*go to the folder where it was trained, or give --data"
        ):
            judge(lost)
    assert not (tmp_path / "demo").exists()
