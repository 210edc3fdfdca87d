"""Fusion: exact prefix cache, roles, masks, loss, generation."""

from dataclasses import replace

import pytest
import torch

from vqfusion.config import FusionConfig, SlotConfig
from vqfusion.diffusion.masked.path import sampler_density
from vqfusion.models.fusion.fusion import Fusion, FusionBatch, SlotTokens
from vqfusion.models.fusion.generate import Policy, given_prefix, sample_slot, slot_denoiser, slot_negative_elbo
from vqfusion.models.fusion.slots import SlotName, coordinates, length_slot, patchify, unpatchify

SLOTS = {
    "image": SlotConfig(tokenizer="image", shape=(4, 6), patch=(2, 3)),
    "image@2": SlotConfig(tokenizer="image", shape=(2, 3), patch=(2, 3)),
    "volume": SlotConfig(tokenizer="volume", shape=(2, 2, 4), patch=(1, 2, 2)),
    "text:en": SlotConfig(tokenizer="text", shape=(9,), variable=True),
    "text:de": SlotConfig(tokenizer="text", shape=(9,), variable=True),
    "label": SlotConfig(tokenizer="label", shape=(1,)),
}
SLOTS["sound"] = SlotConfig(tokenizer="sound", shape=(12,), patch=(3,), variable=True)
SIZES = {"image": 11, "volume": 7, "text": 13, "label": 5, "sound": 6}


@pytest.fixture(scope="module", params=[0, 1])
def fusion(request) -> Fusion:
    """With and without convolutions over tokens; their last ones start at zero, so give them something to do."""
    torch.manual_seed(0)
    fusion = Fusion(FusionConfig(dim=32, layers=3, heads=2, slots=SLOTS, local_layers=request.param), SIZES).eval()
    for name, parameter in fusion.named_parameters():
        if "local" in name and "conv_out" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return fusion


def tokens(slot: str, batch: int, length: int = 9, seed: int = 0) -> SlotTokens:
    config = SLOTS[slot]
    shape = (length,) if config.variable else config.shape
    generator = torch.Generator().manual_seed(seed)
    return SlotTokens(torch.randint(SIZES[config.tokenizer], (batch, *shape), generator=generator))


def hide(slot_tokens: SlotTokens) -> torch.Tensor:
    return torch.ones_like(slot_tokens.ids, dtype=torch.bool)


def logits(fusion, given, target, batch=2):
    with torch.no_grad():
        prefix = given_prefix(fusion, given, batch)
        return fusion.logits({"text:de": target}, {"text:de": hide(target)}, prefix)["text:de"]


@pytest.mark.parametrize("sizes,patch", [((6,), (3,)), ((4, 6), (2, 3)), ((2, 4, 6), (1, 2, 3))])
def test_patches_go_there_and_back(sizes, patch):
    grid = torch.arange(2 * int(torch.tensor(sizes).prod())).reshape(2, *sizes)
    assert torch.equal(unpatchify(patchify(grid, patch), sizes, patch), grid)
    assert len(coordinates(sizes, patch)) == patchify(grid, patch).shape[1]
    features = torch.stack([grid, -grid], dim=-1)
    assert torch.equal(patchify(features, patch)[..., 0], patchify(grid, patch))
    assert torch.equal(unpatchify(patchify(features, patch), sizes, patch), features)
    first = patchify(grid, patch)[0, 0]
    assert torch.equal(first, grid[0][tuple(slice(0, p) for p in patch)].flatten())


def test_slot_names():
    assert SlotName.parse("text:de@noisy") == SlotName("text", "de", "noisy")
    assert length_slot("text:de") == "length:de" and length_slot("audio") == "length:audio"


def test_cached_prefix_gives_the_logits_of_the_whole_sequence(fusion):
    """The cache against one pass over given and target together, with the attention written as a mask."""
    given, target = {"image": tokens("image", 2), "label": tokens("label", 2)}, tokens("text:de", 2)
    cached = logits(fusion, given, target)
    with torch.no_grad():
        parts = [fusion._embed(name, given[name], None) for name in ("image", "label")]
        own = fusion._embed("text:de", target, hide(target))
        x = torch.cat([fusion.sink.expand(2, -1, -1), *[p.x for p in parts], own.x], dim=1)
        positions = torch.cat([torch.zeros(1, 3), *[p.positions for p in parts], own.positions])
        length, start = x.shape[1], x.shape[1] - own.x.shape[1]
        allowed = torch.ones(length, length, dtype=torch.bool)
        allowed[:start, start:] = False  # given tokens never look at targets
        rotary = fusion.transformer.rotary(positions)
        for block in fusion.transformer.blocks:
            q, k, v = block.project(x, rotary)
            scores = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).masked_fill(~allowed, -torch.inf)
            x = x + block.out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
            gate, up = block.gate_up(block.norm_mlp(x)).chunk(2, dim=-1)
            x = x + block.down(torch.nn.functional.silu(gate) * up)
        whole = fusion._head("text:de", fusion.transformer.norm(x)[:, start:], own)
    assert torch.allclose(cached, whole, atol=1e-5)


