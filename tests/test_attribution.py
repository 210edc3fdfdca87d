"""Explaining: Shapley values and curves against closed forms, scores against the model's own, and the command."""

import itertools
import json
import math
import re

import pytest
import torch
from PIL import Image

import vqfusion
from vqfusion.config import FusionConfig, SlotConfig
from vqfusion.data import Dataset, Record
from vqfusion.errors import UserError
from vqfusion.inspect.attribution import (
    AskedAnswer,
    GivenUnits,
    Scorer,
    explain,
    gradient_times_input,
    integrated_gradients,
)
from vqfusion.inspect.attribution.curves import curves
from vqfusion.inspect.attribution.estimators import attribute, exact_shapley, sampled_shapley
from vqfusion.inspect.attribution.overlay import map_of, overlay, pieces, shaded
from vqfusion.inspect.training_items import nearest
from vqfusion.models.fusion.fusion import Fusion
from vqfusion.models.sampling import Sampling
from vqfusion.types import Sample

TERMS = torch.tensor([0.5, -2.0, 0.0, 3.0, 1.25], dtype=torch.float64)


def additive(keep):
    """A score that is the sum of a term for each kept unit."""
    return keep.double() @ TERMS - 1


def table(units, seed):
    """Any function of subsets: one number for each."""
    numbers = torch.rand(2**units, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return lambda keep: numbers[(keep.long() << torch.arange(units)).sum(dim=1)]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_values_of_an_additive_score_are_its_terms():
    values, error = sampled_shapley(additive, 5, 4, generator())
    torch.testing.assert_close(values, TERMS)
    torch.testing.assert_close(error, torch.zeros(5, dtype=torch.float64))
    torch.testing.assert_close(exact_shapley(additive, 5), TERMS)


def test_exact_values_are_the_mean_over_all_orders():
    score, units = table(4, 1), 4
    total = torch.zeros(units, dtype=torch.float64)
    for order in itertools.permutations(range(units)):
        keep = torch.zeros(1, units, dtype=torch.bool)
        for unit in order:
            before = score(keep)
            keep[0, unit] = True
            total[unit] += float(score(keep) - before)
    torch.testing.assert_close(exact_shapley(score, units), total / math.factorial(units))


def test_sampled_values_sum_to_the_whole_change_and_come_near_the_exact_ones():
    score, units = table(7, 2), 7
    exact = exact_shapley(score, units)
    ends = score(torch.tensor([[True], [False]]).expand(2, units))
    for orders in (2, 64):
        values, error = sampled_shapley(score, units, orders, generator(3))
        assert float(values.sum()) == pytest.approx(float(ends[0] - ends[1]))
    assert float(((values - exact).abs() / error).max()) < 4
    assert torch.equal(attribute(score, units, 2**units, generator())[0], exact)
    assert float(attribute(score, units, 2**units - 1, generator())[1].max()) > 0


def test_a_unit_that_changes_nothing_is_worth_nothing_and_leaving_it_out_too():
    def score(keep):
        return table(3, 4)(keep[:, [0, 1, 3]])

    values = exact_shapley(score, 4)
    assert float(values[2]) == pytest.approx(0, abs=1e-12)
    first = curves(score, torch.tensor([0.0, 0.0, 1.0, 0.0]))
    assert float(first.deletion[0]) == float(first.deletion[1]), "it was left out first"
    assert float(first.insertion[0]) == float(first.insertion[1])


def test_no_order_deletes_an_additive_score_faster_than_its_values():
    areas = {order: curves(additive, torch.tensor(order).double()).areas for order in itertools.permutations(range(5))}
    deletion, insertion = curves(additive, TERMS).areas
    assert deletion == pytest.approx(min(one for one, _ in areas.values()))
    assert insertion == pytest.approx(max(other for _, other in areas.values()))
    ordered = TERMS.sort(descending=True).values.tolist()
    left = [sum(ordered) - 1 - sum(ordered[:k]) for k in range(6)]
    assert deletion == pytest.approx(sum((a + b) / 2 for a, b in itertools.pairwise(left)) / 5)


SLOTS = {
    "image": SlotConfig(tokenizer="image", shape=(4, 6), patch=(2, 2)),
    "audio": SlotConfig(tokenizer="audio", shape=(12,), patch=(2,), variable=True, features=5),
    "label": SlotConfig(tokenizer="label", shape=(1,)),
    "text:en": SlotConfig(tokenizer="text", shape=(8,), variable=True),
}


@pytest.fixture(scope="module")
def fusion():
    """A random transformer with slots of tokens in patches, of frames, of names and of text."""
    torch.manual_seed(0)
    config = FusionConfig(dim=32, layers=2, heads=2, local_layers=1, slots=SLOTS)
    made = Fusion(config, {"image": 11, "audio": 9, "label": 4, "text": 13}).eval()
    for module in made.modules():  # blocks begin as the identity, which would hide mistakes
        if isinstance(module, torch.nn.Conv1d | torch.nn.Conv2d):
            torch.nn.init.normal_(module.weight, std=0.1)
    return made


ITEMS = {
    "image": torch.randint(11, (4, 6), generator=generator(5)),
    "audio": torch.randn(6, 5, generator=generator(6)),
}


def scorer(fusion, slots=("image", "audio"), target="label"):
    shape = (1,) if target == "label" else (5,)
    answer = AskedAnswer(target, torch.arange(math.prod(shape)), torch.arange(math.prod(shape)) + 1, 1.5)
    return Scorer(fusion, GivenUnits.of({slot: ITEMS[slot] for slot in slots}, SLOTS), answer)


@pytest.mark.parametrize("target", ["label", "text:en"])
def test_a_slot_that_is_left_out_as_a_whole_is_absent(fusion, target):
    both = scorer(fusion, target=target)
    assert both.units.count == 6 + 3
    for slot, other in (("image", "audio"), ("audio", "image")):
        keep = torch.ones(1, 9, dtype=torch.bool)
        keep[0, both.units.of_slot(slot)] = False
        alone = scorer(fusion, (other,), target)
        everything = torch.ones(1, alone.units.count, dtype=torch.bool)
        torch.testing.assert_close(both(keep), alone(everything), atol=1e-5, rtol=0)
        assert float((both(keep) - both(torch.ones_like(keep))).abs()) > 1e-3


def test_an_answer_of_several_tokens_is_scored_along_the_order_in_which_they_were_fixed(fusion):
    """The chain rule, one token at a time, against the sampler: the sum over all answers of their probability is 1."""
    units = GivenUnits.of({"image": ITEMS["image"]}, SLOTS)
    everything = torch.ones(1, units.count, dtype=torch.bool)
    total = 0.0
    for pair in itertools.product(range(13), repeat=2):
        answer = AskedAnswer("text:en", torch.tensor(pair), torch.tensor([2, 1]))
        total += float(Scorer(fusion, units, answer)(everything).exp())
    assert total == pytest.approx(1, abs=1e-5)


def test_many_steps_are_scored_in_few_groups_in_their_order():
    steps = torch.randperm(50, generator=generator()) + 1
    groups = AskedAnswer("image", steps, steps).groups
    assert len(groups) == 8 and torch.equal(torch.stack(groups).sum(dim=0), torch.ones(50, dtype=torch.int64))
    for one, following in itertools.pairwise(groups):
        assert steps[one].max() < steps[following].min()
    assert [one.sum() for one in AskedAnswer("image", steps, torch.ones(50, dtype=torch.int64)).groups] == [50]


def test_a_score_does_not_depend_on_the_batch(fusion):
    score = scorer(fusion)
    keep = torch.rand(70, 9, generator=generator(7)) < 0.5
    together = score(keep)
    alone = torch.cat([score(row[None]) for row in keep])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_gradient_times_input_is_the_derivative_of_scaling_what_is_given(fusion):
    """The sum over units is the derivative of the score with respect to a factor of all embedded inputs, at 1."""
    score = scorer(fusion)
    total = float(gradient_times_input(score).sum())
    everything, step, ends = torch.ones(1, 9, dtype=torch.bool), 1e-2, []
    weight, frames = fusion.embeddings["image"].weight, ITEMS["audio"]
    for factor in (1 + step, 1 - step):
        units = GivenUnits.of({"image": ITEMS["image"], "audio": factor * frames}, SLOTS)
        before = weight.detach().clone()
        with torch.no_grad():
            weight.mul_(factor)
        ends.append(float(Scorer(fusion, units, score.answer)(everything)))
        with torch.no_grad():
            weight.copy_(before)
    assert total == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=0.02, abs=1e-3)


