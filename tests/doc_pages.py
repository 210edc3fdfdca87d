"""Runs the blocks of the pages of the documentation: `python tests/doc_pages.py [PAGE ...]`.

Each page has a new folder. Blocks of `python` and the lines of `bash` are run, in order; `yaml` with a name is written
to NAME.yaml; everything else is shown only. The files that the pages speak of (photo.jpg, voice.wav, ...) are there.
"""

import json
import os
import re
import shlex
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(python|bash|yaml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def furnish(folder: Path) -> None:
    """Small files and data sets under the names that the pages use."""
    import soundfile
    from PIL import Image, ImageDraw

    rng = np.random.default_rng(0)
    ramp = np.linspace(0.2, 0.8, 64)
    scene = np.stack([np.add.outer(ramp, ramp) / 2] * 3, axis=2)

    def picture(size: int = 64) -> Image.Image:
        noisy = scene[:size, :size] + rng.normal(0, 0.08, (size, size, 3))
        return Image.fromarray((255 * noisy.clip(0, 1)).astype(np.uint8))

    picture().save(folder / "photo.jpg", quality=95)
    picture(32).save(folder / "small.png")
    mask = Image.new("L", (64, 64))
    ImageDraw.Draw(mask).rectangle((20, 20, 28, 28), fill=255)
    mask.save(folder / "mask.png")
    time = np.arange(8000) / 16000
    voice = 0.2 * np.sin(2 * np.pi * 220 * time) * np.sin(2 * np.pi * 3 * time) + rng.normal(0, 0.01, 8000)
    soundfile.write(folder / "voice.wav", voice, 16000)
    (folder / "table.csv").write_text(_table())
    for name in ("pictures", "voices", "tables", "scans", "cells"):
        (folder / name).mkdir()
    for i in range(24):
        picture(48).save(folder / "pictures" / f"{i}.png")
        (folder / "pictures" / f"{i}.txt").write_text(("a red kite", "a blue boat")[i % 2])
        soundfile.write(folder / "voices" / f"{i}.wav", rng.permuted(voice), 16000)
        (folder / "tables" / f"{i}.csv").write_text(_table(channels=1))
        picture(64).convert("L").save(folder / "cells" / f"{i}.png")
    for i in range(3):
        np.save(folder / "scans" / f"{i}.npy", rng.random((40, 40, 40), dtype=np.float32))
    lines = [{"audio": f"voices/{i}.wav", "text:en": "turn left", "speaker": "ada"} for i in range(24)]
    (folder / "voices.jsonl").write_text("\n".join(map(json.dumps, lines)))
    pairs = [{"text:en": f"The ferry {i} leaves.", "text:de": f"Die Fähre {i} geht."} for i in range(24)]
    (folder / "sentences.jsonl").write_text("\n".join(map(json.dumps, pairs)), encoding="utf-8")


def _table(channels: int = 2) -> str:
    """One channel of 600 times, or two with a gap in one of them."""
    names = ("temperature", "pressure")[:channels]
    values = np.sin(np.arange(600)[:, None] / (7, 9)[:channels])
    cells = [[str(i), *(f"{value:.4f}" for value in row)] for i, row in enumerate(values)]
    for row in cells[100:106] if channels > 1 else ():
        row[1] = ""
    return "\n".join([",".join(("time", *names)), *(",".join(row) for row in cells), ""])


def run_page(page: Path) -> int:
    """Run the blocks of a page in the current folder; returns how many things were run.

    Raises:
        AssertionError: A command failed; the message names the page and the line of the block.
    """
    from vqfusion.cli import main

    text = page.read_text(encoding="utf-8")
    names: dict[str, object] = {"__name__": "__main__"}
    runs = 0
    for block in BLOCK.finditer(text):
        line = text.count("\n", 0, block.start()) + 2
        if block[1] == "python":
            exec(compile("\n" * (line - 1) + block[2], str(page), "exec"), names)
            runs += 1
        elif block[1] == "yaml":
            if named := re.search(r"^name: (\S+)$", block[2], re.MULTILINE):
                Path(f"{named[1]}.yaml").write_text(block[2], encoding="utf-8")
        else:
            for command in block[2].replace("\\\n", " ").splitlines():
                plain = command.startswith("vqfusion ") and not re.search(r"[|&;<>]", command)
                assert plain, f"{page}, block at line {line}: {command}: one plain command of vqfusion a line"
                code = main(shlex.split(command, comments=True)[1:])
                assert code == 0, f"{page}, block at line {line}: {command}: exit code {code}"
                runs += 1
    return runs


def pages() -> list[Path]:
    """Pages with blocks that are run."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [page for page in found if re.search(r"^```(python|bash)$", page.read_text(encoding="utf-8"), re.MULTILINE)]


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    for one in [Path(name).resolve() for name in sys.argv[1:]] or pages():
        with tempfile.TemporaryDirectory() as folder:
            os.environ["XDG_CACHE_HOME"] = str(Path(folder, "cache"))
            os.chdir(folder)
            furnish(Path(folder))
            print(f"{one}: {run_page(one)} blocks", flush=True)
            os.chdir(ROOT)