def test_a_prefix_serves_many_calls(fusion):
    """Other targets and other lengths in between change nothing, and gradients take the same numbers."""
    given, target = {"image": tokens("image", 2)}, tokens("text:de", 2)
    prefix = given_prefix(fusion, given, 2)
    fresh = logits(fusion, given, target)
    for other in (target, tokens("text:de", 2, seed=3), tokens("text:de", 2, length=4), target):
        with torch.no_grad():
            again = fusion.logits({"text:de": other}, {"text:de": hide(other)}, prefix)["text:de"]
        assert torch.allclose(again, logits(fusion, given, other), atol=1e-6)
    assert torch.allclose(again, fresh, atol=1e-6)
    assert torch.allclose(fusion.logits({"text:de": target}, {"text:de": hide(target)}, prefix)["text:de"], fresh)


def test_absent_slots_and_the_order_of_arguments_change_nothing(fusion):
    given, target = {"image": tokens("image", 2), "label": tokens("label", 2)}, tokens("text:de", 2)
    backwards = dict(reversed(given.items()))
    assert torch.equal(logits(fusion, given, target), logits(fusion, backwards, target))
    dropped = SlotTokens(given["image"].ids, torch.zeros_like(given["image"].ids, dtype=torch.bool))
    alone = logits(fusion, {"label": given["label"]}, target)
    assert torch.allclose(logits(fusion, {**given, "image": dropped}, target), alone, atol=1e-5)


def test_padding_changes_nothing(fusion):
    short, target = tokens("text:en", 2, length=4), tokens("text:de", 2, length=5)
    pad = torch.full((2, 3), 7)
    mask = torch.arange(7) < 4
    padded = SlotTokens(torch.cat([short.ids, pad], dim=1), mask.expand(2, -1))
    plain = logits(fusion, {"text:en": short}, target)
    assert torch.allclose(logits(fusion, {"text:en": padded}, target), plain, atol=1e-5)
    real = torch.arange(7) < 5
    longer = SlotTokens(torch.cat([target.ids, pad[:, :2]], dim=1), real.expand(2, -1))
    assert torch.allclose(logits(fusion, {"text:en": short}, longer)[:, :5], plain, atol=1e-5)


def test_padding_of_tokens_that_share_a_position_changes_nothing(fusion):
    short, target = tokens("sound", 2, length=6), tokens("sound", 2, length=3, seed=1)
    mask = (torch.arange(9) < 6).expand(2, -1)
    padded = SlotTokens(torch.cat([short.ids, torch.full((2, 3), 5)], dim=1), mask)
    plain = logits(fusion, {"sound": short}, tokens("text:de", 2))
    assert torch.allclose(logits(fusion, {"sound": padded}, tokens("text:de", 2)), plain, atol=1e-5)

    def denoise(tokens: SlotTokens) -> torch.Tensor:
        with torch.no_grad():
            return fusion.logits({"sound": tokens}, {"sound": hide(tokens)}, fusion.prefix({}, 2))["sound"]

    longer = SlotTokens(torch.cat([target.ids, torch.full((2, 3), 5)], dim=1), (torch.arange(6) < 3).expand(2, -1))
    assert torch.allclose(denoise(longer)[:, :1], denoise(target), atol=1e-5)


def test_hidden_tokens_cannot_be_seen(fusion):
    given = {"label": tokens("label", 2)}
    a, b = tokens("text:de", 2, seed=1), tokens("text:de", 2, seed=2)
    assert torch.equal(logits(fusion, given, a), logits(fusion, given, b))


@pytest.mark.parametrize("slot", ["image", "volume", "text:de", "label", "sound"])
def test_denoiser_sees_tokens_in_row_order(fusion, slot):
    """Changing a visible token changes the logits of others; each token's logits sit at its own place."""
    start = tokens(slot, 1)
    prefix = given_prefix(fusion, {}, 1)
    denoiser = slot_denoiser(fusion, slot, None, prefix)
    flat, hidden = start.ids.flatten(1), hide(start).flatten(1)
    with torch.no_grad():
        out = denoiser(flat, hidden)
        direct = fusion.logits({slot: start}, {slot: hide(start)}, prefix)[slot]
    assert out.shape == (1, flat.shape[1], SIZES[SLOTS[slot].tokenizer])
    places = patchify(torch.arange(flat.shape[1]).reshape(1, *start.ids.shape[1:]), SLOTS[slot].patch)[0]
    for position, row in enumerate(places.tolist()):
        for within, place in enumerate(row):
            assert torch.equal(out[0, place], direct[0, position, within])


@pytest.mark.parametrize("slot", ["image", "volume", "text:de"])
def test_sampling_keeps_what_is_known_and_is_the_same_alone_and_in_a_batch(fusion, slot):
    policy = Policy(steps=4, temperature=1.0, guidance_scale=2.0, top_p=1.0, order="confidence")
    start = tokens(slot, 8)
    hidden = torch.rand(start.ids.shape, generator=torch.Generator().manual_seed(5)) < 0.6
    given = {"label": tokens("label", 8)}

    def run(rows: slice) -> torch.Tensor:
        part = SlotTokens(start.ids[rows])
        prefix = given_prefix(fusion, {"label": SlotTokens(given["label"].ids[rows])}, len(part.ids))
        generators = [torch.Generator().manual_seed(i) for i in range(8)[rows]]
        return sample_slot(fusion, slot, part, hidden[rows], prefix, policy, generators).ids

    together = run(slice(0, 8))
    assert torch.equal(together[~hidden], start.ids[~hidden])
    assert torch.equal(together, torch.cat([run(slice(i, i + 1)) for i in range(8)]))


