"""Training draws: languages that must not meet, shares of processes, joins of records, lengths."""

from collections import Counter

import pytest
import torch

from vqfusion.config import ChainConfig, DrawConfig, FusionConfig, LabelTokenizerConfig, SlotConfig, StageConfig
from vqfusion.errors import UserError
from vqfusion.train.fusion.draws import DrawSource, TokenRecord

TEXT = dict(tokenizer="text", shape=(8,), variable=True)
SLOTS = {
    "image": SlotConfig(tokenizer="image", shape=(2, 2), patch=(1, 1)),
    "audio": SlotConfig(tokenizer="audio", shape=(8,), patch=(2,), variable=True),
    "text:en": SlotConfig(**TEXT),
    "text:de": SlotConfig(**TEXT),
    "text:fr": SlotConfig(**TEXT),
    "length:de": SlotConfig(tokenizer="length:text", shape=(1,)),
    "length:audio": SlotConfig(tokenizer="length:audio", shape=(1,)),
}


def source(*draws: DrawConfig, held_out=frozenset(), keys=None) -> DrawSource:
    records = []
    for key in range(6):
        texts = {f"text:{name}": torch.full((3 + i,), 10 * key + i) for i, name in enumerate(("en", "de", "fr"))}
        records.append(TokenRecord(str(key), ({**texts, "image": torch.full((2, 2), key)},)))
        for name in ("en", "de"):
            clips = tuple(
                {"audio": torch.full((4 + 2 * v,), key), f"text:{name}": texts[f"text:{name}"]} for v in range(2)
            )
            records.append(TokenRecord(str(key), clips))
    chain = ChainConfig(
        name="x", languages=("en", "de", "fr"), fusion=FusionConfig(slots=SLOTS), draws=draws,
        tokenizers={slot.tokenizer: LabelTokenizerConfig() for slot in SLOTS.values()},
        fusion_stage=StageConfig(batch=8, draws_per_step=3),
    )  # fmt: skip
    return DrawSource(records, chain, held_out, keys)


def test_held_out_pairs_never_meet():
    pairs = frozenset({frozenset({"de", "fr"})})
    draws = source(DrawConfig(given=("text:*",), target=("text:*",)), held_out=pairs)
    seen = Counter()
    for step in range(60):
        for draw in draws(step, 0, 1):
            (a,), (b,) = draw.given, draw.target
            assert a != b
            seen[frozenset({a[5:], b[5:]})] += 1
    assert pairs.isdisjoint(seen) and len(seen) == 2


def test_a_draw_depends_on_its_step_alone_and_processes_share_it():
    draws = source(DrawConfig(given=("image",), target=("text:*",), drop_given=0.3, masks=2))
    one, again = draws(7, 0, 1), draws(7, 0, 1)
    for a, b in zip(one, again, strict=True):
        (slot,) = a.target
        assert torch.equal(a.target[slot].ids, b.target[slot].ids) and torch.equal(a.t, b.t)
    parts = [draws(7, rank, 2) for rank in (0, 1)]
    for whole, first, second in zip(one, *parts, strict=True):
        (slot,) = whole.target
        assert torch.equal(whole.t, torch.cat([first.t, second.t]))
        assert torch.equal(whole.hidden[slot], torch.cat([first.hidden[slot], second.hidden[slot]]))
        assert torch.equal(whole.given["image"].ids, torch.cat([p.given["image"].ids for p in (first, second)]))


def test_batches_are_alike_in_length_and_every_clip_is_as_likely():
    draws = source(DrawConfig(given=("audio",), target=("text:^",), linked=True, augment=True))
    seen, mixed = Counter(), 0
    for step in range(100):
        for draw in draws(step, 0, 1):
            tokens = draw.given["audio"]
            lengths = [tokens.ids.shape[1]] * 8 if tokens.mask is None else tokens.mask.sum(dim=1).tolist()
            seen.update(lengths)
            mixed += len(set(lengths)) > 1
    assert mixed < 200  # of 300; with 8 of two equally likely lengths at random nearly all would be
    assert abs(seen[4] - seen[6]) < 4 * (300 * 8**2) ** 0.5  # 4 sigma, were each batch of one length


def test_slots_of_an_example_come_from_one_thing():
    for draw in source(DrawConfig(given=("audio",), target=("image",)))(0, 0, 1):
        assert torch.equal(draw.given["audio"].ids[:, 0], draw.target["image"].ids[:, 0, 0])


