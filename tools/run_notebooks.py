"""Runs notebooks and keeps what they print and show: `python tools/run_notebooks.py [FILE ...]`, by default all.

    python tools/run_notebooks.py --check FILE     # runs it and writes nothing

Each runs in a new folder, so that it leaves nothing behind. What differs from run to run (times, ids) is not kept.
"""

import argparse
import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "examples"


def run(path: Path, check: bool) -> None:
    """Execute a notebook; nbclient's CellExecutionError where a cell fails."""
    book = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(book, timeout=1200, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()
    book.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    for number, cell in enumerate(book.cells):
        cell.id = f"cell-{number}"
        cell.metadata = {}
        if "outputs" in cell:
            cell.outputs = tidied(cell.outputs)
    if not check:
        nbformat.write(book, path)
    print(f"{path.name}: {len(book.cells)} cells, {path.stat().st_size} bytes", flush=True)


def tidied(outputs: list) -> list:
    """Outputs of a cell: text as a terminal would show it at the end, and one form of a picture, the smaller one."""
    made: list = []
    for output in outputs:
        if output.output_type == "stream" and made and made[-1].get("name") == output.name:
            made[-1].text += output.text
            continue
        held = output.get("data", {})
        pictures = sorted((len(data), kind) for kind, data in held.items() if kind.startswith("image/"))
        for _, kind in pictures[1:]:
            del held[kind]
        if pictures:
            held["text/plain"] = "a picture"
        made.append(output)
    for output in made:
        if output.output_type == "stream":
            plain = re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", output.text).replace("\r\n", "\n")
            output.text = "\n".join(line.rpartition("\r")[2] for line in plain.split("\n"))
    return made


if __name__ == "__main__":
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])  # `!vqfusion`
    parser = argparse.ArgumentParser(description="Runs notebooks and keeps what they show.")
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing")
    given = parser.parse_args()
    for one in given.files or sorted(FOLDER.glob("*.ipynb")):
        run(one, given.check)
