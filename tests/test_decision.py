"""Deciding: calibration, sets, costs and what to acquire, against closed forms and enumeration."""

import itertools
import json
import math

import pytest
import torch

from vqfusion.errors import UserError
from vqfusion.models.decision import Calibration, Case, Costs, Decider
from vqfusion.models.decision.acquisition import entropy_bits, expected_gain
from vqfusion.models.sampling import Generated
from vqfusion.types import Sample

NAMES = ["calm", "rain", "storm"]
PRIOR = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
# p(value | name) of two sensors with values 0 and 1, independent given the name
SENSORS = {
    "audio": torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.1, 0.9]], dtype=torch.float64),
    "image": torch.tensor([[0.55, 0.45], [0.5, 0.5], [0.45, 0.55]], dtype=torch.float64),
}


class World:
    """A model that knows the joint distribution of a small world."""

    slots = ("audio", "image", "label")

    def labels(self, slot):
        return NAMES

    def posterior(self, given):
        p = PRIOR.clone()
        for slot, value in given.items():
            p = p * SENSORS[slot][:, int(value.data)]
        return p / p.sum()

    def distribution(self, given, target, temperature=None):
        items = [dict(zip(given, row, strict=True)) for row in zip(*given.values(), strict=True)]
        return [dict(zip(NAMES, self.posterior(item).tolist(), strict=True)) for item in items]

    def generate(self, given, target, sampling=None):
        p = (self.posterior(given)[:, None] * SENSORS[target]).sum(0)
        generator = torch.Generator().manual_seed(sampling.seed)
        drawn = torch.multinomial(p, sampling.samples, replacement=True, generator=generator).tolist()
        return Generated(target, [[Sample("text", str(value)) for value in drawn]], 1, 0.0)


def cases(count, seed=0, groups=0):
    generator = torch.Generator().manual_seed(seed)
    out = []
    for i in range(count):
        name = int(torch.multinomial(PRIOR, 1, generator=generator))
        given = {
            slot: Sample("text", str(int(torch.multinomial(p[name], 1, generator=generator))))
            for slot, p in SENSORS.items()
        }
        out.append(Case(given, NAMES[name], f"site {i % groups}" if groups else None))
    return out


def test_a_temperature_that_spoiled_the_probabilities_is_found_and_undone():
    generator = torch.Generator().manual_seed(0)
    log_p = (2 * torch.randn(20000, 4, generator=generator, dtype=torch.float64)).log_softmax(-1)
    truth = torch.multinomial(log_p.exp(), 1, generator=generator)[:, 0]
    spoiled = (log_p * 2.5).softmax(-1)
    fitted = Calibration.fit(spoiled, truth)
    assert fitted.temperature == pytest.approx(2.5, rel=0.05)
    exact = Calibration(2.5, {"": (0.5,)}, (0.5,))
    assert torch.allclose(exact.probabilities(spoiled), log_p.exp(), atol=1e-9)


@pytest.mark.parametrize("coverage", [0.5, 0.9, 0.95])
def test_sets_hold_the_truth_as_often_as_asked_and_are_the_order_statistic(coverage):
    generator = torch.Generator().manual_seed(1)
    p = torch.randn(6000, 5, generator=generator, dtype=torch.float64).mul(1.5).softmax(-1)
    truth = torch.multinomial(p, 1, generator=generator)[:, 0]
    fitted = Calibration.fit(p[:3000], truth[:3000])
    scores = sorted((1 - fitted.probabilities(p[:3000]).gather(1, truth[:3000, None])[:, 0]).tolist())
    assert fitted.threshold(coverage) == scores[math.ceil(coverage * 3001) - 1]
    held = 1 - fitted.probabilities(p[3000:]).gather(1, truth[3000:, None])[:, 0] <= fitted.threshold(coverage)
    spread = 4 * math.sqrt(coverage * (1 - coverage) * 2 / 3000)  # of the calibration and of the test
    assert abs(float(held.double().mean()) - coverage) < spread


