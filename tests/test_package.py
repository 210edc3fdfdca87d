"""What leaves the repository: wheel, container, workflow, citation and notebooks say what the package says."""

import json
import re
import subprocess
import sys
import tomllib
import zipfile

import pytest
import yaml
from doc_pages import ROOT

pytestmark = pytest.mark.skipif(not (ROOT / "Makefile").is_file(), reason="beside the source, not in the package")

WORKFLOW = ROOT / ".github" / "workflows" / "test.yml"
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def pythons(project):
    """Versions of Python that the classifiers promise."""
    return [one.split(" :: ")[2] for one in project["classifiers"] if re.search(r":: 3\.\d+$", one)]


def test_the_workflow_runs_targets_of_the_makefile_on_every_promised_python(pythons):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    flow = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    assert flow["permissions"] == {"contents": "read"}
    run = [step["run"] for job in flow["jobs"].values() for step in job["steps"] if "run" in step]
    called = [re.fullmatch(r"make ([a-z-]+) PYTHON=python", line)[1] for line in run]
    assert set(called) == {"test", "docs", "package"} and set(called) <= targets
    assert flow["jobs"]["test"]["strategy"]["matrix"]["python"] == pythons
    assert all(job["timeout-minutes"] <= 60 for job in flow["jobs"].values())


def test_every_target_of_the_makefile_says_what_it_does():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.+)$", text, re.MULTILINE)[1].split()
    for target in phony:
        assert re.search(rf"^{target}:.*## ", text, re.MULTILINE), target
    called = set(re.findall(r"\b(?:tools|tests)/[\w/]+\.py", text))
    assert called and all((ROOT / path).is_file() for path in called)


def test_the_container_installs_what_is_there_and_runs_as_an_ordinary_user(project, pythons):
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"^FROM python:([\d.]+)-slim$", text, re.MULTILINE)[1] in pythons
    taken = re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE)
    copied = [one for line in taken for one in line.split()]
    assert all((ROOT / path).exists() for path in copied)
    let_in = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert {f"!{path}" for path in copied} == {one for one in let_in if one.startswith("!")}
    extras = re.search(r'"/source\[([\w,]+)\]"', text)[1].split(",")
    assert set(extras) <= set(project["optional-dependencies"])
    assert "USER vqfusion" in text and 'ENTRYPOINT ["vqfusion"]' in text


def test_the_citation_is_of_this_version(project):
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == project["version"] and cited["license"] == project["license"]
    assert cited["authors"] == project["authors"]
    assert cited["cff-version"] == "1.2.0" and cited["title"] and cited["message"]


def test_every_extra_is_explained(project):
    page = (ROOT / "docs" / "packaging.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == set(project["optional-dependencies"])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_has_its_pictures_and_no_trace_of_a_machine(path):
    text = path.read_text(encoding="utf-8")
    book = json.loads(text)
    made = [output for cell in book["cells"] if cell["cell_type"] == "code" for output in cell["outputs"]]
    assert not [one for one in made if one["output_type"] == "error"]
    assert any({"image/png", "image/jpeg"} & one.get("data", {}).keys() for one in made)
    assert all(cell["execution_count"] for cell in book["cells"] if cell["cell_type"] == "code")
    assert len(text) < 400_000
    assert not re.search(r"/(?:home|root|tmp|work|Users)/", text)


def test_there_are_four_notebooks():
    assert len(NOTEBOOKS) == 4


@pytest.mark.slow
def test_a_notebook_runs(tmp_path):
    pytest.importorskip("nbclient")
    command = [sys.executable, str(ROOT / "tools" / "run_notebooks.py"), "--check"]
    done = subprocess.run(
        [*command, str(ROOT / "examples" / "quantizers_compared.ipynb")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_the_wheel_holds_the_models_and_nothing_of_the_workshop(tmp_path):
    pytest.importorskip("hatchling")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.stat().st_size <= 90 * 2**20
    names = zipfile.ZipFile(wheel).namelist()
    from vqfusion.hub import zoo

    for name in zoo():
        assert f"vqfusion/zoo/{name}/config.json" in names and f"vqfusion/zoo/{name}/README.md" in names
    assert "vqfusion/py.typed" in names and any(name.endswith("licenses/NOTICE") for name in names)
    assert all(name.startswith(("vqfusion/", "vqfusion-")) and not name.endswith((".pyc", ".pkl")) for name in names)


def test_the_shell_completes_commands(monkeypatch, capsys):
    from vqfusion.cli import main

    for words, place, wanted in (("vqfusion mod", "1", "models"), ("vqfusion models pu", "2", "pull")):
        monkeypatch.setenv("_VQFUSION_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", place)
        with pytest.raises(SystemExit) as ended:
            main([])
        assert ended.value.code == 0 and wanted in capsys.readouterr().out.split()
