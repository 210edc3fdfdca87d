"""What a command needs is looked up, parsed and loaded once."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

import vqfusion.hub as hub
import vqfusion.models.kinds as kinds
from vqfusion.tasks import restoration
from vqfusion.tasks.restoring import Denoise


@pytest.fixture
def calls(monkeypatch):
    """How often functions were called, by name: they run as they are."""
    counted = Counter()

    def count(module, name):
        function = getattr(module, name)

        def counting(*arguments, **named):
            counted[name] += 1
            return function(*arguments, **named)

        monkeypatch.setattr(module, name, counting)

    count(hub, "find_model")
    count(kinds, "open_model")
    count(restoration, "parse_level")
    return counted


def noisy(name: str) -> str:
    pixels = np.random.default_rng(0).normal(128, 25, (24, 20, 3)).clip(0, 255)
    Image.fromarray(pixels.astype(np.uint8)).save(name)
    return name


def test_a_model_is_looked_up_and_loaded_once(cli, calls):
    assert cli("imagine", *[f"{i} apples" for i in range(9)], "-o", "out", "--steps", "1")[0] == 0
    assert (calls["find_model"], calls["open_model"]) == (1, 1)
    calls.clear()
    assert cli("denoise", noisy("a.png"), noisy("b.png"), "--sigma", "25/255")[0] == 0
    assert calls == {"find_model": 1, "open_model": 1, "parse_level": 1}


def test_a_level_is_parsed_once(calls):
    task = Denoise(sigma="25/255")
    assert [task.level for _ in range(3)] == [25 / 255] * 3
    assert calls["parse_level"] == 1
