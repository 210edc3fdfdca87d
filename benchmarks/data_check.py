"""What `data check` finds when 5 % of each fault is put into real data, and what it finds where nothing was put.

Spoken digits (FSDD), photographs (train400, photos_cc0, Kodak) and sentences (Tatoeba, English beside German);
labels of spoken digits, MNIST and questions (CLINC150) with 10 % flipped. Limits were chosen on one half of the
files, by the hash of their names (`--half choose`); the other half is reported. imagehash, cleanvision and
cleanlab judge the same files where they are installed.

    python benchmarks/data_check.py
"""

import argparse
import io
import json
import lzma
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
from PIL import Image
from scipy import ndimage

from vqfusion.data.audit import CHECKS, Survey, chosen_checks, survey_of
from vqfusion.data.audit.confident import label_quality, probabilities
from vqfusion.data.audit.embedding import dense_of, reduced
from vqfusion.data.audit.item import Item
from vqfusion.data.audit.languages import FREQUENT
from vqfusion.data.io import read
from vqfusion.data.record import Dataset, Record
from vqfusion.data.standard import find
from vqfusion.types import Sample

RESULT = Path(__file__).parent / "results" / "data_check.json"
SHARE, FLIPPED = 0.05, 0.1
Fault = Callable[[Path, Path, np.random.Generator], None]


def record_of(path: Path, modality: str, key: str = "", split: str = "train", label: str = "") -> Record:
    sources: dict[str, Any] = {modality: partial(read, path, modality)}
    if label:
        sources["label"] = partial(Sample, "label", label)
    return Record(key or path.stem, split, sources=sources)


def look(records: Iterable[Record]) -> list[Item]:
    return survey_of(Dataset("set", list(records))).items


def flagged(items: list[Item], check: str) -> set[str]:
    survey = Survey("set", items, [], [], 0)
    return {found.name for found in CHECKS[check]().find(survey)}


def score(items: list[Item], bad: set[str], check: str) -> dict[str, float]:
    found = flagged(items, check)
    good = {item.name for item in items} - bad
    return {
        "injected": len(bad),
        "recall": round(len(found & bad) / max(1, len(bad)), 4),
        "false_alarms": round(len(found & good) / max(1, len(good)), 4),
    }


# sounds


def sound_of(path: Path) -> tuple[np.ndarray, int]:
    values, rate = soundfile.read(path, dtype="float64")
    return values, rate


def write_sound(path: Path, values: np.ndarray, rate: int) -> None:
    soundfile.write(path, np.clip(values, -1, 32767 / 32768), rate, subtype="PCM_16")


def on_sound(change: Callable[[np.ndarray, int, np.random.Generator], tuple[np.ndarray, int]]) -> Fault:
    def fault(source: Path, target: Path, random: np.random.Generator) -> None:
        write_sound(target, *change(*sound_of(source), random))

    return fault


