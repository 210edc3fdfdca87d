"""Training on packed rows is training on padded batches, without the padding."""

import pytest
import torch

from vqfusion.config import FusionConfig, SlotConfig
from vqfusion.models.fusion.fusion import Fusion, FusionBatch, SlotFrames, SlotTokens
from vqfusion.models.fusion.packing import Part, pack
from vqfusion.nn import packed
from vqfusion.nn.packed import _Normalise, _Rotate, _SwiGLU

SLOTS = {
    "image": SlotConfig(tokenizer="image", shape=(4, 6), patch=(2, 3)),
    "audio": SlotConfig(tokenizer="audio", shape=(24,), patch=(2,), variable=True, features=5),
    "text:en": SlotConfig(tokenizer="text", shape=(9,), variable=True),
    "text:de": SlotConfig(tokenizer="text", shape=(9,), variable=True),
    "length:de": SlotConfig(tokenizer="length", shape=(1,), coefficient=0.1),
}
SIZES = {"image": 11, "audio": 6, "text": 13, "length": 9}


def fusion(packed: bool, dim: int = 32) -> Fusion:
    torch.manual_seed(0)
    config = FusionConfig(dim=dim, layers=3, heads=2, slots=SLOTS, positions="rotary", packed=packed)
    made = Fusion(config, SIZES)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "norm" in name:
                parameter.uniform_(0.5, 1.5)
    return made


def sequence(slot: str, lengths: list[int], generator: torch.Generator) -> SlotTokens:
    ids = torch.randint(SIZES[SLOTS[slot].tokenizer], (len(lengths), max(lengths)), generator=generator)
    return SlotTokens(ids, torch.arange(max(lengths)) < torch.tensor(lengths)[:, None])


def batches() -> list[FusionBatch]:
    """Repeated masks and a second target of the same given part, frames and a picture, and nothing given."""
    g = torch.Generator().manual_seed(1)

    def hide(tokens: SlotTokens) -> torch.Tensor:
        hidden = torch.rand(tokens.ids.shape, generator=g) < 0.6
        hidden.flatten(1)[:, 0] = True
        return hidden if tokens.mask is None else hidden & tokens.mask

    english, german = sequence("text:en", [4, 7, 1], g), sequence("text:de", [5, 5, 2, 2, 9, 9], g)
    dropped = SlotTokens(english.ids, english.mask & torch.tensor([True, True, False])[:, None])
    length, ones = SlotTokens(torch.tensor([[4], [1], [8]])), torch.ones(3)
    frames = SlotFrames(torch.randn(2, 8, 5, generator=g), torch.arange(8) < torch.tensor([[8], [4]]))
    picture = SlotTokens(torch.randint(11, (2, 4, 6), generator=g))
    sound = sequence("audio", [24, 6], g)
    times = torch.rand(11, generator=g).clamp(min=0.05)
    return [
        FusionBatch({"text:en": dropped}, {"text:de": german}, {"text:de": hide(german)}, times[:6], 2, "a"),
        FusionBatch({"text:en": dropped}, {"length:de": length}, {"length:de": hide(length)}, ones, 1, "b", True),
        FusionBatch(
            {"audio": frames}, {"image": picture, "audio": sound}, {"image": hide(picture), "audio": hide(sound)},
            times[9:11], 1, "c",
        ),
        FusionBatch({}, {"text:de": sequence("text:de", [3, 8], g)}, {"text:de": torch.ones(2, 8, dtype=torch.bool) &
                    (torch.arange(8) < torch.tensor([[3], [8]]))}, times[:2], 1, "d"),
    ]  # fmt: skip


@pytest.mark.parametrize("long", [256, 8])
def test_packed_loss_and_gradients_are_those_of_padded_batches(monkeypatch, long):
    monkeypatch.setattr(packed, "LONG", long)
    found = {}
    for way in (False, True):
        made = fusion(way)
        loss, report = made.loss(batches())
        loss.backward()
        found[way] = loss.detach(), report, {n: p.grad for n, p in made.named_parameters() if p.grad is not None}
    assert torch.allclose(found[False][0], found[True][0], atol=1e-5)
    assert found[False][1].keys() == found[True][1].keys()
    assert all(torch.allclose(found[True][1][name], value, atol=1e-4) for name, value in found[False][1].items())
    assert found[False][2].keys() == found[True][2].keys()
    assert all(torch.allclose(found[True][2][name], value, atol=2e-5) for name, value in found[False][2].items())


def test_every_token_has_one_place_and_sees_its_own_segment_alone():
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(40) < torch.randint(1, 41, (9, 1), generator=generator)
    nine = torch.arange(9)
    given = Part(torch.randn(9, 3, 4), torch.zeros(3, 3), None, nine, nine * 0)
    target = Part(torch.randn(9, 40, 4, generator=generator), torch.zeros(40, 3), mask, nine, nine * 0 + 1)
    rows = pack([given, target])
    places = torch.cat([one[one >= 0] for one in rows.places])
    assert len(places) == len(set(places.tolist())) == 27 + int(mask.sum())
    flat = rows.x.flatten(0, 1)
    assert torch.equal(flat[rows.places[1][mask]], target.x[mask])
    assert rows.x.shape[1] == 64 and len(rows.x) <= 9
    width = rows.x.shape[1]
    for item in range(9):
        own = torch.cat([rows.places[0][item], rows.places[1][item][mask[item]]])
        row = int(own[0]) // width
        assert (own // width == row).all()
        sees = rows.allowed[row][int(rows.places[1][item, 0]) % width].nonzero()[:, 0] + row * width
        assert sorted(sees.tolist()) == sorted(own.tolist())
        sees = rows.allowed[row][int(rows.places[0][item, 0]) % width].nonzero()[:, 0] + row * width
        assert sorted(sees.tolist()) == sorted(rows.places[0][item].tolist())


def test_written_gradients_are_those_of_differences():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    angles = torch.randn(2, 3, 4, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(_SwiGLU.apply, (x,))
    assert torch.autograd.gradcheck(lambda x: _Rotate.apply(x, angles.cos(), angles.sin()), (x,))
    assert torch.autograd.gradcheck(lambda x: _Normalise.apply(x, 1e-6), (x,), atol=1e-4)