def test_a_group_has_its_own_threshold_and_a_new_one_that_of_groups_that_weigh_the_same():
    easy, hard = tuple(i / 1000 for i in range(100)), tuple(0.5 + i / 1000 for i in range(10))
    fitted = Calibration(1.0, {"easy": easy, "hard": hard}, (0.5,))
    assert fitted.threshold(0.9, "easy") == easy[math.ceil(0.9 * 101) - 1]
    assert fitted.threshold(0.9, "hard") == hard[math.ceil(0.9 * 11) - 1]
    assert fitted.threshold(0.5, "new") == hard[math.ceil(0.5 * 30) - 11], "1/3 for each group and for the new one"
    assert fitted.threshold(0.7, "new") == math.inf, "two groups promise no more than two thirds"
    assert fitted.threshold(0.95, "hard") == math.inf, "ten cases promise no more than ten elevenths"


def test_what_a_sensor_is_worth_is_its_mutual_information_and_its_value_by_enumeration():
    world, costs = World(), Costs(("go", "stay"), tuple(NAMES), torch.tensor([[0.0, 2, 10], [1, 1, 1]]).double())
    given = {"image": Sample("text", "1")}
    now = world.posterior(given)
    exact = {}
    for slot in ("audio",):
        p = (now[:, None] * SENSORS[slot]).sum(0)
        after = [world.posterior({**given, slot: Sample("text", str(value))}) for value in (0, 1)]
        exact[slot] = (
            float(entropy_bits(now) - sum(p[v] * entropy_bits(after[v]) for v in (0, 1))),
            costs.best(now)[1] - sum(float(p[v]) * costs.best(after[v])[1] for v in (0, 1)),
        )
    decider = Decider.fit(world, cases(4000), costs=costs)
    for slots in decider.calibrations:  # the model is right: leave its probabilities as they are
        one = decider.calibrations[slots]
        assert one.temperature == pytest.approx(1.0, abs=0.25)
        decider.calibrations[slots] = Calibration(1.0, one.scores, one.highest)
    (gain,) = decider([Case(given)], acquire=256)[0].acquire
    assert gain.slot == "audio" and gain.samples == 256
    assert gain.bits == pytest.approx(exact["audio"][0], abs=0.05)
    assert gain.saving == pytest.approx(exact["audio"][1], abs=0.15)


def test_the_slot_advised_is_the_one_that_helps_most_in_every_enumerable_world():
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        joint = torch.rand(3, 4, 4, generator=generator, dtype=torch.float64) ** 3
        joint /= joint.sum()
        costs = Costs.of_errors(NAMES)
        information, expected = [], []
        for axis in (1, 2):
            table = joint.sum(3 - axis)  # names, values
            p = table.sum(0)
            information.append(float(entropy_bits(table.sum(1)) - (p * entropy_bits((table / p).T)).sum()))
            rows = (table / p).T.repeat_interleave((p * 20000).round().long(), dim=0)
            expected.append(expected_gain(str(axis), rows, costs).bits)
        assert (information[0] > information[1]) == (expected[0] > expected[1])
        assert expected == pytest.approx(information, abs=1e-3)


def test_information_that_changes_nothing_is_worth_nothing():
    p = torch.tensor([0.2, 0.3, 0.5]).double().expand(7, 3)
    gain = expected_gain("image", p, Costs.of_errors(NAMES))
    assert gain.bits == pytest.approx(0, abs=1e-12) and gain.saving == pytest.approx(0, abs=1e-12)


def test_every_choice_of_slots_is_calibrated_and_decided_alike_alone_and_together():
    decider = Decider.fit(World(), cases(300))
    assert set(decider.calibrations) == {("audio",), ("image",), ("audio", "image")}
    mixed = [Case({slot: case.given[slot] for slot in slots}) for case in cases(6, seed=3) for slots in
             (("audio",), ("image",), ("image", "audio"))]  # fmt: skip
    together = decider(mixed, coverage=0.8)
    assert together == [decider([case], coverage=0.8)[0] for case in mixed]
    for one in together:
        assert sum(one.probabilities.values()) == pytest.approx(1)
        assert list(one.probabilities.values()) == sorted(one.probabilities.values(), reverse=True)
        assert one.action == next(iter(one.probabilities)), "wrong names cost the same: the most probable one"
        assert one.expected_cost == pytest.approx(1 - one.probabilities[one.action])


