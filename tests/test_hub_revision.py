"""Models of the hub: one version by name, and from the cache always the commit that was fetched."""

import pytest

from vqfusion.errors import UserError
from vqfusion.hub import find_model

OLD, NEW = "1" * 40, "2" * 40


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """A cache of the hub with two commits of a model, of which the second was fetched as main."""
    from huggingface_hub import constants

    tmp_path.chmod(0o755)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    repository = tmp_path / "models--ada--small"
    for commit in (OLD, NEW):
        (repository / "snapshots" / commit).mkdir(parents=True)
        (repository / "snapshots" / commit / "config.json").write_text(commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(NEW)
    (repository / "refs" / "v1").write_text(OLD)
    return repository


@pytest.mark.parametrize(
    ("name", "commit"),
    [("ada/small", NEW), (f"ada/small@{OLD}", OLD), ("ada/small@v1", OLD), ("ada/small@main", NEW)],
)
def test_a_version_is_taken_by_name(cached, name, commit):
    assert (find_model(name) / "config.json").read_text() == commit


@pytest.mark.parametrize("name", ["ada/small@v2", "ada/small@../../x", "ada/other", "ada/sm all", "ada/small@"])
def test_what_is_not_there_is_one_line(cached, name):
    if name.endswith("@"):  # no revision is named: the one that was fetched
        assert find_model(name).name == NEW
        return
    with pytest.raises(UserError, match="model 'ada/") as caught:
        find_model(name)
    assert "\n" not in str(caught.value)


def test_a_cache_that_everybody_may_write_to_is_refused(cached):
    (cached / "snapshots").chmod(0o777)
    with pytest.raises(UserError, match="everybody may write to it.*HF_HOME"):
        find_model("ada/small")