def test_loss_is_the_capped_weight_and_the_report_the_elbo(fusion):
    target = tokens("text:de", 3)
    hidden = torch.rand(target.ids.shape, generator=torch.Generator().manual_seed(1)) < 0.5
    t = torch.tensor([0.2, 0.5, 0.9])
    batch = FusionBatch({"label": tokens("label", 3)}, {"text:de": target}, {"text:de": hidden}, t, name="x")
    with torch.no_grad():
        loss, report = fusion.loss([batch])
        out = fusion.logits(batch.target, batch.hidden, fusion.prefix(batch.given, 3))["text:de"][:, :, 0]
    nll = torch.nn.functional.cross_entropy(out.transpose(1, 2), target.ids, reduction="none") * hidden
    per_item = nll.sum(dim=1) / 9
    assert torch.allclose(loss, (per_item / (t + (1 - t) / 5)).mean(), rtol=1e-4)
    bits = (per_item / t / sampler_density(t)).mean() / torch.tensor(2.0).log()
    assert torch.allclose(report["bits/x/text:de"], bits, rtol=1e-4)


def test_loss_of_two_halves_is_the_loss_of_the_whole(fusion):
    def draw(rows: slice) -> FusionBatch:
        target = tokens("image", 4)
        hidden = torch.rand(target.ids.shape, generator=torch.Generator().manual_seed(1)) < 0.5
        t = torch.tensor([0.2, 0.5, 0.9, 1.0])
        given = {"label": SlotTokens(tokens("label", 4).ids[rows])}
        return FusionBatch(given, {"image": SlotTokens(target.ids[rows])}, {"image": hidden[rows]}, t[rows])

    with torch.no_grad():
        whole = fusion.loss([draw(slice(0, 4))])[0]
        halves = [fusion.loss([draw(slice(a, a + 2))])[0] for a in (0, 2)]
    assert torch.allclose(whole, (halves[0] + halves[1]) / 2, atol=1e-5)


def test_bound_of_a_one_token_slot_is_its_cross_entropy(fusion):
    label = tokens("label", 4)
    prefix = given_prefix(fusion, {"image": tokens("image", 4)}, 4)
    bound = slot_negative_elbo(fusion, "label", label, prefix, 3, torch.Generator().manual_seed(0))
    with torch.no_grad():
        out = fusion.logits({"label": label}, {"label": hide(label)}, prefix)["label"][:, 0, 0].double()
    exact = torch.nn.functional.cross_entropy(out, label.ids[:, 0], reduction="none")
    assert torch.allclose(bound, exact, atol=1e-5)


def test_views_that_share_a_vocabulary_need_patches_of_one_size():
    slots = {"image": SLOTS["image"], "image@2": SlotConfig(tokenizer="image", shape=(2, 2), patch=(1, 1))}
    with pytest.raises(ValueError, match="the same patch"):
        Fusion(FusionConfig(dim=32, layers=1, heads=2, slots=slots), SIZES)


def test_a_shared_given_part_changes_nothing(fusion):
    given = {"image": tokens("image", 3)}
    first = FusionBatch(
        given, {"text:de": tokens("text:de", 3)}, {"text:de": hide(tokens("text:de", 3))}, torch.ones(3)
    )
    label = tokens("label", 3)
    alone = FusionBatch(given, {"label": label}, {"label": hide(label)}, torch.ones(3), name="x")
    shared = replace(alone, same_given=True)
    with torch.no_grad():
        assert torch.allclose(fusion.loss([first, alone])[0], fusion.loss([first, shared])[0], rtol=1e-6)
        loss, report = fusion.loss([alone])  # everything hidden: the bound is the cross entropy
        assert report["bits/x/label"] * torch.log(torch.tensor(2.0)) == pytest.approx(float(loss), rel=1e-5)


def test_several_masks_of_an_example_are_several_examples(fusion):
    given, target = tokens("image", 2), tokens("text:de", 2)
    doubled = SlotTokens(target.ids.repeat_interleave(3, dim=0))
    hidden = torch.rand(doubled.ids.shape, generator=torch.Generator().manual_seed(1)) < 0.5
    t = torch.linspace(0.1, 1.0, 6)
    batch = FusionBatch({"image": given}, {"text:de": doubled}, {"text:de": hidden}, t, repeats=3)
    plain = SlotTokens(given.ids.repeat_interleave(3, dim=0))
    same = FusionBatch({"image": plain}, {"text:de": doubled}, {"text:de": hidden}, t)
    with torch.no_grad():
        assert torch.allclose(fusion.loss([batch])[0], fusion.loss([same])[0], rtol=1e-5)