def test_it_abstains_on_the_least_sure_share_of_cases():
    decider = Decider.fit(World(), cases(2000))
    decisions = decider([Case({"audio": case.given["audio"], "image": case.given["image"]}) for case in cases(500, 5)],
                        abstain=0.3)  # fmt: skip
    left = [one for one in decisions if one.action is None]
    sure = min(max(one.probabilities.values()) for one in decisions if one.action is not None)
    assert left and all(max(one.probabilities.values()) < sure for one in left)
    assert len(left) / len(decisions) <= 0.3 + 4 * math.sqrt(0.3 * 0.7 / 500)


def test_a_new_group_is_told_and_promised_no_more_than_groups_can():
    decider = Decider.fit(World(), cases(400, groups=4))
    case = cases(1, seed=9)[0]
    known, new = decider([Case(case.given, group="site 1"), Case(case.given, group="elsewhere")], coverage=0.95)
    assert known.warnings == () and "never calibrated" in new.warnings[0] and "too few" in new.warnings[1]
    assert set(known.names) <= set(new.names)


def test_a_decider_comes_back_from_its_file(tmp_path):
    costs = Costs(("go", "stay"), tuple(NAMES), torch.tensor([[0.0, 2, 10], [1, 1, 1]]).double())
    decider = Decider.fit(World(), cases(100, groups=2), costs=costs)
    decider.save(tmp_path / "a.json")
    again = Decider.load(tmp_path / "a.json", World())
    assert again.calibrations == decider.calibrations
    some = [Case(case.given, group=case.group) for case in cases(5, seed=2, groups=2)]
    assert again(some) == decider(some)
    with pytest.raises(UserError, match="exists"):
        decider.save(tmp_path / "a.json")
    (tmp_path / "b.json").write_text(json.dumps({"target": "label"}))
    with pytest.raises(UserError, match="is not a decider"):
        Decider.load(tmp_path / "b.json", World())


def test_costs_decide_and_a_bad_table_is_one_line(tmp_path):
    path = tmp_path / "costs.csv"
    path.write_text("action,storm,calm,rain\ngo,10,0,2\nstay,1,1,1\n")
    costs = Costs.read(path, NAMES)
    assert costs.best(torch.tensor([0.9, 0.05, 0.05])) == ("go", pytest.approx(0.6))
    assert costs.best(torch.tensor([0.5, 0.3, 0.2])) == ("stay", pytest.approx(1.0))
    path.write_bytes("\ufeffaction;storm;calm;rain\r\ngo;10;0;2\r\nstay;1;1;1\r\n".encode())
    assert torch.equal(Costs.read(path, NAMES).table, costs.table), "as a spreadsheet saves it"
    for text, what in (
        ("action,storm,calm\ngo,1,2\n", "no column for rain"),
        ("action,storm,calm,rain,snow\ngo,1,2,3,4\n", "'snow' is not a name"),
        ("action,storm,calm,rain\ngo,1,2\n", "line 2: 3 cells"),
        ("action,storm,calm,rain\ngo,1,2,much\n", "'much' is not a number"),
        ("action,storm,calm,rain\n", "a row for each action"),
        ("action,storm,calm,rain\ngo,1,2,3\ngo,1,2,3\n", "two rows"),
        ("action,storm,calm,rain,storm\ngo,1,2,3,4\n", "two columns are called 'storm'"),
        ("action,storm,calm,rain\n\n# prices\n'go',1,2,\"a\nb\"\n", "line 4: the cost .a.*b. is"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=what):
            Costs.read(path, NAMES)


def test_bad_cases_are_one_line():
    world, good = World(), cases(30)
    for some, what in (
        (good[:3], "3 calibration cases are too few"),
        ([*good, Case(good[0].given, "snow")], "'snow' of a calibration case"),
        ([*good, Case(good[0].given, "calm", "a site")], "30 of 31 calibration cases have no group"),
    ):
        with pytest.raises(UserError, match=what):
            Decider.fit(world, some)
    decider = Decider.fit(world, [Case({"audio": case.given["audio"]}, case.truth) for case in good])
    for case, coverage, what in ((Case(good[0].given), 0.9, "audio . image was not calibrated"),
                                 (good[0], 1.0, "coverage 1")):  # fmt: skip
        with pytest.raises(UserError, match=what):
            decider([case], coverage=coverage)


def test_any_slots_of_one_choice_are_in_any_order():
    decider = Decider.fit(World(), cases(60))
    given = cases(1, seed=4)[0].given
    for order in itertools.permutations(given.items()):
        assert decider([Case(dict(order))])[0] == decider([Case(given)])[0]
