"""The README and the first steps are run: their Python blocks in order, and their lines that begin with `vqfusion`."""

import pytest
from doc_pages import ROOT, furnish, run_page


@pytest.mark.parametrize("page", ["README.md", "docs/first-steps.md"])
def test_every_example_runs(page, tmp_path, monkeypatch):
    if not (ROOT / page).is_file():
        pytest.skip("the pages are beside the source, not in the package")
    monkeypatch.chdir(tmp_path)
    furnish(tmp_path)
    assert run_page(ROOT / page) > 3
