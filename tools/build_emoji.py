"""Build `src/vqfusion/data/emoji`: pictures, names in 24 languages and spoken names of about 1,500 emoji.

The folder that this writes ships with the package, so this tool is only needed to change it. Sources:

    npm pack emoji-datasource-google@16.0.0        Noto pictures, Apache-2.0
    npm pack @lobehub/fluent-emoji-3d@1.1.0        Fluent 3D pictures, MIT
    npm pack emojibase-data@17.0.0                 groups and subgroups, MIT
    apt-get download unicode-cldr-core             (41-0.1) names and keywords, Unicode-DFS-2016
    pip install espeakng-loader==0.2.4 soundfile soxr pillow numpy     speech (espeak-ng itself is GPL-3)

Unpack the three tarballs with `tar -xf` and the Debian package with `dpkg -x`, each into a folder of its
own, then run `python tools/build_emoji.py NOTO FLUENT EMOJIBASE CLDR`. The same seed gives the same splits,
voices and clips. Quality is chosen with `--webp-quality` and `--opus-compression` (libsndfile's 0 to 1;
16 kHz mono: bit/s = 256000 - 250000 * value).
"""

import argparse
import ctypes
import gzip
import hashlib
import json
import math
import random
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ProcessPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile
import soxr
from PIL import Image

LANGUAGES = "en de fr es it pt nl pl ru uk tr el ar he hi zh ja ko vi id sv cs fi hu".split()
HELD_OUT_LANGUAGE_PAIRS = ["de-fr", "es-it", "pt-ru", "ja-ko", "nl-sv", "zh-ar"]
COLUMNS_OF_CLIPS = ["voice", "language", "key", "start", "length", "split", "held_out"]
SPOKEN = {"en": "gmw/en-US", "de": "gmw/de", "fr": "roa/fr"}
TILE, COLUMNS, SPLITS, RATE_HZ, ESPEAK_HZ, MAX_SECONDS, GAP = (
    64,
    40,
    ("train", "val", "test"),
    16000,
    22050,
    2.5,
    320,
)

# name: (split, espeak variant, pitch 0-100, words a minute); the same voice speaks every language
VOICES = {
    "ada": ("train", "f1", 50, 185), "bruno": ("train", "m1", 45, 190), "clara": ("train", "f2", 40, 200),
    "dario": ("train", "m3", 55, 180), "edith": ("train", "f4", 60, 195), "felix": ("train", "m4", 40, 205),
    "greta": ("train", "Annie", 45, 190), "hanno": ("train", "m7", 60, 195),
    "irene": ("train", "steph", 50, 205), "jonas": ("train", "Alex", 35, 185),
    "karin": ("train", "belinda", 45, 180), "louis": ("train", "Michael", 50, 210),
    "marta": ("val", "m8", 55, 195),
    "nadia": ("test", "f3", 55, 190), "oskar": ("test", "m6", 50, 200), "petra": ("test", "Andrea", 40, 195),
}  # fmt: skip


def bare(code: str) -> str:
    """Lower-case hexadecimal code points without the picture selector U+FE0F: the key of a concept."""
    return "-".join(part for part in code.lower().split("-") if part != "fe0f")