def test_integrated_gradients_sum_to_the_change_from_hidden_tokens(fusion):
    score = scorer(fusion)
    values = integrated_gradients(score, 128)
    hidden = {"image": torch.full((4, 6), 11), "audio": torch.zeros(6, 5)}
    empty = Scorer(fusion, GivenUnits.of(hidden, SLOTS), score.answer)
    everything = torch.ones(1, 9, dtype=torch.bool)
    assert float(values.sum()) == pytest.approx(float(score(everything) - empty(everything)), rel=0.02, abs=1e-3)


def test_many_positions_are_joined_into_blocks():
    slots = {"image": SlotConfig(tokenizer="image", shape=(42, 20), patch=(2, 2))}
    units = GivenUnits.of({"image": torch.zeros(42, 20, dtype=torch.int64)}, slots)
    assert units.count == 11 * 5 and units.owner["image"].shape == (21, 10)
    assert torch.equal(units.of_slot("image"), torch.arange(55))
    grid = units.on_grid("image", torch.arange(55.0))
    assert grid.shape == (42, 20) and torch.equal(grid[:4, :4], torch.zeros(4, 4)) and float(grid[4, 0]) == 5
    sizes = units.by_unit({"image": torch.ones(42, 20)})
    assert sizes[0] == 16 and sizes[-1] == 8 and sizes.sum() == 42 * 20, "tokens; the last row of blocks is cut"


