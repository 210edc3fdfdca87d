"""Imports point one way: a room may use what lies below it, never what lies above or beside it."""

import ast
import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from vqfusion import modalities

SOURCE = Path(__file__).parents[1] / "src" / "vqfusion"

BASE = {"types", "config", "errors", "files", "limits", "modalities", "deprecated", "lazy", "watch"}
PARTS = BASE | {"nn", "data"}
FLOORS = {
    "errors": set(),
    "deprecated": set(),
    "lazy": {"deprecated"},
    "files": {"errors"},
    "limits": {"errors"},
    "watch": set(),
    "modalities": {"errors"},
    "types": {"errors", "modalities"},
    "config": {"errors", "files", "limits", "modalities", "deprecated"},
    "nn": BASE,
    "data": BASE,
    "tokenizers": PARTS,
    "diffusion": PARTS,
    "models": PARTS | {"tokenizers", "diffusion"},
    "tasks": PARTS | {"tokenizers", "diffusion", "models"},
    "runs": BASE | {"pages"},
    "train": PARTS | {"tokenizers", "diffusion", "models", "runs"},
    "evaluate": PARTS | {"tokenizers", "diffusion", "models"},
    "inspect": PARTS | {"tokenizers", "diffusion", "models"},
    "compress": PARTS | {"models"},
    "pages": BASE,
    "hub": PARTS | {"models"},
    "demo": PARTS | {"tokenizers", "diffusion", "models", "evaluate", "hub", "pages"},
    "web": PARTS | {"models", "tasks", "hub", "pages", "runs"},
    "commands": PARTS
    | {"models", "tasks", "train", "evaluate", "inspect", "compress", "pages", "demo", "hub", "web", "fitting", "runs"},
    "napari": PARTS | {"models", "tasks", "train", "hub"},
    "sklearn": PARTS | {"models", "tokenizers", "diffusion", "hub"},
    "cli": {"errors", "commands"},
    "__main__": {"cli"},
    "fitting": PARTS | {"models", "train", "evaluate", "runs"},
    "__init__": {
        "types",
        "errors",
        "deprecated",
        "fitting",
        "hub",
        "inspect",
        "models",
        "tasks",
        "tokenizers",
        "nn",
        "diffusion",
        "data",
    },
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


IMPORTED_AS = {"pillow": "PIL", "pyyaml": "yaml", "scikit-learn": "sklearn", "huggingface-hub": "huggingface_hub"}


def test_every_dependency_is_imported():
    """And nothing is installed for a user that the package does not use."""
    pyproject = tomllib.loads((SOURCE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    needed = {re.split("[<>=]", one)[0] for one in pyproject["project"]["dependencies"]}
    source = "\n".join(path.read_text(encoding="utf-8") for path in FILES)
    imported = set(re.findall(r"^ *(?:from|import) (\w+)", source, re.MULTILINE))
    assert {name for name in needed if IMPORTED_AS.get(name, name) not in imported} == set()


def test_no_file_is_long():
    """A file over 300 lines holds more than one noun."""
    lines = {str(path.relative_to(SOURCE)): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert not {name: count for name, count in lines.items() if count > 300}


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


# files that may look a modality up by its name: the slots of recipes and of their data, and the words of a page
NAMING = {
    "commands/inspect_page.py",
    "train/fusion/draws.py",
    "train/fusion/mix.py",
    "train/fusion/own_data.py",
    "train/fusion/preview.py",
    "train/fusion/worlds.py",
    "train/fusion/views.py",
}


def modalities_in(node: ast.AST | None) -> set[str]:
    """Modalities that a literal, or a literal collection, names."""
    if isinstance(node, ast.Constant):
        return {node.value} & set(modalities.MODALITIES) if isinstance(node.value, str) else set()
    parts = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else []
    return {name for part in parts for name in modalities_in(part)}


def names_a_modality(path: Path) -> bool:
    """Whether a file compares something with a modality, matches on one, or has a dict with two of them as keys."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Compare) and any(map(modalities_in, [node.left, *node.comparators])):
            return True
        if isinstance(node, ast.MatchValue) and modalities_in(node.value):
            return True
        keys = node.keys if isinstance(node, ast.Dict) else []
        if len({name for key in keys for name in modalities_in(key)} & set(modalities.FILES)) > 1:
            return True
    return False


def test_modalities_are_looked_up_in_the_table():
    """A file outside `modalities.py` and `data/io/` that names one in an `if` holds a row missing from the table."""
    rooms = ("modalities.py", "data/io/")
    paths = {path: path.relative_to(SOURCE).as_posix() for path in FILES}
    found = {name for path, name in paths.items() if not name.startswith(rooms) and names_a_modality(path)}
    assert found <= NAMING, f"{', '.join(sorted(found - NAMING))}: ask the table in modalities.py or the tokenizer"
    assert found == NAMING, f"{', '.join(sorted(NAMING - found))}: take it off the list, it names none any more"


KINDS = ("codec", "fusion", "latent", "restoration")
LAZY = ["diffusion", "evaluate", "inspect", "models", "nn", "tokenizers", "train", "evaluate.baselines", "train.loop"]
LAZY += ["models.decision", *(f"models.{name}" for name in KINDS)] + [f"train.{name}" for name in KINDS]
LAZY += [f"diffusion.{name}" for name in ("gaussian", "masked", "posterior")]
LAZY += [f"tokenizers.{name}" for name in ("codec", "conformance", "transform")]
LAZY += ["data.audit", "inspect.attribution"]


@pytest.mark.parametrize("name", LAZY)
def test_packages_export_their_public_names(name):
    package = import_module(f"vqfusion.{name}")
    assert package.__all__ and dir(package) == package.__all__
    for one in package.__all__:
        assert getattr(package, one) is not None, one
    with pytest.raises(AttributeError):
        package.no_such_name  # noqa: B018
    modules = {path.stem for path in Path(package.__path__[0]).iterdir()}
    assert not modules & set(package.__all__), "a module, once imported, hides what has its name"


def test_importing_packages_loads_nothing_heavy(tmp_path):
    import subprocess
    import sys

    code = f"import sys; {'; '.join(f'import vqfusion.{name}' for name in LAZY)}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "False"
