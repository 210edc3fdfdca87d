"""The documentation: links, languages in step, a site without a warning, every public name in the reference."""

import importlib.util
import os
import re
import subprocess
import sys
from functools import cache

import pytest
import yaml
from doc_pages import ROOT

DOCS = ROOT / "docs"
pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="the documentation is beside the source, not in the package")

OWN = [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "src").rglob("README.md"), *(ROOT / "examples").glob("*.md")]
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
TRANSLATED = [("README.md", "README.zh.md"), ("docs/first-steps.md", "docs/first-steps.zh.md")]


def text_of(path):
    return path.read_text(encoding="utf-8")


def slug(heading):
    """Anchor of a heading, as on the pages of a repository."""
    plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


@cache
def anchors(path):
    return {slug(found[2]) for found in HEADING.finditer(FENCED.sub("", text_of(path)))}


@pytest.mark.parametrize("page", OWN, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    for link in LINK.findall(CODE.sub("", FENCED.sub("", text_of(page)))):
        place, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", place):
            continue
        target = (page.parent / place).resolve() if place else page
        made = target.parent.parent == DOCS and target.parent.name == "reference"  # made by `make docs`
        assert target.exists() or made, f"{page.relative_to(ROOT)}: {link}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{page.relative_to(ROOT)}: {link}"


def test_the_readme_is_read_in_two_minutes():
    text = text_of(ROOT / "README.md")
    assert len(text.splitlines()) <= 150
    assert len(re.findall(r"^!\[", text, re.MULTILINE)) == 3


@pytest.mark.parametrize(("english", "chinese"), TRANSLATED)
def test_the_languages_are_in_step(english, chinese):
    ours, theirs = text_of(ROOT / english), text_of(ROOT / chinese)
    assert FENCED.findall(ours) == FENCED.findall(theirs), "the blocks of code are the same"
    levels = [[found[1] for found in HEADING.finditer(FENCED.sub("", one))] for one in (ours, theirs)]
    assert levels[0] == levels[1], "the headings are the same"
    assert len(re.findall(r"^\|", ours, re.MULTILINE)) == len(re.findall(r"^\|", theirs, re.MULTILINE))
    pictures = [re.findall(r"!\[[^]]*\]\(([^)]+)\)", one) for one in (ours, theirs)]
    assert pictures[0] == pictures[1]
    prose = FENCED.sub("", theirs)
    assert len(re.findall(r"[\u4e00-\u9fff]", prose)) > 300


def test_every_page_is_in_the_menu():
    menu = yaml.safe_load(text_of(ROOT / "mkdocs.yml"))["nav"]

    def leaves(node):
        if isinstance(node, str):
            return [node]
        return [leaf for one in (node.values() if isinstance(node, dict) else node) for leaf in leaves(one)]

    named = leaves(menu)
    assert len(named) == len(set(named))
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert pages <= set(named), sorted(pages - set(named))
    made = {one for one in named if one.startswith(("repository/", "reference/vqfusion"))}
    assert set(named) - made <= pages


def test_every_task_has_a_page_with_its_options():
    from vqfusion.tasks import TASKS

    text = "\n".join(text_of(path) for path in (DOCS / "tasks").glob("*.md"))
    missing = [name for name in TASKS if f"<!-- options: {name} -->" not in text and name != "decide"]
    assert not missing
    index = text_of(DOCS / "tasks" / "index.md")
    assert all(f"`{name}`" in index for name in TASKS)


def test_pictures_are_small():
    for path in (DOCS / "pictures").iterdir():
        assert path.stat().st_size < 100_000, path


@pytest.fixture(scope="module")
def hooks():
    pytest.importorskip("mkdocs")
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "tools" / "docs_hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_public_name_is_in_the_reference_with_a_docstring(hooks):
    import vqfusion

    pages = {package: hooks.reference(package) for package in hooks.PACKAGES}
    for package in hooks.PACKAGES:
        for name, path in hooks.public_names(package).items():
            home = hooks.homes()[path]
            assert f"::: {path}\n" in pages[home], f"{package}.{name}"
    assert set(vqfusion.PUBLIC) == set(hooks.public_names("vqfusion"))
    exported = {
        ".".join(path.relative_to(ROOT / "src").parent.parts)
        for path in (ROOT / "src").rglob("__init__.py")
        if "public(" in text_of(path)
    }
    assert exported <= set(hooks.PACKAGES), "a package that exports names has a page of the reference"


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_asks_nobody_for_anything(hooks, tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    said = [line for line in done.stderr.splitlines() if "WARNING" in line or "ERROR" in line]
    assert done.returncode == 0 and not said, done.stderr[-3000:]
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 70
    for page in pages:
        fetched = re.findall(r'(?:src|<link[^>]+href)="(https?:[^"]+)"', text_of(page))
        assert not fetched, (page, fetched)