def smiley():
    picture = torch.ones(3, 64, 64)
    picture[1:, 16:48, 16:48] = 0.2
    return Sample("image", picture)


def test_an_explanation_adds_up_and_is_that_of_the_distribution(system):
    given = {"image": smiley(), "text:en": Sample("text", "red square")}
    found = explain(system, given, evaluations=64)
    p = system.distribution(given, "label")[0]
    assert found.answer.data == next(iter(p)) and math.exp(found.log_p) == pytest.approx(p[found.answer.data], rel=1e-4)
    total = sum(one.total for one in found.slots.values())
    assert total == pytest.approx(found.log_p - found.log_p_of_nothing, abs=1e-6)
    assert found.slots["image"].values.shape == (16, 16) and found.steps is None
    assert float(found.slots["image"].values[::4, ::4].sum()) == pytest.approx(found.slots["image"].total)
    again = vqfusion.explain(system, dict(reversed(given.items())), evaluations=64)
    assert again.slots["image"].total == found.slots["image"].total, "the order of the arguments does not matter"
    other = explain(system, {"image": smiley()}, answer=list(p)[3], evaluations=64)
    assert other.answer.data == list(p)[3]


def test_a_generated_answer_is_that_of_generate_and_says_when_each_token_was_fixed(system):
    given, sampling = {"text:en": Sample("text", "red apple")}, Sampling(seed=3, steps=4)
    found = explain(system, given, "image", sampling=sampling, evaluations=16)
    assert torch.equal(found.answer.data, system.generate(given, "image", sampling).samples[0][0].data)
    assert found.steps.shape == (16, 16) and found.steps.unique().tolist() == [1, 2, 3, 4]
    assert 0 < float(found.certainty.min()) and float(found.certainty.max()) <= 1
    told = explain(system, {"image": smiley()}, "text:de", evaluations=16)
    assert told.answer.data == system.generate({"image": smiley()}, "text:de").samples[0][0].data
    assert float(told.certainty.log().sum()) == pytest.approx(told.log_p, abs=1e-3), "greedy, one token at a step"


