"""The score on held-out records beside classical baselines, `vqfusion.fit`, and the last lines of `train`."""

import json
import math
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml

import vqfusion
from vqfusion.data import open_dataset
from vqfusion.data.record import Dataset, Record
from vqfusion.errors import UserError
from vqfusion.evaluate.baselines import CharacterModel, Classifier, TranslationMemory
from vqfusion.evaluate.baselines.classifiers import oriented_gradients
from vqfusion.evaluate.held_out import Score, scores
from vqfusion.types import Sample

QUICK = {"size": "tiny", "steps": 60, "batch": 16}


def reviews(count: int = 300) -> list[dict[str, str]]:
    moods = {"good": ("fine", "great"), "bad": ("awful", "poor")}
    names = list(moods)
    return [
        {"text": f"{moods[names[i % 2]][i // 2 % 2]} film number {i}", "label": names[i % 2], "site": f"s{i % 12}"}
        for i in range(count)
    ]


def tone(pitch: float, seed: int) -> Sample:
    noise = 0.02 * torch.randn(1, 2400, generator=torch.Generator().manual_seed(seed))
    return Sample("audio", 0.4 * torch.sin(torch.arange(2400) * pitch)[None] + noise, sample_rate_hz=8000)


def bars(down: bool, seed: int) -> Sample:
    noise = 0.2 * torch.rand(1, 24, 24, generator=torch.Generator().manual_seed(seed))
    wave = (torch.sin(torch.arange(24) * 1.2 + seed) > 0).float() * 0.7
    return Sample("image", noise + (wave[None, :, None] if down else wave[None, None, :]))


@pytest.mark.parametrize(
    ("modality", "make"),
    [
        ("text", lambda i: Sample("text", reviews()[i]["text"])),
        ("audio", lambda i: tone(0.3 + 0.4 * (i % 2), i)),
        ("image", lambda i: bars(bool(i % 2), i)),
    ],
)
def test_classifiers_tell_apart_what_is_easy(modality, make):
    names = [str(i % 2) for i in range(60)]
    classifier = Classifier(modality).fit([make(i) for i in range(40)], names[:40])
    assert classifier.predict([make(i) for i in range(40, 60)]) == names[40:]


def test_gradients_count_directions():
    flat, edge = torch.zeros(1, 16, 16), torch.zeros(1, 16, 16)
    edge[:, :, 8:] = 1.0
    assert oriented_gradients(flat).abs().max() == 0
    found, turned = oriented_gradients(edge), oriented_gradients(edge.mT)
    assert found.shape == turned.shape and not torch.allclose(found, turned)
    assert torch.allclose(oriented_gradients(3 * edge), found, atol=1e-2), "the contrast does not count"


def test_pictures_are_judged_by_their_strokes_and_not_by_a_faint_margin():
    """A generated picture has a margin that is nearly, not exactly, empty."""

    def stroke(i: int, faint: float = 0.0) -> Sample:
        noise = torch.Generator().manual_seed(i)
        picture = faint * torch.rand(1, 32, 32, generator=noise)
        place = 12 + int(torch.randint(8, (1,), generator=noise))
        picture[(0, slice(8, 24), slice(place, place + 3)) if i % 2 else (0, slice(place, place + 3), slice(8, 24))] = (
            1.0
        )
        return Sample("image", picture)

    names = [str(i % 2) for i in range(80)]
    judge = Classifier("image").fit([stroke(i) for i in range(60)], names[:60])
    assert judge.predict([stroke(i, 0.02) for i in range(60, 80)]) == names[60:]


def test_sounds_are_judged_at_any_level_and_with_any_silence():
    def after_silence(i: int, gain: float, hiss: float) -> Sample:
        noise = torch.Generator().manual_seed(i)
        silence = hiss * torch.randn(1, 2000, generator=noise)
        return Sample(
            "audio", gain * torch.cat([silence, tone(0.3 + 0.3 * (i % 2), i).data], dim=1), sample_rate_hz=8000
        )

    names = [str(i % 2) for i in range(60)]
    judge = Classifier("audio").fit([after_silence(i, 1.0, 1e-3 * (i % 5)) for i in range(40)], names[:40])
    quiet = [after_silence(i, 0.01, 1e-4) for i in range(40, 60)]
    assert judge.predict(quiet) == names[40:]


def test_the_baseline_learns_from_no_more_records_than_the_model(tmp_path):
    """What the model did not learn from has the wrong names here, and the baseline would be wrong with them."""
    words = {"good": "fine", "bad": "awful"}
    known = {f"r{i}": list(words)[i % 2] for i in range(120)}
    splits = {key: "train" if i < 100 else "test" for i, key in enumerate(known)}

    def dataset(names: dict[str, str]) -> Dataset:
        def record(key: str) -> Record:
            text, name = partial(Sample, "text", f"{words[known[key]]} {key}"), partial(Sample, "label", names[key])
            return Record(key, splits[key], sources={"text:en": text, "label": name})

        return Dataset("films", [record(key) for key in known])

    kept = {one.key for one in dataset(known).limited(20).records}
    other = {"good": "bad", "bad": "good"}
    data = dataset({key: name if key in kept else other[name] for key, name in known.items()})
    settings = dict(size="tiny", steps=2, limit_keys=20, patience=0, tasks=["classify"])
    system = vqfusion.fit(data, folder=tmp_path / "run", device="cpu", **settings)
    (told,) = json.loads((tmp_path / "run" / "results.json").read_text())["test"]
    (again,) = scores(system, data)
    assert told["baseline_value"] == again.baseline_value == 100