def read_names(cldr: Path, language: str) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Names and keywords of one language by key."""
    names, keywords = {}, {}
    for folder in ("annotationsDerived", "annotations"):
        root = ElementTree.parse(next(cldr.rglob(f"common/{folder}/{language}.xml"))).getroot()
        for node in root.iter("annotation"):
            key, text = bare("-".join(f"{ord(c):x}" for c in node.get("cp"))), (node.text or "").strip()
            if not text or "↑" in text:
                continue
            if node.get("type") == "tts":
                names[key] = " ".join(text.split())
            else:
                keywords[key] = [word.strip() for word in text.split("|") if word.strip()]
    return names, keywords


def read_concepts(noto: Path, fluent: Path, emojibase: Path, cldr: Path) -> dict[str, dict]:
    """Every emoji with a Noto picture and an English, German and French name, in Unicode's order."""
    meta = json.loads(next(emojibase.rglob("meta/groups.json")).read_text())
    pictures = {bare(p.stem): p for p in next(noto.rglob("img/google/64")).glob("*.png")}
    fluents = {bare(p.stem): p for p in next(fluent.rglob("assets")).glob("*.webp")}
    words = {language: read_names(cldr, language) for language in LANGUAGES}
    concepts = {}
    entries = json.loads(next(emojibase.rglob("en/data.json")).read_text())
    for entry in sorted(entries, key=lambda entry: entry.get("order", 0)):
        key, group = bare(entry["hexcode"]), meta["groups"].get(str(entry.get("group")), "")
        if group in ("", "flags", "component") or key not in pictures:
            continue
        if any(key not in words[language][0] for language in SPOKEN):
            continue
        concepts[key] = {
            "emoji": entry["emoji"], "group": group, "subgroup": meta["subgroups"][str(entry["subgroup"])],
            "names": {lang: words[lang][0][key] for lang in LANGUAGES if key in words[lang][0]},
            "keywords": {lang: words[lang][1][key] for lang in LANGUAGES if key in words[lang][1]},
            "pictures": {"noto": pictures[key]} | ({"fluent": fluents[key]} if key in fluents else {}),
        }  # fmt: skip
    return concepts


def split_concepts(concepts: dict[str, dict], rng: random.Random) -> None:
    """Store the splits: 10 % of concepts test and 5 % val by hash; of the train concepts with two styles
    10 % lend one of their pictures to test and 3 % to val, never both."""
    for key, concept in concepts.items():
        share = int(hashlib.sha1(key.encode()).hexdigest()[:8], 16) / 2**32
        concept["split"] = "test" if share < 0.10 else "val" if share < 0.15 else "train"
    paired = [k for k, c in concepts.items() if c["split"] == "train" and len(c["pictures"]) == 2]
    rng.shuffle(paired)
    tests, vals = round(0.10 * len(paired)), round(0.03 * len(paired))
    lent = {k: (rng.choice(("noto", "fluent")), "test") for k in paired[:tests]}
    lent |= {k: (rng.choice(("noto", "fluent")), "val") for k in paired[tests : tests + vals]}
    for key, concept in concepts.items():
        style, split = lent.get(key, ("", ""))
        concept["paths"], concept["pictures"] = concept["pictures"], {}
        for name in concept["paths"]:
            held_out = "pair" if name == style else "" if concept["split"] == "train" else "concept"
            picked = split if name == style else concept["split"]
            concept["pictures"][name] = {"tile": 0, "split": picked, "held_out": held_out}


def over_white(path: Path) -> Image.Image:
    """The picture over white, 64 x 64."""
    picture = Image.open(path).convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB").resize((TILE, TILE), Image.Resampling.LANCZOS)


def write_atlas(concepts: dict[str, dict], style: str, path: Path, quality: int) -> float:
    """One lossy WebP with a tile per concept; gives the mean PSNR of its tiles in dB."""
    keys = [key for key, concept in concepts.items() if style in concept["paths"]]
    size = (COLUMNS * TILE, math.ceil(len(keys) / COLUMNS) * TILE)
    atlas, boxes = Image.new("RGB", size, "white"), []
    for tile, key in enumerate(keys):
        concepts[key]["pictures"][style]["tile"] = tile
        left, top = tile % COLUMNS * TILE, tile // COLUMNS * TILE
        atlas.paste(over_white(concepts[key]["paths"][style]), (left, top))
        boxes.append((left, top, left + TILE, top + TILE))
    buffer = BytesIO()
    atlas.save(buffer, "WEBP", quality=quality, method=6)
    path.write_bytes(buffer.getvalue())
    back = Image.open(buffer).convert("RGB")
    errors = [np.mean((np.float64(atlas.crop(b)) - np.float64(back.crop(b))) ** 2) for b in boxes]
    return float(np.mean([10 * np.log10(255**2 / max(error, 1e-3)) for error in errors]))


