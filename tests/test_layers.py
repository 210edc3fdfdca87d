"""Imports point one way: a room may use what lies below it, never what lies above or beside it."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "vqfusion"

BASE = {"types", "config", "errors", "files", "modalities"}
PARTS = BASE | {"nn", "data"}
FLOORS = {
    "errors": set(),
    "files": {"errors"},
    "modalities": {"errors"},
    "types": {"errors"},
    "config": {"errors", "files", "modalities"},
    "nn": BASE,
    "data": BASE,
    "tokenizers": PARTS,
    "diffusion": PARTS,
    "models": PARTS | {"tokenizers", "diffusion"},
    "tasks": PARTS | {"tokenizers", "diffusion", "models"},
    "train": PARTS | {"tokenizers", "diffusion", "models"},
    "evaluate": PARTS | {"tokenizers", "diffusion", "models"},
    "inspect": PARTS | {"tokenizers", "diffusion", "models"},
    "pages": BASE,
    "hub": PARTS | {"models"},
    "demo": PARTS | {"tokenizers", "diffusion", "models", "evaluate", "hub", "pages"},
    "commands": PARTS | {"models", "tasks", "train", "evaluate", "inspect", "pages", "demo", "hub"},
    "cli": {"errors", "commands"},
    "__main__": {"cli"},
    "__init__": {"types", "errors", "hub", "models", "tasks", "tokenizers", "nn", "diffusion", "data"},
}
FILES = sorted(path for path in SOURCE.rglob("*.py"))
FILES_SET = set(FILES)


def imported_rooms(path: Path) -> set[str]:
    """Rooms of vqfusion that a file imports, anywhere in it, for the type checker too."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            if node.module == "vqfusion":
                rooms |= {alias.name for alias in node.names}
            names = [node.module or ""]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        rooms |= {name.split(".")[1] for name in names if name.startswith("vqfusion.")}
    return rooms


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_down(path):
    room = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    assert room in FLOORS, f"{room} is a new room: give it a floor here and in the design"
    upward = imported_rooms(path) - FLOORS[room] - {room, "__version__"}
    assert not upward, f"{path.relative_to(SOURCE)} imports {', '.join(sorted(upward))} from above or beside it"


def imported_files(path: Path) -> set[Path]:
    """Files of vqfusion that a file needs: all its imports, in functions and for the type checker too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vqfusion"):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.startswith("vqfusion")]
        else:
            continue
        for name in names:
            place = SOURCE.parent.joinpath(*name.split("."))
            found |= {one for one in (place.with_suffix(".py"), place / "__init__.py") if one in FILES_SET}
    return found - {path}


def circles() -> list[list[str]]:
    """Every way along the imports that comes back to where it began."""
    imports = {path: imported_files(path) for path in FILES}
    found, done = [], set()

    def walk(path: Path, way: list[Path]) -> None:
        if path in way:
            found.append([str(one.relative_to(SOURCE)) for one in way[way.index(path) :]])
        elif path not in done:
            for after in sorted(imports[path]):
                walk(after, [*way, path])
            done.add(path)

    for path in FILES:
        walk(path, [])
    return found


def test_no_file_imports_itself_by_way_of_others():
    assert not circles()


def test_every_public_name_is_there():
    import vqfusion

    for name in vqfusion.__all__:
        assert getattr(vqfusion, name) is not None
    with pytest.raises(AttributeError, match="it has .*load"):
        vqfusion.lode  # noqa: B018


def test_the_command_starts_without_heavy_imports(tmp_path):
    import subprocess
    import sys

    heavy = "torch", "numpy", "pydantic", "PIL"
    code = f"import sys, vqfusion.commands.app; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "[]"


def test_restoring_loads_no_model_over_codes(tmp_path):
    """A prior needs neither Fusion nor a quantizer, and starting them takes time."""
    import subprocess
    import sys

    from PIL import Image

    Image.effect_noise((24, 20), 60).save(tmp_path / "a.png")
    rooms = "vqfusion.models.fusion", "vqfusion.models.latent", "vqfusion.tokenizers.quantizers"
    code = (
        "import sys; from vqfusion.cli import main; assert main(['denoise', 'a.png', '-o', 'b.png']) == 0; "
        f"print([name for name in sys.modules if name.startswith({rooms})])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines() == ["b.png", "[]"]