def test_character_model_is_a_distribution_and_learns_what_repeats():
    model = CharacterModel(["abab", "abac"] * 20)
    seen = [chr(code) for code in range(256)]
    for before in ("", "a", "ab", "zz"):
        total = sum(model.probability(one, before) for one in seen) + model.probability("☃", before)
        assert total == pytest.approx(1.0, abs=1e-9)
    assert model.probability("b", "a") > 0.6 and model.bits_per_character(["abab"]) < 1
    assert model.bits_per_character(["☃☃☃☃"]) > math.log2(257) / 2


def test_translation_memory_answers_with_the_nearest():
    memory = TranslationMemory(["a red cat", "a blue dog"], ["eine rote Katze", "ein blauer Hund"])
    assert memory.translate(["the dog is blue", "red cat"]) == ["ein blauer Hund", "eine rote Katze"]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fitted")
    columns = {"text": "text", "label": "label"}
    return vqfusion.fit(
        reviews(), ["classify"], folder=folder, device="cpu", columns=columns, group="site", **QUICK
    ), folder


@pytest.mark.slow
def test_fit_takes_rows_and_scores_the_test_part_once(fitted):
    system, folder = fitted
    assert system.slots == ("text:en", "label")
    results = json.loads((folder / "results.json").read_text())
    (score,) = results["test"]
    assert score["task"] == "text:en -> label" and score["value"] > 90 and score["unit"] == "%"
    assert score["baseline"] == "TF-IDF + logistic regression" and score["baseline_value"] > 90
    assert 0 <= score["ece"] < 0.5 and score["low"] <= score["value"] <= score["high"]
    assert score["line"].startswith("text:en -> label: right ")
    again = system.evaluate(open_dataset_of(folder), limit=10)
    assert isinstance(again[0], Score) and again[0].n == 10


def open_dataset_of(folder: Path):
    lines = "text,label,site\n" + "".join(",".join(row.values()) + "\n" for row in reviews())
    (folder / "rows.csv").write_text(lines)
    reading = vqfusion.System.from_pretrained(folder).config.reading
    return open_dataset(folder / "rows.csv", reading)


@pytest.mark.slow
def test_a_part_that_is_too_small_is_one_line(fitted):
    system, folder = fitted
    few = open_dataset_of(folder)
    empty = type(few)("few", few.select("train"))
    with pytest.raises(UserError, match="'few' has 0 records in test: too few to score on"):
        system.evaluate(empty)


@pytest.mark.slow
def test_the_last_lines_of_train_are_the_score(cli, tmp_path):
    rows = reviews()
    (tmp_path / "r.csv").write_text("text,label,site\n" + "".join(",".join(row.values()) + "\n" for row in rows))
    own = {"name": "r", "data": "r.csv", "columns": {"text": "text", "label": "label"}, "group": "site"} | QUICK
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(own))
    code, out, err = cli("train", "own.yaml", "--device", "cpu", "--steps", "50")
    assert code == 0, err
    lines = out.splitlines()
    assert "the best of" in lines[-2] and "records" in lines[-2]
    assert lines[-1].startswith("test: text:en -> label: right ") and "TF-IDF" in lines[-1]
    assert "records" in err and "by site" in err, "the table before training"
    kept = Path("runs/r/results.json").read_bytes()
    code, out, err = cli("train", "own.yaml", "--device", "cpu", "--steps", "50", "--json")
    report = json.loads(out)
    assert code == 0 and report["test"][0]["line"] == lines[-1].removeprefix("test: ") and report["validation"]
    assert Path("runs/r/results.json").read_bytes() == kept
    code, out, err = cli("train", "own.yaml", "--device", "cpu", "--minutes", "0")
    assert (code, out) == (2, "") and "0 minutes is no time to train" in err
    code, out, err = cli("train", "own.yaml", "--dry-run", "--json", "--minutes", "2", "-o", "other")
    plan = json.loads(out)
    assert code == 0 and plan["seconds"] == 120 and dict(plan["data"])["records"].startswith("300: ")


@pytest.mark.slow
def test_pictures_and_sounds_that_are_made_are_judged_by_a_classifier_of_real_ones(tmp_path):
    rows = [{"audio": tone(0.3 + 0.4 * (i % 2), i), "label": ("low", "high")[i % 2]} for i in range(60)]
    system = vqfusion.fit(
        rows, ["label -> audio", "classify"], folder=tmp_path, device="cpu", **QUICK, tokenizer_steps=20
    )
    found = {score["task"]: score for score in json.loads((tmp_path / "results.json").read_text())["test"]}
    assert found["audio -> label"]["baseline"] == "MFCC + SVM"
    made = found["label -> audio"]
    assert (
        made["baseline"] == "the real ones" and made["baseline_value"] > 90 and "taken for its label" in made["metric"]
    )
    assert Counter(one.modality for one in system.generate({"label": "low"}, "audio").samples[0]) == {"audio": 1}


@pytest.mark.slow
def test_what_was_only_given_is_not_generated_and_other_names_are_told(cli, tmp_path):
    rows = [{"text": row["text"], "mood": row["label"]} for row in reviews(60)]
    columns = {"text": "text", "mood": "mood"}
    vqfusion.fit(rows, ["classify"], folder=tmp_path / "run", device="cpu", columns=columns, **QUICK | {"steps": 2})
    code, out, err = cli("write", "--model", "run")
    assert (code, out) == (
        2,
        "",
    ) and "was given text:en in training and never asked for it; it learned to give mood" in err
    code, out, err = cli("classify", "a fine film", "--model", "run")
    assert code == 0 and ("good" in out and "bad" in out), err
    code, out, err = cli("classify", "a fine film", "--model", "run", "--slot", "site")
    assert (code, out) == (2, "") and "no slot 'site'; it has text:en, mood" in err