def near_sound(source: Path, target: Path, random: np.random.Generator) -> None:
    """Another level, silence around it, a little noise, another rate, Vorbis or Opus."""
    values, rate = sound_of(source)
    how = int(random.integers(5))
    if how < 2:
        buffer = io.BytesIO()
        soundfile.write(buffer, values, rate, format="OGG", subtype=("VORBIS", "OPUS")[how])
        buffer.seek(0)
        write_sound(target, *soundfile.read(buffer))
        return
    if how == 2:
        values, rate = soxr.resample(values, rate, 2 * rate), 2 * rate
    elif how == 3:
        values = np.pad(0.5 * values, (rate // 10, rate // 20))
    else:
        values = values + random.normal(size=values.shape) * values.std() * 10**-1.5
    write_sound(target, values, rate)


SOUND_FAULTS: dict[str, Fault] = {
    "silent": on_sound(lambda x, r, g: (x * (0 if g.random() < 0.5 else 1e-4 / max(abs(x).max(), 1e-9)), r)),
    "clipped": on_sound(lambda x, r, g: (np.clip(x / abs(x).max() * g.uniform(2, 5), -1, 1) * g.uniform(0.5, 1), r)),
    "offset": on_sound(lambda x, r, g: (x * 0.9 + g.choice([-1, 1]) * g.uniform(0.03, 0.1), r)),
    "false-rate": on_sound(lambda x, r, g: (soxr.resample(soxr.resample(x, r, r / 2), r / 2, r), r)),
    "odd-rate": on_sound(lambda x, r, g: (x, 2 * r)),
    "odd-size": on_sound(lambda x, r, g: (np.tile(x, 10) if g.random() < 0.5 else x[: len(x) // 20], r)),
}

# pictures


def on_picture(change: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Fault:
    def fault(source: Path, target: Path, random: np.random.Generator) -> None:
        with Image.open(source) as opened:
            values = np.asarray(opened, np.float64) / 255
        out = (change(values, random).clip(0, 1) * 255).round().astype(np.uint8)
        Image.fromarray(out).save(target)

    return fault


def blur(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    width = random.uniform(2, 4)
    return ndimage.gaussian_filter(x, (width, width, 0)[: x.ndim])


def near_picture(source: Path, target: Path, random: np.random.Generator) -> None:
    """Another size, JPEG of low quality, another exposure."""
    with Image.open(source) as opened:
        picture = opened.copy()
    how = int(random.integers(3))
    if how == 0:
        picture = picture.resize((picture.width * 2 // 3, picture.height * 2 // 3), Image.Resampling.LANCZOS)
    elif how == 1:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=40)
        picture = Image.open(buffer)
    else:
        picture = picture.point(lambda v: min(255, int(1.2 * v)))
    picture.save(target)


PICTURE_FAULTS: dict[str, Fault] = {
    "blank": on_picture(lambda x, g: np.full_like(x, g.uniform(0, 1)) + g.normal(0, 1 / 255, x.shape)),
    "saturated": on_picture(lambda x, g: x * 4),
    "blurred": on_picture(blur),
    "odd-size": on_picture(lambda x, g: x[: max(8, len(x) // 8)] if g.random() < 0.5 else x[:, : x.shape[1] // 8]),
}

# files of any kind


def cut(source: Path, target: Path, random: np.random.Generator) -> None:
    data = source.read_bytes()
    target.write_bytes(data[: int(len(data) * random.uniform(0.1, 0.95))])


def spoil(source: Path, target: Path, random: np.random.Generator) -> None:
    target.write_bytes(random.bytes(len(source.read_bytes())))


FILE_FAULTS: dict[str, Fault] = {
    "empty": lambda source, target, random: target.touch(),
    "truncated": cut,
    "unreadable": spoil,
}


def measure_files(paths: list[Path], modality: str, faults: dict[str, Fault], near: Fault, foreign: list[Path]):
    """Every check of a set of files: one in twenty is replaced by a faulty version, or gets a double beside it."""
    clean = look(record_of(path, modality) for path in paths)
    random = np.random.default_rng(0)
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        for name, fault in (FILE_FAULTS | faults).items():
            chosen = set(random.permutation(len(paths))[: round(SHARE * len(paths))].tolist())
            folder = Path(place, name)
            folder.mkdir()
            for i in chosen:
                fault(paths[i], folder / (paths[i].stem + {"image": ".png", "audio": ".wav"}[modality]), random)
            bad = look(record_of(path, modality) for path in sorted(folder.iterdir()))
            items = [item for i, item in enumerate(clean) if i not in chosen] + bad
            rows[name] = score(items, {item.name for item in bad}, name)
        for name, split in (("duplicates", "train"), ("near-duplicates", "train"), ("leaks", "test")):
            chosen = set(random.permutation(len(paths))[: round(SHARE * len(paths))].tolist())
            folder = Path(place, name)
            folder.mkdir()
            for i in chosen:
                target = folder / (
                    paths[i].stem
                    + (paths[i].suffix if name == "duplicates" else ".png" if modality == "image" else ".wav")
                )
                if name == "duplicates":
                    target.write_bytes(paths[i].read_bytes())
                else:
                    near(paths[i], target, random)
            twins = look(record_of(path, modality, split=split) for path in sorted(folder.iterdir()))
            items = clean + twins
            pairs = {i: item.name for i, item in zip(sorted(chosen, key=lambda i: paths[i].stem), twins, strict=True)}
            found = flagged(items, name)
            hit = sum(clean[i].name in found or twin in found for i, twin in pairs.items())
            alarms = len(found - set(pairs.values()) - {clean[i].name for i in pairs}) / len(clean)
            rows[name] = {
                "injected": len(pairs),
                "recall": round(hit / len(pairs), 4),
                "false_alarms": round(alarms, 4),
            }
            if name == "near-duplicates" and modality == "image":
                rows["peers"] = picture_peers(paths, list(folder.iterdir()))
        if foreign:
            strange = look(record_of(path, modality) for path in foreign[: round(SHARE * len(paths))])
            rows["outliers"] = score(clean + strange, {item.name for item in strange}, "outliers")
    return rows


def picture_peers(paths: list[Path], twins: list[Path]) -> dict[str, Any]:
    """Near duplicates by the perceptual hash of imagehash, at the limit of 8 of 64 bits."""
    try:
        import imagehash
    except ImportError:
        return {"imagehash": "not installed"}

    def hashes(files: list[Path]) -> np.ndarray:
        rows = []
        for path in files:
            with Image.open(path) as opened:
                rows.append(imagehash.phash(opened).hash.ravel())
        return np.array(rows)

    ours, theirs = hashes(paths), hashes(twins)
    away = (ours[None] != theirs[:, None]).sum(2)
    among = (ours[None] != ours[:, None]).sum(2) + 64 * np.eye(len(ours), dtype=int)
    own = [[path.stem for path in paths].index(twin.stem) for twin in twins]
    return {
        "imagehash phash": {
            "recall": round(float(np.mean([away[k, i] <= 8 for k, i in enumerate(own)])), 4),
            "false_alarms": round(float((among.min(1) <= 8).mean()), 4),
        }
    }


def vision_peer(paths: list[Path]) -> dict[str, Any]:
    """Blur, exposure, emptiness, and odd sizes by cleanvision, on the same faults."""
    try:
        from cleanvision import Imagelab
    except ImportError:
        return {"cleanvision": "not installed"}
    random = np.random.default_rng(0)
    named = {"blurred": "blurry", "saturated": "light", "blank": "low_information", "odd-size": "odd_aspect_ratio"}
    rows = {}
    with tempfile.TemporaryDirectory() as place:
        for name, issue in named.items():
            folder = Path(place, name)
            folder.mkdir()
            chosen = set(random.permutation(len(paths))[: round(SHARE * len(paths))].tolist())
            for i, path in enumerate(paths):
                if i in chosen:
                    PICTURE_FAULTS[name](path, folder / f"bad{i}.png", random)
                else:
                    (folder / f"good{i}{path.suffix}").write_bytes(path.read_bytes())
            lab = Imagelab(data_path=str(folder), verbose=False)
            lab.find_issues({issue: {}}, n_jobs=1, verbose=False)
            found = {Path(one).name for one in lab.issues.index[lab.issues[f"is_{issue}_issue"]]}
            bad = {f"bad{i}.png" for i in chosen}
            rows[f"{name} ({issue})"] = {
                "recall": round(len(found & bad) / len(bad), 4),
                "false_alarms": round(len(found - bad) / (len(paths) - len(bad)), 4),
            }
    return {"cleanvision": rows}


# texts


def text_items(texts: list[tuple[str, str, str]]) -> list[Item]:
    """Items of (key, slot, text), one record each."""
    return look(Record(key, "train", sources={slot: partial(Sample, "text", text)}) for key, slot, text in texts)


def measure_texts(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    random = np.random.default_rng(0)
    english = [(f"e{i}", "text:en", en) for i, (en, _) in enumerate(pairs)]
    german = [(f"d{i}", "text:de", de) for i, (_, de) in enumerate(pairs)]
    count = round(SHARE * len(pairs))
    rows: dict[str, Any] = {}

    def swapped(texts: list[tuple[str, str, str]], change: Callable[[int, str], str], among: list[int], check: str):
        chosen = set(random.permutation(among)[:count].tolist())
        changed = [(k, s, change(i, t) if i in chosen else t) for i, (k, s, t) in enumerate(texts)]
        items = text_items(changed)
        return score(items, {items[i].name for i in chosen}, check)

    everywhere = list(range(len(pairs)))
    spoken = [i for i in everywhere if sum(c.isalpha() for c in german[i][2]) >= 12]
    rows["wrong-language, German among English alone"] = swapped(
        english, lambda i, t: german[i][2], spoken, "wrong-language"
    )
    rows["wrong-language, English among German alone"] = swapped(
        german, lambda i, t: english[i][2], spoken, "wrong-language"
    )
    accented = [i for i in everywhere if not german[i][2].isascii()]
    rows["mojibake, German"] = swapped(
        german, lambda i, t: t.encode().decode("cp1252", "replace"), accented, "mojibake"
    )
    rows["odd-size"] = swapped(
        english, lambda i, t: t[0] if random.random() < 0.5 else " ".join([t] * 20), everywhere, "odd-size"
    )
    for name, change in (
        ("duplicates", lambda t: t),
        ("near-duplicates", lambda t: f" {t.upper().rstrip('.!?')}  !"),
    ):
        chosen = random.permutation(len(english))[:count].tolist()
        items = text_items(english + [(f"twin{i}", "text:en", change(english[i][2])) for i in chosen])
        found = flagged(items, name)
        hit = sum(f"e{i} text:en" in found or f"twin{i} text:en" in found for i in chosen)
        alarms = len([one for one in found if not one.startswith("twin") and int(one[1:].split()[0]) not in chosen])
        rows[name] = {
            "injected": count,
            "recall": round(hit / count, 4),
            "false_alarms": round(alarms / len(english), 4),
        }
    return rows


# labels


def measure_labels(items: list[Item]) -> dict[str, Any]:
    """A tenth of the labels is flipped; ranking and decision of confident learning here and of cleanlab."""
    random = np.random.default_rng(0)
    items = [item for item in items if item.measured and item.measured.embedding is not None]
    names = sorted({item.label for item in items})
    truth = np.array([names.index(item.label) for item in items])
    flip = np.zeros(len(truth), bool)
    flip[random.permutation(len(truth))[: round(FLIPPED * len(truth))]] = True
    labels = np.where(flip, (truth + random.integers(1, len(names), len(truth))) % len(names), truth)
    matrix, points = dense_of(items), reduced(items, 64)
    p = probabilities(matrix, points, labels)
    suspect, quality = label_quality(p, labels)
    row: dict[str, Any] = {
        "items": len(items),
        "classes": len(names),
        "accuracy": round(float((p.argmax(1) == truth).mean()), 4),
        "here": ranked(suspect, quality, flip),
    }
    clean, _ = label_quality(probabilities(matrix, points, truth), truth)
    row["flagged_without_flips"] = round(float(clean.mean()), 4)
    try:
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores
    except ImportError:
        row["cleanlab"] = "not installed"
        return row
    found = find_label_issues(labels, p, n_jobs=1)
    row["cleanlab"] = ranked(found, get_label_quality_scores(labels, p), flip)
    return row


def ranked(suspect: np.ndarray, quality: np.ndarray, flip: np.ndarray) -> dict[str, float]:
    """Precision where the most doubtful labels hold 80 % of the flipped ones, and what is flagged."""
    order = np.argsort(quality, kind="stable")
    hits = np.cumsum(flip[order])
    at = int(np.searchsorted(hits, 0.8 * flip.sum()))
    return {
        "precision_at_recall_0.8": round(float(hits[at] / (at + 1)), 4),
        "flagged_precision": round(float(flip[suspect].mean()), 4),
        "flagged_recall": round(float(suspect[flip].mean()), 4),
    }


def half_of(keys: Iterable[Any], half: str, name: Callable[[Any], str] = str) -> list[Any]:
    return [key for key in keys if zlib.crc32(name(key).encode()) % 2 == (half == "report")]


Rows = dict[str, Any]


def photographs(place: Path, arguments: argparse.Namespace) -> Rows:
    photos = [*(place / "images/train400").glob("*.png"), *(place / "photos_cc0").glob("*.jpg")]
    photos += (place / "images/kodak24").glob("*.png")
    photos = half_of(sorted(photos), arguments.half, lambda path: path.name)
    with tempfile.TemporaryDirectory() as folder:
        foreign = digits_as_pictures(place, Path(folder))
        photos = [of_one_size(path, Path(folder)) for path in photos]
        rows = measure_files(photos, "image", PICTURE_FAULTS, near_picture, foreign)
        if arguments.peers:
            rows["peers"] |= vision_peer(photos)
    return {"photographs": rows}


def spoken_digits(place: Path, arguments: argparse.Namespace) -> Rows:
    digits = half_of(sorted((place / "fsdd/recordings").glob("*.wav")), arguments.half, lambda path: path.name)
    with tempfile.TemporaryDirectory() as folder:
        foreign = noises(place, Path(folder))
        rows = measure_files(digits, "audio", SOUND_FAULTS, near_sound, foreign)
    return {"spoken digits": rows}


def sentences(place: Path, arguments: argparse.Namespace) -> Rows:
    with lzma.open(place / "tatoeba/eng-deu.tsv.xz", "rt", encoding="utf8") as lines:
        pairs = [tuple(line.rstrip("\n").split("\t")[:2]) for line in lines]
    once = {pair[0].casefold().strip(".!? "): pair for pair in pairs if len(pair) == 2}
    step = len(once) // (2 * arguments.sentences)
    some = half_of(list(once.values())[::step], arguments.half, lambda pair: pair[0])
    return {"sentences": measure_texts(some) | {"known_languages": len(FREQUENT)}}


def labels(place: Path, arguments: argparse.Namespace) -> Rows:
    stored = np.load(place / "mnist10k.npz")
    with tempfile.TemporaryDirectory() as folder:
        records = []
        for i in half_of(range(0, 10_000, 2), arguments.half):
            path = Path(folder, f"{i}.png")
            Image.fromarray(stored["images"][i]).save(path)
            records.append(record_of(path, "image", label=str(stored["labels"][i])))
        handwritten = measure_labels(look(records))
    digits = half_of(sorted((place / "fsdd/recordings").glob("*.wav")), arguments.half, lambda path: path.name)
    spoken = measure_labels(look(record_of(path, "audio", label=path.name[0]) for path in digits))
    asked = measure_labels(questions(place, arguments.half))
    return {"labels of spoken digits": spoken, "labels of MNIST": handwritten, "labels of questions (CLINC150)": asked}


PARTS = {one.__name__: one for one in (photographs, spoken_digits, sentences, labels)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--half", choices=("choose", "report"), default="report")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--sentences", type=int, default=4000)
    parser.add_argument("--output", type=Path, default=RESULT)
    parser.add_argument("--peers", action="store_true", help="cleanvision too, which takes minutes")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    chosen_checks()
    place = find("fsdd", "fetch github Jakobovski/free-spoken-digit-dataset").parent
    known = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    result = known | {"half": arguments.half, "share": SHARE}
    for name in arguments.parts:
        started = time.process_time()
        rows = PARTS[name](place, arguments)
        result |= rows
        result.setdefault("cpu_seconds", {})[name] = round(time.process_time() - started)
        print(json.dumps(rows, indent=1), flush=True)
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")


def questions(place: Path, half: str) -> list[Item]:
    with lzma.open(place / "clinc150/train.tsv.xz", "rt", encoding="utf8") as lines:
        rows = [line.rstrip("\n").split("\t") for line in lines]
    records = [
        Record(
            text, "train", sources={"text:en": partial(Sample, "text", text), "label": partial(Sample, "label", name)}
        )
        for name, text in half_of(rows, half, lambda row: row[1])
    ]
    return look(records)


def of_one_size(path: Path, folder: Path) -> Path:
    """A photograph as 180 x 180 pixels from its middle, since two of the three sets have large ones."""
    with Image.open(path) as opened:
        picture = opened if opened.width <= 200 else opened.reduce(2)
        left, top = (picture.width - 180) // 2, (picture.height - 180) // 2
        target = folder / f"{path.stem}.png"
        picture.crop((left, top, left + 180, top + 180)).save(target)
    return target


def digits_as_pictures(place: Path, folder: Path) -> list[Path]:
    """Handwritten digits, which are no photographs."""
    stored, paths = np.load(place / "mnist10k.npz"), []
    for i in range(100):
        paths.append(folder / f"digit{i}.png")
        Image.fromarray(stored["images"][i]).resize((180, 180)).save(paths[-1])
    return paths


def noises(place: Path, folder: Path) -> list[Path]:
    """Recordings of noise at 8 kHz, of up to a second, which are no spoken digits."""
    paths = []
    with zipfile.ZipFile(place / "noise_cc/noise_cc.zip") as archive:
        for name in sorted(archive.namelist())[::5][:100]:
            if name.endswith("/"):
                continue
            values, rate = soundfile.read(io.BytesIO(archive.read(name)))
            paths.append(folder / f"noise{len(paths)}.wav")
            write_sound(paths[-1], soxr.resample(values[: rate // 2], rate, 8000), 8000)
    return paths


if __name__ == "__main__":
    main()