@pytest.mark.parametrize(
    "given, how, what",
    [
        ({}, {}, "'label' is what is explained: give other slots"),
        ({"label": "drink"}, {}, "'label' is what is explained"),
        ({"smell": "x"}, {}, "no slot 'smell'"),
        ({"image": [smiley(), smiley()]}, {}, "one sample for each slot"),
        ({"image": Sample("text", "a cat")}, {}, "takes image, not text"),
        ({"image": smiley()}, {"target": "taste"}, "no slot 'taste'"),
        ({"image": smiley()}, {"answer": "banana"}, "unknown label 'banana'"),
        ({"image": smiley()}, {"target": "text:en", "answer": "cat"}, "for a slot of names only"),
    ],
)
def test_what_cannot_be_explained_is_one_line(system, given, how, what):
    with pytest.raises(UserError, match=what) as caught:
        explain(system, given, **how)
    assert "\n" not in str(caught.value)


def test_pieces_join_to_the_text(system):
    tokenizer = system.tokenizers["text:en"]
    for text in ("red apple", "schöne grüne Äpfel", "красное яблоко", "红苹果", "a \U0001f34e b"):
        ids = tokenizer.encode(Sample("text", text)).ids
        assert "".join(pieces(tokenizer, ids)) == tokenizer.decode(tokenizer.encode(Sample("text", text))).data


def test_parts_are_coloured_where_they_are():
    drawn = shaded(torch.ones(3, 40, 40), torch.tensor([[1.0, 0.0], [0.0, -1.0]]))
    assert drawn.shape == (3, 40, 40)
    red, blue, none = drawn[:, 5, 5], drawn[:, 30, 30], drawn[:, 5, 30]
    assert red[0] > red[2] and blue[2] > blue[0] and torch.equal(none, torch.ones(3))
    assert map_of(torch.rand(4, 8)).shape == (224, 448) and map_of(torch.rand(7)).shape == (36, 448)


def test_every_kind_of_signal_is_drawn(system):
    from vqfusion.inspect.attribution import Attribution

    def given(sample, *grid):
        return Attribution(sample, torch.zeros(grid, dtype=torch.int64), torch.rand(grid), 0.0)

    sound = Sample("audio", torch.randn(1, 8000) * 0.1, sample_rate_hz=8000)
    assert overlay(system.tokenizers["audio"], given(sound, 80), 1.0).shape == (3, 144, 448)
    image = system.tokenizers["image"]
    assert overlay(image, given(smiley(), 16, 16), 1.0).shape == (3, 448, 448)
    series = Sample("series", torch.randn(2, 300), rate_hz=1.0)
    assert overlay(image, given(series, 30), 1.0).shape == (3, 144, 448)
    volume = Sample("volume", torch.rand(1, 12, 20, 10))
    assert overlay(image, given(volume, 3, 5, 2), 1.0).shape == (3, 448, 224)
    assert overlay(image, given(Sample("label", "drink"), 1), 1.0) is None


def world(count=40):
    """Training pictures of random blots."""
    blots = torch.nn.functional.interpolate(torch.rand(count, 3, 5, 5, generator=generator(1)), 32, mode="bicubic")
    samples = [Sample("image", one.clamp(0, 1)) for one in blots]
    records = [Record(f"blot {i}", "train", sources={"image": lambda one=one: one}) for i, one in enumerate(samples)]
    return samples, Dataset("blots", records)


def test_a_copy_is_found_and_another_picture_is_none():
    samples, dataset = world()
    noise = 0.02 * torch.randn(3, 32, 32, generator=generator(2))
    copy = nearest(Sample("image", (samples[7].data + noise).clamp(0, 1)), dataset, "image")
    assert copy.keys[0] == "blot 7" and copy.copied and copy.share == 0 and copy.compared == copy.of == 40
    fresh = torch.nn.functional.interpolate(torch.rand(1, 3, 5, 5, generator=generator(9)), 32, mode="bicubic")
    other = nearest(Sample("image", fresh[0].clamp(0, 1)), dataset, "image")
    assert (
        not other.copied
        and other.likeness[0] < copy.likeness[0]
        and list(other.likeness) == sorted(other.likeness)[::-1]
    )
    assert nearest(samples[7], dataset, "image", most=10).compared == 10
    with pytest.raises(UserError, match="names are not compared"):
        nearest(Sample("label", "drink"), dataset, "label")
    with pytest.raises(UserError, match="has 0 training items of 'audio'"):
        nearest(samples[0], dataset, "audio")


