"""An item draws the same alone, in a batch and in a folder, and no two items draw the same."""

from dataclasses import replace

import pytest
import torch

from vqfusion.data.content import content_number, item_numbers
from vqfusion.models.fusion.draws import seeded_generators
from vqfusion.models.sampling import Sampling
from vqfusion.types import Sample

PICTURE = Sample("image", (torch.rand(1, 20, 30, generator=torch.Generator().manual_seed(0)) * 255).round() / 255)
SOUND = Sample("audio", torch.randn(1, 500, generator=torch.Generator().manual_seed(1)), sample_rate_hz=8000)


@pytest.mark.parametrize(
    ("one", "same"),
    [
        (PICTURE, replace(PICTURE, data=PICTURE.data.expand(3, -1, -1))),
        (PICTURE, replace(PICTURE, data=((PICTURE.data * 65535).round() / 65535))),
        (PICTURE, replace(PICTURE, data=PICTURE.data.double())),
        (SOUND, replace(SOUND, data=SOUND.data * 0.25)),
        (Sample("volume", torch.eye(4)[None, None]), Sample("volume", 100 + 7 * torch.eye(4)[None, None])),
        (Sample("text", "caf\u00e9"), Sample("text", "cafe\u0301")),
    ],
    ids=["channels", "16 bits", "float64", "gain", "unit", "normal form"],
)
def test_the_same_content_has_the_same_number(one, same):
    assert content_number(one) == content_number(same) < 2**32


def test_other_content_has_another_number():
    others = [PICTURE, SOUND, Sample("text", "cat"), Sample("text", "dog"), Sample("image", torch.zeros(3, 4, 4))]
    others += [Sample("image", torch.zeros(3, 4, 5)), replace(PICTURE, data=PICTURE.data.flip(1))]
    assert len({content_number(sample) for sample in others}) == len(others)


def test_repeated_items_have_numbers_of_their_own_over_all_batches():
    cat, dog, seen = Sample("text", "cat"), Sample("text", "dog"), set()
    numbers = item_numbers([cat, dog], seen) + item_numbers([cat] * 8, seen) + item_numbers([dog, cat], seen)
    assert len(set(numbers)) == 12
    assert numbers[:2] == item_numbers([cat], set()) + item_numbers([dog], set())


def test_repeated_items_draw_other_numbers():
    """torch looks at the last 32 bits of a seed only."""
    sampling = Sampling(items=item_numbers([Sample("text", "cat")] * 20, set()))
    drawn = {float(torch.rand(1, generator=g)) for g in seeded_generators(sampling, range(20))}
    assert len(drawn) == 20


def test_seeds_follow_from_seed_item_and_sample():
    sampling = Sampling(seed=3)
    seeds = {sampling.seed_of(item, k) for item in range(50) for k in range(50)}
    assert len(seeds) == 2500
    assert sampling.of_item(7).seed_of(0, 2) == sampling.seed_of(7, 2)
    assert Sampling(seed=3, items=(11, 12)).seed_of(1) == Sampling(seed=3).seed_of(12)


def test_the_command_draws_the_same_alone_and_among_others(cli, tmp_path):
    words = ["cat", "dog", "apple", "cactus", "sun", "rose", "bread", "bus", "bell", "fish"]
    assert cli("imagine", *words, "--steps", "1", "-o", "all")[0] == 0
    assert cli("imagine", "cat", "--steps", "1", "-o", "cat.png")[0] == 0
    assert cli("imagine", "bus", "--steps", "1", "-o", "bus.png")[0] == 0
    made = {path.stem: path.read_bytes() for path in sorted((tmp_path / "all").iterdir())}
    assert len(made) == len(set(made.values())) == 10
    assert made["cat"] == (tmp_path / "cat.png").read_bytes()
    assert made["bus"] == (tmp_path / "bus.png").read_bytes()