class Espeak:
    """espeak-ng through its C library: text in, 16-bit sound at 22,050 Hz out. One per process."""

    def __init__(self) -> None:
        import espeakng_loader

        self.library = ctypes.CDLL(espeakng_loader.get_library_path())
        self.pieces: list[np.ndarray] = []
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
        self.callback = kind(self._keep)  # C holds a bare pointer: keep the object alive
        home = str(Path(espeakng_loader.get_data_path()).parent)
        rate = self.library.espeak_Initialize(2, 0, home.encode(), 0)
        assert rate == ESPEAK_HZ, f"espeak-ng speaks at {rate} Hz"
        self.library.espeak_SetSynthCallback(self.callback)

    def _keep(self, samples, count: int, _events) -> int:
        if samples and count > 0:
            self.pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def say(self, text: str, language: str, variant: str, pitch: int, rate: int) -> np.ndarray:
        """float32 sound at 16 kHz, silence trimmed to 30 ms, peak 0.5."""
        name = f"{SPOKEN[language]}+{variant}"
        assert self.library.espeak_SetVoiceByName(name.encode()) == 0, name
        self.library.espeak_SetParameter(1, rate, 0)
        self.library.espeak_SetParameter(3, pitch, 0)
        self.pieces.clear()
        data = text.encode()
        self.library.espeak_Synth(data, len(data) + 1, 0, 0, 0, 1, None, None)
        return trim(soxr.resample(np.concatenate(self.pieces).astype(np.float32), ESPEAK_HZ, RATE_HZ))


def trim(sound: np.ndarray) -> np.ndarray:
    """Leading and trailing silence (40 dB under the peak) cut to 30 ms, peak 0.5."""
    sound = sound * (0.5 / np.abs(sound).max())
    loud = np.flatnonzero(np.abs(sound) > 0.005)
    margin = round(0.03 * RATE_HZ)
    return sound[max(0, loud[0] - margin) : loud[-1] + margin]


def plan_clips(concepts: dict[str, dict], rng: random.Random) -> dict[str, list[dict]]:
    """Who says what: every name twice by two different train voices, in balance; the val voice says 60 and
    the test voices 150 names of train concepts in each language."""
    voices = {split: [voice for voice in VOICES if VOICES[voice][0] == split] for split in SPLITS}
    seen = [key for key, concept in concepts.items() if concept["split"] == "train"]
    plan: dict[str, list[dict]] = {voice: [] for voice in VOICES}
    for language in SPOKEN:
        deck: list[str] = []
        for key in rng.sample(list(concepts), len(concepts)):
            deck = deck or rng.sample(voices["train"], len(voices["train"]))
            split = concepts[key]["split"]
            held_out = "" if split == "train" else "concept"
            for voice in (deck.pop(), deck.pop()):
                plan[voice].append({"language": language, "key": key, "split": split, "held_out": held_out})
        for split, count in (("val", 60), ("test", 150)):
            for index, key in enumerate(rng.sample(seen, count)):
                voice = voices[split][index % len(voices[split])]
                plan[voice].append({"language": language, "key": key, "split": split, "held_out": "voice"})
    return plan