def test_transcription_asks_for_the_language_that_is_spoken():
    for draw in source(DrawConfig(given=("audio",), target=("text:^",), linked=True, augment=True))(0, 0, 1):
        (slot,) = draw.target
        assert slot in ("text:en", "text:de")
        assert torch.equal(draw.given["audio"].ids[:, 0], draw.target[slot].ids[:, 0] // 10)


def test_lengths_are_positions_less_one_and_their_slot_is_absent():
    text = source(DrawConfig(given=("image",), target=("length:*",)).model_copy(update={"target": ("length:de",)}))
    for draw in text(0, 0, 1):
        assert (draw.target["length:de"].ids == 3).all() and "text:de" not in draw.given
    sound = source(DrawConfig(given=("text:en",), target=("length:audio",)))
    assert all((draw.target["length:audio"].ids == 1).all() for draw in sound(0, 0, 1))


def test_what_is_also_asked_shares_the_given_part_and_the_language():
    row = DrawConfig(given=("image",), target=("text:*",), also=(("length:*",),), masks=2).model_copy(
        update={"target": ("text:de",), "also": (("length:de",), ("text:en", "text:fr"))}
    )
    for step in range(5):
        draws = source(row)(step, 0, 1)
        assert len(draws) == 9 and [d.same_given for d in draws] == [False, True, True] * 3
        for main, length, both in zip(draws[::3], draws[1::3], draws[2::3], strict=True):
            key = main.given["image"].ids[:, 0, 0]
            assert length.given is main.given and (main.repeats, length.repeats) == (2, 1)
            assert torch.equal(main.target["text:de"].ids[::2, 0] // 10, key)
            assert (length.target["length:de"].ids == 3).all() and length.hidden["length:de"].all()
            assert (length.t == 1).all() and (both.t < 1).all()
            assert torch.equal(both.target["text:fr"].ids[:, 0] // 10, key)
            shared = both.hidden["text:en"][:, :3] == both.hidden["text:fr"][:, :3]
            assert not shared.all()  # every slot is hidden on its own


def test_the_language_of_what_is_also_asked_is_that_of_the_target():
    row = DrawConfig(given=("image",), target=("text:*",), also=(("text:*",),))
    for step in range(5):
        for main, again in zip(*[iter(source(row)(step, 0, 1))] * 2, strict=True):
            assert main.target.keys() == again.target.keys()


def test_a_share_of_the_given_positions_is_left_out():
    shares = []
    for step in range(40):
        for draw in source(DrawConfig(given=("audio",), target=("text:^",), linked=True, hide_given=0.5))(step, 0, 1):
            mask = draw.given["audio"].mask
            assert mask is not None and torch.equal(mask[:, ::2], mask[:, 1::2])  # whole positions
            shares += (~mask).float().mean(dim=1).tolist()
    assert abs(sum(shares) / len(shares) - 0.25) < 4 * 0.4 / len(shares) ** 0.5
    (draw, *_) = source(DrawConfig(given=("image",), target=("text:*",)))(0, 0, 1)
    assert draw.given["image"].mask is None


def test_what_no_record_has_is_one_line():
    with pytest.raises(UserError, match="no training record"):
        source(DrawConfig(given=("speaker",), target=("image",)))


def test_a_share_of_the_examples_shows_nothing_of_its_target():
    whole = 0
    for step in range(50):
        for draw in source(DrawConfig(given=("text:en",), target=("image",), all_hidden=0.5))(step, 0, 1):
            assert draw.hidden["image"][draw.t == 1].all()
            whole += int((draw.t == 1).sum())
    n = 50 * 3 * 8
    assert abs(whole - n / 2) < 4 * (n / 4) ** 0.5


def test_rows_draw_beyond_the_limit_only_where_they_say_so():
    rows = dict(given=("image",), target=("text:en",))
    kept = frozenset({"1", "4"})
    for row, wanted in ((DrawConfig(**rows), {1, 4}), (DrawConfig(**rows, all_keys=True), set(range(6)))):
        draws = source(row, keys=kept)
        seen = {
            int(ids) for step in range(20) for draw in draws(step, 0, 1) for ids in draw.given["image"].ids[:, 0, 0]
        }
        assert seen == wanted


def test_more_languages_than_there_are_is_one_line():
    texts = ("text:*",) * 3
    with pytest.raises(UserError, match="no language is left for text:"):
        source(DrawConfig(given=texts, target=("text:*",)))(0, 0, 1)