def test_among_training_items_that_are_alike_a_copy_is_no_claim():
    samples, dataset = world(6)
    twins = Dataset("twins", [record for record in dataset.records for _ in range(2)])
    found = nearest(samples[0], twins, "image")
    assert found.likeness[0] == pytest.approx(1, abs=1e-3) and found.share == 1 and not found.copied


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray((smiley().data * 255).byte().permute(1, 2, 0).numpy()).save(path)
    return path


def drawn_size(path):
    with Image.open(path) as drawn:
        return drawn.size


def test_the_command_writes_a_page_that_needs_nothing_else(cli, picture, tmp_path):
    (tmp_path / "data").mkdir()
    for i, sample in enumerate(world(30)[0]):
        Image.fromarray((sample.data * 255).byte().permute(1, 2, 0).numpy()).save(tmp_path / "data" / f"{i}.png")
    asked = ["explain", "emoji", "--given", f"image={picture}", "--given", "text:en=red <b>", "--evaluations", "40"]
    code, out, err = cli(*asked, "--data", tmp_path / "data", "--json")
    assert code == 0, err
    report = json.loads(out)
    given = report["given"]
    assert sum(one["nats"] for one in given.values()) == pytest.approx(
        report["log_p_nats"] - report["log_p_of_nothing_nats"], abs=1e-4
    )
    assert "".join(given["text:en"]["pieces"]) == "red <b>" and len(given["text:en"]["values"]) == len(
        given["text:en"]["pieces"]
    )
    assert (
        set(report["areas_nats"]) == {"explain", "gradient", "random"} and report["nearest"]["image"]["compared"] > 10
    )
    text = (tmp_path / "emoji.explain.html").read_text()
    assert report["output"] == "emoji.explain.html" and not re.search(r"(src|href)=.?https?:|<script", text)
    assert "&lt;" in text and "<b></span>" not in text, "what is given is no markup"
    code, _, err = cli(*asked)
    assert code == 2 and "exists already" in err
    code, out, err = cli(*asked, "-o", "b.png")
    assert code == 0 and out.splitlines()[-1] == "b.png" and drawn_size(tmp_path / "b.png")[0] == 1000


def test_a_generated_slot_has_its_order_on_the_page(cli, tmp_path):
    code, out, err = cli("explain", "emoji", "--given", "text:en=red apple", "--target", "image", "--steps", 3,
                         "--evaluations", 8, "--json", "-o", "c.html")  # fmt: skip
    assert code == 0, err
    report = json.loads(out)
    assert max(map(max, report["steps"])) == 3 and report["answer"] is None
    assert "became sure" in (tmp_path / "c.html").read_text()


@pytest.mark.parametrize(
    "arguments, what",
    [
        (("photo", "--given", "image=a.png"), "is a prior, for denoise, upscale, inpaint and enhance"),
        (("emoji", "--given", "image"), "is not slot=file"),
        (("emoji", "--given", "smell=x"), "'smell' is not one this model has"),
        (("emoji", "--given", "image=missing.png"), "missing.png"),
        (("emoji", "--given", "audio=a.png"), "a.png"),
        (("emoji", "--given", "image=a.png", "--target", "taste"), "no slot 'taste'"),
        (("emoji", "--given", "image=a.png", "--answer", "banana"), "unknown label 'banana'"),
        (("emoji", "--given", "image=a.png", "--data", "nowhere"), "nowhere"),
        (("emoji", "--given", "image=a.png", "-o", "x.pdf"), "must end in .html or .png"),
        (("emoji",), "--given"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(cli, picture, tmp_path, arguments, what):
    code, out, err = cli("explain", *arguments)
    assert code == 2 and what in err, err
    assert len(err.strip().splitlines()) == 1 and not out
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
