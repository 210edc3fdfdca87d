"""Draws docs/architecture.svg: the rooms of the package on their floors, and who imports whom, read off the source.

    python tools/draw_architecture.py            # writes the picture
    python tools/draw_architecture.py --check    # exit code 1 where the picture is not that of the source

Arrows that follow from others are left out: where `commands` uses `tasks` and `tasks` uses `models`, an arrow from
`commands` to `models` would say nothing new.
"""

import ast
import sys
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE, PICTURE = ROOT / "src" / "vqfusion", ROOT / "docs" / "architecture.svg"

FLOORS = (
    (("cli",),),
    (("commands",),),
    (("demo",), ("web",), ("sklearn",), ("napari",)),
    (("hub",), ("fitting",)),
    (("tasks",), ("train",), ("evaluate",), ("inspect",), ("compress",)),
    (("models",), ("runs",)),
    (("tokenizers",), ("diffusion",)),
    (("nn",), ("data",), ("pages",)),
    (("config", "types", "modalities", "files", "limits", "errors", "deprecated", "lazy", "watch"),),
)
SAID = {
    "cli": "one guard around the command",
    "commands": "what the command line does behind its verbs",
    "demo": "every verb on one page",
    "web": "every task as a service and on a page",
    "hub": "name of a model to folder",
    "fitting": "train and score in one call",
    "sklearn": "estimators for scikit-learn",
    "napari": "plugin for the viewer",
    "tasks": "what people ask",
    "train": "how weights are made",
    "evaluate": "how good it is, beside what",
    "inspect": "what a model has learned",
    "compress": "ONNX",
    "models": "joins codes, diffusion and data",
    "tokenizers": "sample to tokens and back",
    "diffusion": "data to noise and back",
    "runs": "what a training tells",
    "nn": "parts of networks",
    "data": "raw files to samples and back",
    "pages": "HTML in one look",
    "config": "words and limits that every room shares",
}
WIDTH, HEIGHT, GAP, FLOOR = 980, 62, 26, 104


def rooms() -> list[str]:
    """Every room and file at the top of the package."""
    names = {path.name if path.is_dir() else path.stem for path in SOURCE.iterdir() if path.suffix in ("", ".py")}
    return sorted(name for name in names if not name.startswith("_") and name != "zoo")


def imports() -> dict[str, set[str]]:
    """Room -> rooms that its files import, anywhere in them."""
    known = rooms()
    found: dict[str, set[str]] = {name: set() for name in known}
    for path in SOURCE.rglob("*.py"):
        room = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        if room not in found:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "vqfusion":
                parts = (node.module or "").split(".")
                names = [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
                found[room] |= {name for name in names if name in known} - {room}
    return found


def reduced(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """The arrows that do not follow from others."""

    def reach(start: str) -> set[str]:
        seen: set[str] = set()
        pending = list(graph[start])
        while pending:
            name = pending.pop()
            if name not in seen:
                seen.add(name)
                pending += graph[name]
        return seen

    return {
        room: {to for to in used if not any(to in reach(other) for other in used - {to})}
        for room, used in graph.items()
    }


def parts_of(room: str) -> list[str]:
    """The rooms inside a room."""
    folder = SOURCE / room
    return sorted(path.name for path in folder.iterdir() if (path / "__init__.py").exists()) if folder.is_dir() else []


def drawing() -> str:
    """The picture as SVG."""
    boxes: dict[str, tuple[float, float, float]] = {}
    shapes, arrows = [], []
    ground = set(FLOORS[-1][0])
    for level, floor in enumerate(FLOORS):
        width = (WIDTH - GAP * (len(floor) + 1)) / len(floor)
        for i, names in enumerate(floor):
            x, y = GAP + i * (width + GAP), 20 + level * FLOOR
            there = [name for name in names if name in rooms()]
            for name in there:
                boxes[name] = (x, y, width)
            title = ", ".join(there)
            said = SAID.get(there[0], "")
            inner = " · ".join(parts_of(there[0])) if len(there) == 1 else ""
            shapes.append(
                f'<rect x="{x:.0f}" y="{y}" width="{width:.0f}" height="{HEIGHT}" rx="9"/>'
                f'<text class="room" x="{x + width / 2:.0f}" y="{y + 20}">{escape(title)}</text>'
                f'<text x="{x + width / 2:.0f}" y="{y + 37}">{escape(said)}</text>'
                f'<text class="inner" x="{x + width / 2:.0f}" y="{y + 53}">{escape(inner)}</text>'
            )
    for room, used in sorted(reduced(imports()).items()):
        for to in sorted(used):
            if room in ground and to in ground:
                continue
            (x, y, width), (x2, y2, width2) = boxes[room], boxes[to]
            shift = (list(boxes).index(room) % 5 - 2) * 9
            start, end = x + width / 2 + shift, min(max(x + width / 2 + shift, x2 + 20), x2 + width2 - 20)
            top, bottom = y + HEIGHT, y2 - 3
            bend = f"{start:.0f} {top + 24} {end:.0f} {bottom - 21}"
            arrows.append(f'<path d="M{start:.0f} {top} C{bend} {end:.0f} {bottom}"/>')
    height = 20 + len(FLOORS) * FLOOR - (FLOOR - HEIGHT) + 16
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" '
        'font-size="12" text-anchor="middle">\n<style>rect { fill: #fff; stroke: #9aa3b2 } text { fill: #475467 } '
        ".room { font-size: 15px; font-weight: 600; fill: #1f2328 } .inner { font-size: 10px; fill: #3d5afe } "
        "path { fill: none; stroke: #9aa3b2; stroke-width: 1.2; marker-end: url(#tip) } .paper { fill: #fbfaf8; "
        'stroke: none }</style>\n<defs><marker id="tip" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" style="fill:#9aa3b2;stroke:none"/></marker></defs>\n'
        f'<rect class="paper" width="{WIDTH}" height="{height}"/>\n' + "\n".join(arrows + shapes) + "\n</svg>\n"
    )


if __name__ == "__main__":
    text = drawing()
    if sys.argv[1:] == ["--check"]:
        fresh = PICTURE.exists() and PICTURE.read_text(encoding="utf-8") == text
        sys.exit(0 if fresh else f"{PICTURE} is not that of the source: run python tools/draw_architecture.py")
    PICTURE.write_text(text, encoding="utf-8")
    print(PICTURE)