def speak_voice(job: tuple[str, list[dict], list[str], Path, float]) -> tuple[list[list], int, float]:
    """Write one voice's Opus file; gives the rows of its clips, how many were too long, and the worst lag."""
    voice, clips, texts, path, compression = job
    espeak, (_, variant, pitch, rate) = Espeak(), VOICES[voice]
    rows, pieces, position, dropped = [], [np.zeros(GAP, np.float32)], GAP, 0
    for clip, text in zip(clips, texts, strict=True):
        sound = espeak.say(text, clip["language"], variant, pitch, rate)
        if len(sound) > MAX_SECONDS * RATE_HZ:
            dropped += 1
            continue
        row = clip | {"voice": voice, "start": position, "length": len(sound)}
        rows.append([row[column] for column in COLUMNS_OF_CLIPS])
        pieces += [sound, np.zeros(GAP, np.float32)]
        position += len(sound) + GAP
    whole = np.concatenate(pieces)
    how = {"format": "OGG", "subtype": "OPUS", "compression_level": compression}
    with soundfile.SoundFile(path, "w", RATE_HZ, 1, **how) as file:
        for start in range(0, len(whole), 65536):
            file.write(whole[start : start + 65536])
    decoded, _ = soundfile.read(path, dtype="float32")
    assert len(decoded) == len(whole), f"{path.name}: {len(decoded)} decoded samples of {len(whole)}"
    lags = []
    for row in rows[:: max(1, len(rows) // 25)]:
        a, b = whole[row[3] : row[3] + row[4]], decoded[row[3] - 160 : row[3] + row[4] + 160]
        lags.append(int(np.argmax(np.correlate(b, a, "valid"))) - 160)
    return rows, dropped, max(map(abs, lags))


def write_json(path: Path, value: dict) -> None:
    """Compressed JSON whose bytes depend on its content alone."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    for name in ("noto", "fluent", "emojibase", "cldr"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "src/vqfusion/data/emoji")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--webp-quality", type=int, default=94)
    parser.add_argument("--opus-compression", type=float, default=0.982)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rng = random.Random(options.seed)

    concepts = read_concepts(options.noto, options.fluent, options.emojibase, options.cldr)
    split_concepts(concepts, rng)
    for style in ("noto", "fluent"):
        path = options.out / f"{style}.webp"
        psnr = write_atlas(concepts, style, path, options.webp_quality)
        print(f"{path.name}: mean PSNR {psnr:.2f} dB, {path.stat().st_size / 1e6:.2f} MB")
    for concept in concepts.values():
        del concept["paths"]
    header = {"languages": LANGUAGES, "held_out_language_pairs": HELD_OUT_LANGUAGE_PAIRS}
    header |= {"tile": TILE, "columns": COLUMNS}
    write_json(options.out / "names.json.gz", header | {"concepts": concepts})

    jobs = []
    for voice, clips in plan_clips(concepts, rng).items():
        texts = [concepts[clip["key"]]["names"][clip["language"]] for clip in clips]
        jobs.append((voice, clips, texts, options.out / f"{voice}.opus", options.opus_compression))
    with ProcessPoolExecutor(2, max_tasks_per_child=1) as pool:
        results = list(pool.map(speak_voice, jobs))
    rows = [row for result in results for row in result[0]]
    of_voice = ("split", "variant", "pitch", "words_per_minute")
    voices = {voice: dict(zip(of_voice, spec, strict=True)) for voice, spec in VOICES.items()}
    table = {"sample_rate_hz": RATE_HZ, "voices": voices, "columns": COLUMNS_OF_CLIPS, "clips": rows}
    write_json(options.out / "clips.json.gz", table)

    seconds = sum(row[4] for row in rows) / RATE_HZ
    dropped = sum(result[1] for result in results)
    print(f"{len(concepts)} concepts, {len(rows)} clips, {seconds / 60:.1f} min, {dropped} too long")
    print(f"largest lag of a decoded clip: {max(r[2] for r in results)} samples")
    for split in SPLITS:
        pictures = [p for c in concepts.values() for p in c["pictures"].values() if p["split"] == split]
        counts = {"concepts": sum(c["split"] == split for c in concepts.values())}
        for kind in ("", "concept", "pair", "voice"):
            counts[f"pictures {kind or 'seen'}"] = sum(p["held_out"] == kind for p in pictures)
            counts[f"clips {kind or 'seen'}"] = sum(row[5:] == [split, kind] for row in rows)
        print(split, {name: count for name, count in counts.items() if count})
    for path in sorted(options.out.iterdir()):
        print(f"{path.stat().st_size:>9} {path.name}")
    print(f"{sum(p.stat().st_size for p in options.out.iterdir()) / 1e6:.2f} MB in all")


if __name__ == "__main__":
    main()
