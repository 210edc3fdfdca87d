"""`data check`: each fault that is put into a data set is found, nothing else is, and no file is changed."""

import json
import os
from functools import partial

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from scipy import ndimage

from vqfusion.data import open_dataset
from vqfusion.data.audit import CHECKS, Check, Finding, Severity, Survey, audit, chosen_checks, cleaned, survey_of
from vqfusion.data.audit.confident import label_quality, probabilities
from vqfusion.data.audit.drift import shared, shifts
from vqfusion.data.audit.item import Item, Measured
from vqfusion.data.audit.languages import other_languages, strange_script
from vqfusion.data.audit.measures.picture import edge_width, measure_picture
from vqfusion.data.audit.measures.sound import clipped, cutoff, measure_sound, spectrogram
from vqfusion.data.audit.measures.text import garbled, minhash
from vqfusion.data.audit.similar import close_pairs, equal_pairs, groups
from vqfusion.data.audit.truncation import cut_off
from vqfusion.data.record import Dataset, Record
from vqfusion.types import Sample

RATE = 8000


def shapes(seed, side=64):
    """A picture with sharp edges: rectangles in random places and colours."""
    rng = np.random.default_rng(seed)
    values = np.full((side, side, 3), rng.uniform(0.3, 0.7, 3))
    for _ in range(12):
        y, x = rng.integers(0, side - 8, 2)
        h, w = rng.integers(6, side // 2, 2)
        values[y : y + h, x : x + w] = rng.uniform(0.1, 0.9, 3)
    return values


def save(values, path):
    Image.fromarray((np.clip(values, 0, 1) * 255).round().astype(np.uint8)).save(path)


def voice(seed, seconds=0.6):
    """Coloured noise with a melody of its own: no two alike, nothing empty."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * RATE)) / RATE
    pitch = np.interp(t, np.linspace(0, seconds, 9), rng.uniform(100, 400, 9))
    tones = sum(np.sin(2 * np.pi * k * np.cumsum(pitch) / RATE + rng.uniform(0, 6)) / k for k in range(1, 9))
    envelope = np.interp(t, np.linspace(0, seconds, 12), rng.uniform(0.1, 1, 12))
    return 0.1 * envelope * tones + 0.003 * rng.normal(size=len(t))


def write(values, path, rate=RATE):
    soundfile.write(path, values, rate, subtype="PCM_16")


SENTENCES = [f"The {a} {b} the {c} in the house." for a in ("cat", "dog", "man") for b in ("sees", "likes", "hears")
             for c in ("bird", "ball", "song")]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """36 good pictures and 36 good sounds, and one of each fault."""
    root = tmp_path_factory.mktemp("data")
    for name in ("pictures", "sounds"):
        (root / name).mkdir()
    for i in range(36):
        save(shapes(i), root / "pictures" / f"p{i:02}.png")
        write(voice(i), root / "sounds" / f"s{i:02}.wav")
    pictures, sounds = root / "pictures", root / "sounds"
    (pictures / "empty.png").touch()
    (pictures / "short.png").write_bytes((pictures / "p00.png").read_bytes()[:-40])
    (pictures / "is sound.png").write_bytes((sounds / "s00.wav").read_bytes())
    (pictures / "copy.png").write_bytes((pictures / "p01.png").read_bytes())
    with Image.open(pictures / "p02.png") as opened:
        opened.resize((96, 96), Image.Resampling.BICUBIC).save(pictures / "again.jpg", quality=60)
    save(np.full((64, 64, 3), 0.5), pictures / "grey.png")
    save(5 * shapes(100) - 2.0, pictures / "bright.png")
    save(ndimage.gaussian_filter(shapes(101), (3, 3, 0)), pictures / "soft.png")
    save(shapes(102)[28:36], pictures / "strip.png")
    (pictures / "notes.doc").write_text("nothing")
    (pictures / "gone.png").symlink_to("nowhere.png")
    (pictures / "line\nbreak.png").write_bytes((pictures / "p03.png").read_bytes()[:-40])
    write(np.zeros(RATE // 2), sounds / "nothing.wav")
    write(np.clip(6 * voice(200), -0.5, 0.5), sounds / "loud.wav")
    write(voice(201) + 0.2, sounds / "shifted.wav")
    slow = ndimage.zoom(voice(202, 0.4), 2, order=1)
    spectrum = np.fft.rfft(slow)
    spectrum[len(spectrum) // 3 :] = 0
    write(np.fft.irfft(spectrum), sounds / "dull.wav")
    write(voice(203), sounds / "fast.wav", 2 * RATE)
    write(voice(204, 9.0), sounds / "long.wav")
    data = (sounds / "s04.wav").read_bytes()
    (sounds / "cut.wav").write_bytes(data[: len(data) // 2])
    return root


EXPECTED = {
    "empty": {"empty.png"},
    "truncated": {"short.png", "line\nbreak.png", "cut.wav"},
    "unreadable": {"is sound.png"},
    "silent": {"nothing.wav"},
    "blank": {"grey.png"},
    "duplicates": {"p01.png"},
    "near-duplicates": {"p02.png"},
    "clipped": {"loud.wav"},
    "offset": {"shifted.wav"},
    "false-rate": {"dull.wav"},
    "odd-rate": {"fast.wav"},
    "saturated": {"bright.png"},
    "blurred": {"soft.png"},
    "unused": {"notes.doc", "gone.png"},
    "odd-name": {"line\nbreak.png"},
}


def names(findings):
    return {os.path.basename(found.name) for found in findings}


def test_every_fault_of_a_folder_is_found_and_nothing_else(folder):
    report = audit(survey_of(open_dataset(folder), folder), chosen_checks())
    found = {one.name: names(one.findings) for one in report.checked}
    for check, expected in EXPECTED.items():
        assert found[check] == expected, check
    assert {"strip.png", "long.wav"} <= found["odd-size"]
    assert found["odd-size"] <= {"strip.png", "long.wav", "fast.wav", "again.jpg", "cut.wav"}
    assert report.worst == Severity.SERIOUS
    assert [one.severity for one in report.checked] == sorted((one.severity for one in report.checked), reverse=True)
    why = {found.name.split("/")[-1]: found.detail for one in report.checked for found in one.findings}
    assert why["is sound.png"] == "its content is that of a sound" and why["gone.png"] == "a link that leads nowhere"


def test_the_command_reports_writes_and_changes_nothing(folder, cli, tmp_path):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    code, out, err = cli("data", "check", folder, "-o", "r.html", "--csv", "r.csv", "--fix", "clean.jsonl", "--json")
    report = json.loads(out)
    assert (code, err) == (1, "") and report["worst"] == "serious"
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    rows = (tmp_path / "r.csv").read_text().splitlines()
    counts = {one["check"]: one["count"] for one in report["checks"]}
    assert len([row for row in rows if row.startswith("near-duplicates,warning,")]) == counts["near-duplicates"] == 1
    page = (tmp_path / "r.html").read_text()
    assert "line\\nbreak.png" in page and page.count("data:image/png") > 3 and "<audio" in page
    again = open_dataset(tmp_path / "clean.jsonl")
    kept = {os.path.basename(source.args[0]) for record in again.records for source in record.sources.values()
            if source.args and isinstance(source.args[0], type(tmp_path))}  # fmt: skip
    gone = {"empty.png", "short.png", "is sound.png", "grey.png", "nothing.wav", "cut.wav", "line\nbreak.png"}
    assert not kept & gone and {"p05.png", "s05.wav", "soft.png"} <= kept
    code, out, err = cli("data", "check", "clean.jsonl", "--skip", "label-errors")
    assert code == 0 and "nothing found by: " in out and "silent" in out
    assert cli("data", "check", folder, "--csv", "r.csv")[0] == 2  # nothing is overwritten


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("missing",), "no data set 'missing'"),
        ((".", "--only", "shiny"), "no check 'shiny': choose from dup"),
        ((".", "-o", "a.txt"), "a.txt: the name must end in .html"),
        ((".", "--fail-on", "much"), "--fail-on much: choose serious, warning, never"),
        ((".",), "holds no picture"),
    ],
)
def test_mistakes_are_one_line(arguments, said, cli):
    code, out, err = cli("data", "check", *arguments)
    assert code == 2 and said in err and err.count("\n") == 1 and not out


def test_one_file_and_a_clean_folder_pass(cli, tmp_path):
    save(shapes(0), tmp_path / "a.png")
    assert cli("data", "check", tmp_path)[0] == 0
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    code, out, _ = cli("data", "check", tmp_path, "--json")
    (unused,) = [one for one in json.loads(out)["checks"] if one["count"]]
    assert code == 0 and unused["findings"][0]["detail"] == "a link to a folder, which is not followed"
    assert cli("data", "check", tmp_path, "--fail-on", "warning")[0] == 0


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_reported(cli, tmp_path):
    save(shapes(0), tmp_path / "a.png")
    np.save(tmp_path / "b.npy", np.arange(9.0))
    (tmp_path / "c").mkdir()
    (tmp_path / "b.npy").chmod(0)
    (tmp_path / "c").chmod(0)
    code, out, _ = cli("data", "check", tmp_path, "--json")
    (tmp_path / "c").chmod(0o700)
    found = {one["check"]: one["findings"] for one in json.loads(out)["checks"]}
    assert code == 1 and "Permission denied" in found["unreadable"][0]["detail"]
    assert found["unused"][0]["detail"] == "a folder that cannot be read (Permission denied)"


def test_the_same_in_two_splits_is_a_leak(cli, tmp_path):
    for i in range(4):
        save(shapes(i), tmp_path / f"{i}.png")
    save(0.8 * shapes(3), tmp_path / "dark.png")
    rows = [{"image": f"{i}.png", "split": "train"} for i in range(4)] + [{"image": "dark.png", "split": "test"}]
    rows.append({"image": "0.png", "split": "val", "key": "again"})
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    code, out, _ = cli("data", "check", tmp_path / "m.jsonl", "--json", "--fix", "fixed.jsonl")
    (leaks,) = [one for one in json.loads(out)["checks"] if one["check"] == "leaks"]
    assert code == 1 and names(map(lambda row: Finding(row["name"], ""), leaks["findings"])) == {"0.png", "3.png"}
    kept = [json.loads(line) for line in (tmp_path / "fixed.jsonl").read_text().splitlines()]
    assert [(row["image"], row["split"]) for row in kept] == [
        ("1.png", "train"), ("2.png", "train"), ("dark.png", "test"), ("0.png", "val"),
    ]  # fmt: skip


def texts(rows, split="train"):
    """Data set of (key, slot, text)."""
    made = [Record(key, split, sources={slot: partial(Sample, "text", text)}) for key, slot, text in rows]
    return Dataset("texts", made)


def found_in(dataset, check):
    return {found.name.split()[0] for found in CHECKS[check]().find(survey_of(dataset))}


def test_texts_in_another_language_or_encoding_or_twice():
    german = ["Der Hund liegt im Garten und schläft.", "Ich habe heute nicht viel Zeit für dich."]
    rows = [(f"e{i}", "text:en", text) for i, text in enumerate(SENTENCES)]
    rows += [(f"g{i}", "text:en", text) for i, text in enumerate(german)]
    rows += [("r", "text:en", "Это предложение не на английском языке."), ("m", "text:en", "Der HÃ¼hnerstall")]
    rows += [("twice", "text:en", SENTENCES[3]), ("loud", "text:en", SENTENCES[4].upper().replace(".", " !"))]
    data = texts(rows)
    assert found_in(data, "wrong-language") == {"g0", "g1", "r"}
    assert found_in(data, "mojibake") == {"m"}
    assert found_in(data, "duplicates") == {"twice"}
    (twice,) = CHECKS["duplicates"]().find(survey_of(data))
    assert twice.detail == f"same bytes as e3 text:en: {SENTENCES[3]!r}"
    assert found_in(data, "near-duplicates") in ({"loud"}, {"e4"})
    assert strange_script("Привет, мир", "en") == "cyrillic" and strange_script("Hello world", "xx") == ""


def test_languages_are_learned_from_the_other_slots():
    strange = [f"ku{a} mo{b} lira{c}" for a in "abcde" for b in "abc" for c in "ab"]
    judged = other_languages([*SENTENCES, strange[0]], "en", {"xx": strange[1:]})
    assert judged[-1][0] == "xx" and {name for name, _ in judged[:-1]} == {""}


@pytest.mark.parametrize(
    "text", ["Grüße aus Köln", "naïve façade", "«Où?» – «À Paris…»", "НАШ ДОМ", "日本語", "wo?", "MENÜ“"]
)
def test_right_texts_are_not_garbled(text):
    assert garbled(text) == 0
    if not text.isascii() and text != "MENÜ“":
        assert garbled(text.encode().decode("cp1252", "replace")) > 0


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".wav", ".aiff", ".ogg", ".gz"])
def test_a_cut_file_is_told_from_a_whole_one(suffix, tmp_path):
    import gzip

    path = tmp_path / f"a{suffix}"
    if suffix == ".gz":
        path.write_bytes(gzip.compress(np.random.default_rng(0).bytes(4000)))
    elif suffix in (".png", ".jpg", ".webp"):
        save(shapes(0), path)
    else:
        soundfile.write(path, voice(0), RATE)
    data = path.read_bytes()
    assert cut_off(data) == ""
    for share in (0.3, 0.6, 0.95):
        assert cut_off(data[: int(share * len(data))]), share


def test_the_width_of_edges_is_the_blur_of_a_step():
    step = np.zeros((64, 64))
    step[:, 32:] = 0.8
    for width in (1.0, 2.0, 3.0):
        assert edge_width(ndimage.gaussian_filter(step, width)) == pytest.approx(width, rel=0.1)
    assert edge_width(np.full((64, 64), 0.3)) is None


def test_clipping_and_bandwidth_are_measured():
    tone = np.sin(np.arange(8000) * 0.05).astype(np.float32)
    assert clipped(0.9 * tone) == 0 and clipped(np.clip(2 * tone, -0.9, 0.9)) > 0.3
    rng = np.random.default_rng(0)
    noise = np.fft.rfft(rng.normal(size=16000))
    noise[len(noise) // 2 :] *= 1e-4
    power = spectrogram(np.fft.irfft(noise).astype(np.float32), 16000)
    share, drop = cutoff(power.mean(1))
    assert share == pytest.approx(0.5, abs=0.06) and drop > 40
    assert cutoff(spectrogram(rng.normal(size=16000).astype(np.float32), 16000).mean(1))[1] < 5


def test_signatures_do_not_depend_on_level_size_and_silence():
    picture = torch.tensor(shapes(5).transpose(2, 0, 1), dtype=torch.float32)
    sound = torch.tensor(voice(5)[None], dtype=torch.float32)

    def like(measure, *samples):
        a, b = (measure(sample).signature.astype(float) for sample in samples)
        return a @ b

    darker = Sample("image", 0.7 * picture)
    assert like(measure_picture, Sample("image", picture), darker) > 0.98
    padded = torch.cat([torch.zeros(1, 1000), 0.3 * sound, torch.zeros(1, 500)], 1)
    assert like(measure_sound, *(Sample("audio", one, sample_rate_hz=RATE) for one in (sound, padded))) > 0.98


def test_close_pairs_are_those_of_all_comparisons():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(5000, 12))
    points[1:400:2] = points[0:400:2] + 0.05 * rng.normal(size=(200, 12))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    likeness = points.astype(np.float32) @ points.astype(np.float32).T
    expected = {(int(a), int(b)) for a, b in zip(*np.nonzero(np.triu(likeness >= 0.97, 1)), strict=True)}
    assert len(expected) > 150 and {(min(p), max(p)) for p in close_pairs(points, 0.97)} == expected
    assert groups(5, [(0, 1), (3, 4), (1, 3)]) == [[0, 1, 3, 4]]


def test_minhash_estimates_the_jaccard_index():
    a, b = "the quick brown fox jumps over the lazy dog", "the quick brown fox jumped over a lazy dog"

    def runs(text):
        padded = f"    {text}    "
        return {padded[i : i + 5] for i in range(len(padded) - 4)}

    exact = len(runs(a) & runs(b)) / len(runs(a) | runs(b))
    assert float((minhash(a) == minhash(b)).mean()) == pytest.approx(exact, abs=0.15)
    signatures = np.stack([minhash(text) for text in (a, b, a, "something else entirely")])
    assert equal_pairs(signatures, 0.9) == [(0, 2)]


def test_flipped_labels_of_separate_classes_are_found():
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(4), 60)
    points = (4 * np.eye(4, 6)[truth] + rng.normal(size=(240, 6))).astype(np.float32)
    flip = rng.random(240) < 0.1
    labels = np.where(flip, (truth + 1) % 4, truth)
    suspect, own = label_quality(probabilities(points, points, labels), labels)
    assert (suspect == flip).mean() > 0.95 and own[flip].max() < np.median(own[~flip])
    unrelated = rng.integers(0, 4, 240)
    assert label_quality(probabilities(points, points, unrelated), unrelated)[0].mean() < 0.3


def test_labels_that_do_not_fit_are_named():
    rng = np.random.default_rng(0)
    items = [
        Item(str(i), None, "image", "image", label="ab"[i % 2],
             measured=Measured(embedding=(3.0 * np.eye(2)[i % 2] + 0.3 * rng.normal(size=2)).astype(np.float16)))
        for i in range(60)
    ]  # fmt: skip
    items[7].label = "a"
    (found,) = CHECKS["label-errors"]().find(Survey("set", items, [], [], 60))
    assert found.name == "7" and found.detail == "labelled 'a', looks like 'b'"


def test_labels_of_texts_are_judged_by_their_words():
    rng = np.random.default_rng(0)
    words = {
        "weather": "rain snow wind sun cloud storm frost".split(),
        "food": "rice bread soup fish salt plum tea".split(),
    }
    rows = [(name, " ".join(rng.permutation(words[name])[:4])) for name in words for _ in range(150)]
    made = [
        Record(f"r{i}", "train", sources={"text:en": partial(Sample, "text", text),
                                          "label": partial(Sample, "label", name if i != 3 else "food")})
        for i, (name, text) in enumerate(rows)
    ]  # fmt: skip
    (found,) = CHECKS["label-errors"]().find(survey_of(Dataset("texts", made)))
    assert found.name == "r3 text:en" and found.detail == "labelled 'food', looks like 'weather'"


def test_drift_and_what_both_hold(tmp_path):
    for place in ("one", "two", "three"):
        (tmp_path / place).mkdir()
    for i in range(40):
        save(shapes(i), tmp_path / "one" / f"{i}.png")
        save(shapes(100 + i), tmp_path / "two" / f"{i}.png")
        save(0.3 + 0.3 * shapes(200 + i, 48), tmp_path / "three" / f"{i}.png")
    save(0.9 * shapes(7), tmp_path / "two" / "same.png")
    one, two, three = (survey_of(open_dataset(tmp_path / name)) for name in ("one", "two", "three"))
    assert names(shared(one, two)) == {"7.png"} and not names(shared(one, three))
    assert not [shift for shift in shifts(one, two) if shift.large]
    assert {"features", "pixels"} <= {shift.what for shift in shifts(one, three) if shift.large}


def test_a_new_check_is_one_small_class():
    class Nameless(Check):
        name = "of-one-letter"
        severity = Severity.NOTE
        about = "A text of one letter."

        def find(self, survey):
            for item in survey.items:
                if item.measured and item.measured.sizes.get("characters") == 1:
                    yield Finding(item.name, "one letter")

    try:
        report = audit(survey_of(texts([("a", "text:en", "x"), ("b", "text:en", "xyz")])), ["of-one-letter"])
        assert [found.name for found in report.checked[0].findings] == ["a text:en"] and report.worst == Severity.NOTE
    finally:
        del CHECKS["of-one-letter"]


def test_every_check_says_what_it_finds():
    for name in chosen_checks():
        assert CHECKS[name].about.endswith(".") and CHECKS[name].severity in Severity


def test_a_record_keeps_its_other_slots(tmp_path):
    save(shapes(0), tmp_path / "a.png")
    row = {"image": "a.png", "text:en": "Der HÃ¼hnerstall", "text:de": "Der Hühnerstall", "label": "house"}
    (tmp_path / "m.jsonl").write_text(json.dumps(row))
    report = audit(survey_of(open_dataset(tmp_path / "m.jsonl")), chosen_checks())
    lines, kept, left_out = cleaned(report, tmp_path / "sub" / "c.jsonl")
    assert (kept, left_out) == (1, 1)
    assert json.loads(lines) | {"key": "", "split": ""} == {
        "key": "", "split": "", "image": "../a.png", "text:de": "Der Hühnerstall", "label": "house"
    }  # fmt: skip


def test_volumes_and_series_are_looked_at(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(3):
        np.save(tmp_path / f"v{i}.npy", ndimage.gaussian_filter(rng.normal(size=(8, 9, 10)), 1))
        (tmp_path / f"t{i}.csv").write_text("t,x\n" + "\n".join(f"{k},{v}" for k, v in enumerate(rng.normal(size=50))))
    np.save(tmp_path / "copy.npy", 2 * np.load(tmp_path / "v1.npy") + 5)
    report = audit(survey_of(open_dataset(tmp_path)), chosen_checks())
    found = {one.name: names(one.findings) for one in report.checked if one.findings}
    assert found["near-duplicates"] & {"copy.npy", "v1.npy"} and set(found) <= {"near-duplicates", "leaks", "missing"}


def test_a_short_look_says_one_line(tmp_path, cli):
    from vqfusion.commands.check import brief_check

    save(shapes(0), tmp_path / "a.png")
    assert brief_check(str(tmp_path), open_dataset(tmp_path)) == ""
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:-40])
    line = brief_check(str(tmp_path), open_dataset(tmp_path))
    assert "1 truncated in 2 of 2 records" in line and f"vqfusion data check {tmp_path}" in line
    assert brief_check("emoji", open_dataset(tmp_path)) == ""


def test_memory_does_not_grow_with_the_size_of_files(tmp_path):
    """What is kept of a sample is small."""
    big = Sample("audio", torch.tensor(voice(0, 20.0)[None], dtype=torch.float32), sample_rate_hz=RATE)
    kept = measure_sound(big)
    assert kept.signature.nbytes + kept.embedding.nbytes < 4096
    picture = measure_picture(Sample("image", torch.rand(3, 300, 400)))
    assert picture.signature.nbytes + picture.embedding.nbytes < 4096


def test_one_drawing_in_two_colours_is_two_pictures(tmp_path):
    bow = np.ones((30, 40, 3))
    bow[8:22, 10:14] = 0
    for name, colour in {"black": (0, 0, 0), "green": (0, 0.5, 0), "red": (1, 0, 0), "orange": (1, 0.65, 0)}.items():
        values = np.where(bow < 1, np.array(colour), 1.0)
        save(values, tmp_path / f"{name}.png")
    save(0.8 * np.where(bow < 1, np.array((1, 0, 0)), 1.0), tmp_path / "darker-red.png")
    survey = survey_of(open_dataset(tmp_path))
    assert [{item.name.rpartition("/")[2] for item in group} for group in survey.near] == [
        {"red.png", "darker-red.png"}
    ]
