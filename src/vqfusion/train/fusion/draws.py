"""Training draws of Fusion: given and target slots of records at each step."""

import random
from collections import defaultdict
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vqfusion.config import ChainConfig, DrawConfig
from vqfusion.diffusion.masked.path import MaskedPath, sampler_times
from vqfusion.errors import UserError
from vqfusion.models.fusion.fusion import FusionBatch, GivenSlot, SlotFrames, SlotTokens
from vqfusion.models.fusion.slots import SlotName, length_slot, patch_size, stack_frames, stack_tokens
from vqfusion.train.codec.augment import vary_frames
from vqfusion.train.loop.steps import share, step_generator

BUCKETS = 4  # groups by length from which a batch is drawn


@dataclass(frozen=True)
class TokenRecord:
    """A record as tokens: variant 0 is the original, further ones are augmented views of the whole record.

    `features` holds frames of the slots that are given as such.
    """

    key: str
    variants: tuple[dict[str, Tensor], ...]
    features: dict[str, Tensor] = field(default_factory=dict)

    @property
    def slots(self) -> dict[str, Tensor]:
        """Tokens by slot of variant 0."""
        return self.variants[0]


class DrawSource:
    """Batches of draws, determined by step, rank and number of processes.

    Pairs of languages in `held_out_pairs` never occur as given and target. Rows without `all_keys` draw from `keys`;
    None stands for all.
    """

    def __init__(
        self,
        records: list[TokenRecord],
        chain: ChainConfig,
        held_out_pairs: frozenset[frozenset[str]] = frozenset(),
        keys: frozenset[str] | None = None,
    ):
        self.chain, self.held_out_pairs, self.limited = chain, held_out_pairs, keys
        self.slots = chain.fusion.slots
        self.languages = [name for name in chain.languages if f"text:{name}" in self.slots]
        self.language_weights = list(chain.language_weights or [1.0] * len(self.languages))
        self.by_key: dict[str, dict[str, list[TokenRecord]]] = defaultdict(lambda: defaultdict(list))
        for record in records:
            for slot in record.slots:
                self.by_key[record.key][slot].append(record)
        self.spoken_languages = sorted(
            {s.split(":")[1] for r in records if "audio" in r.slots for s in r.slots if s.startswith("text:")}
        )
        self.keys = {row: self._eligible(row) for row in chain.draws}
        for row, eligible in self.keys.items():
            if not eligible:
                raise UserError(f"no training record has what the draw {row.given} -> {row.target} needs")

    def __call__(self, step: int, rank: int, processes: int) -> list[FusionBatch]:
        stage, seed = self.chain.fusion_stage, self.chain.seed
        rng = random.Random(f"{seed}/{step}")
        rows = rng.choices(self.chain.draws, [row.weight for row in self.chain.draws], k=stage.draws_per_step)
        draws = [self.batches(row, f"{seed}/{step}/{i}", rank, processes) for i, row in enumerate(rows)]
        return [batch for draw in draws for batch in draw]

    def batches(self, row: DrawConfig, seed: str, rank: int, processes: int) -> list[FusionBatch]:
        """Share of this process in one global draw: the target, then further targets for the same given slots."""
        rng = random.Random(seed)
        size = row.batch or self.chain.fusion_stage.batch
        generator = step_generator(self.chain.seed, rng.getrandbits(30))
        given_slots, groups, spoken = self._languages(row, rng)
        items = self._alike(row, given_slots, [slot for group in groups for slot in group], spoken, size, rng)
        noise_seeds = [rng.getrandbits(40) for _ in range(size)]
        mine = list(share(range(size), rank, processes))
        given: dict[str, GivenSlot] = {}
        for slot in given_slots:
            if self.slots[slot].features:
                frames = [items[i]["features:" + slot] for i in mine]
                if row.augment:
                    steps = patch_size(self.slots[slot])
                    varied = [torch.Generator().manual_seed(noise_seeds[i] ^ 1) for i in mine]
                    frames = [vary_frames(one, steps, noise) for one, noise in zip(frames, varied, strict=True)]
                given[slot] = SlotFrames(*_without([items[i]["drop"] is not None for i in mine], *stack_frames(frames)))
            else:
                given[slot] = _stack([items[i][slot] for i in mine], [items[i]["drop"] is not None for i in mine])
        noises = [torch.Generator().manual_seed(noise_seeds[i]) for i in mine]
        if row.hide_given:
            for slot, one in given.items():
                if isinstance(one, SlotTokens):
                    given[slot] = _hide(one, self.slots[slot].patch, row.hide_given, noises)
        out: list[FusionBatch] = []
        for group in groups:
            masks = row.masks if not out else 1
            times = sampler_times(size * masks, generator)
            if row.all_hidden:
                times[torch.rand(len(times), generator=generator) < row.all_hidden] = 1.0
            times = times.reshape(size, masks)[mine]
            if all(self.slots[slot].shape == (1,) for slot in group):
                times = torch.ones_like(times)  # a single token is always hidden
            target, hidden = {}, {}
            for slot in group:
                tokens = target[slot] = _stack([items[i][slot] for i in mine for _ in range(masks)])
                drawn = [
                    MaskedPath().corrupt(tokens.ids.shape[1:], t, noise)
                    for noise, row_times in zip(noises, times.tolist(), strict=True)
                    for t in row_times
                ]
                stacked = torch.stack(drawn)
                hidden[slot] = stacked if tokens.mask is None else stacked & tokens.mask
            name = "+".join(row.given) + ">" + "+".join(group)
            out.append(FusionBatch(given, target, hidden, times.flatten(), masks, name, bool(out), noise_seeds[0]))
        return out

    def _languages(self, row: DrawConfig, rng: random.Random) -> tuple[list[str], list[list[str]], str | None]:
        """Given slots and groups of target slots with their languages filled in, and the language of the clips."""
        spoken = None
        if any("^" in slot for slot in _all_slots(row)):
            spoken = rng.choice(self.spoken_languages)
        for _ in range(1000):
            chosen: list[str] = []

            def fill(slot: str, chosen: list[str] = chosen) -> str:
                if slot.endswith(":*"):
                    weights = dict(zip(self.languages, self.language_weights, strict=True))
                    free = [n for n in weights if n not in chosen]
                    if not free:
                        raise UserError(f"draw {row.given} -> {row.target}: no language is left for {slot}")
                    chosen.append(rng.choices(free, [weights[n] for n in free])[0])
                    return slot.replace("*", chosen[-1])
                return slot.replace("^", spoken or "")

            given, target = [fill(s) for s in row.given], [fill(s) for s in row.target]
            pairs = {frozenset((a, b)) for a in _tongues(given) for b in _tongues(target)}
            if not pairs & self.held_out_pairs:
                also = [
                    [slot.replace("*", chosen[-1] if chosen else "").replace("^", spoken or "") for slot in group]
                    for group in row.also
                ]
                return given, [target, *also], spoken
        raise UserError(f"draw {row.given} -> {row.target}: every pair of languages is held out")

    def _alike(
        self, row: DrawConfig, given: list[str], target: list[str], spoken: str | None, size: int, rng: random.Random
    ) -> list[dict[str, Tensor | None]]:
        """Examples of similar length: one of `BUCKETS` random groups of a larger draw, sorted by length.

        Every example is as probable as without sorting, and there is much less padding.
        """
        wanted = [*given, *target]
        buckets = BUCKETS if any(self.slots[slot].variable for slot in wanted) else 1
        items = [self._item(row, given, target, spoken, rng) for _ in range(size * buckets)]
        if buckets == 1:
            return items

        def positions(item: dict[str, Tensor | None]) -> float:
            grids = [(item[slot], self.slots[slot]) for slot in wanted]
            return sum(ids.numel() / patch_size(slot) for ids, slot in grids if ids is not None)

        chosen = rng.randrange(buckets)
        alike = sorted(items, key=positions)[chosen * size : (chosen + 1) * size]
        rng.shuffle(alike)  # spreads the longer ones over processes
        return alike

    def _item(
        self, row: DrawConfig, given: list[str], target: list[str], spoken: str | None, rng: random.Random
    ) -> dict[str, Tensor | None]:
        """Tokens of every slot of one example; `drop` is set where the given slots are to be left out."""
        wanted = [*given, *target]
        contents = [_content(slot) for slot in wanted]
        for _ in range(1000):
            slots = self.by_key[rng.choice(self.keys[row])]
            anchor_slot = next((s for s in contents if not s.startswith("text:")), contents[0])
            anchors = slots.get(anchor_slot, [])
            if spoken:
                anchors = [r for r in anchors if f"text:{spoken}" in r.slots]
            if row.linked:
                anchors = [r for r in anchors if all(c in r.slots for c in contents)]
            if not anchors or any(content not in slots for content in contents):
                continue
            anchor = rng.choice(anchors)
            variant = rng.randrange(len(anchor.variants)) if row.augment else 0
            item: dict[str, Tensor | None] = {}
            for slot, content in zip(wanted, contents, strict=True):
                source = anchor if content in anchor.slots else rng.choice(slots[content])
                ids = source.variants[variant if source is anchor else 0][content]
                item[slot] = ids if slot == content else self._length(content, ids)
                if slot in given and self.slots[slot].features:
                    item["features:" + slot] = source.features[slot].float()
            if all(self._fits(slot, item[slot]) for slot in wanted):
                item["drop"] = torch.ones(1) if rng.random() < row.drop_given else None
                return item
        raise UserError(f"no training record fits the draw {row.given} -> {row.target}")

    def _length(self, content: str, ids: Tensor) -> Tensor:
        return torch.tensor([len(ids) // patch_size(self.slots[content]) - 1])

    def _fits(self, slot: str, ids: Tensor | None) -> bool:
        config = self.slots[slot]
        if ids is None or not ids.numel():
            return False
        if config.is_length:
            return int(ids) < self.slots[_content(slot)].shape[0] // patch_size(self.slots[_content(slot)])
        return all(n <= most for n, most in zip(ids.shape, config.shape, strict=True))

    def _eligible(self, row: DrawConfig) -> list[str]:
        fixed = {_content(slot) for slot in _all_slots(row) if not slot.endswith((":*", ":^"))}
        allowed = self.by_key.keys() if row.all_keys or self.limited is None else self.limited & self.by_key.keys()
        return sorted(key for key in allowed if all(slot in self.by_key[key] for slot in fixed))


def _all_slots(row: DrawConfig) -> list[str]:
    return [*row.given, *row.target, *(slot for group in row.also for slot in group)]


def _content(slot: str) -> str:
    """Slot whose record is needed: the slot itself, or the slot measured by a length slot."""
    name = SlotName.parse(slot)
    if name.modality != "length":
        return slot
    content = "audio" if name.language == "audio" else f"text:{name.language}"
    assert length_slot(content) == slot
    return content


def _tongues(slots: list[str]) -> set[str]:
    return {slot.split(":")[1] for slot in slots if slot.startswith(("text:", "length:")) and slot != "length:audio"}


def _stack(ids: list[Tensor], dropped: list[bool] | None = None) -> SlotTokens:
    stacked, mask = stack_tokens(ids)
    if dropped and any(dropped):
        kept = ~torch.tensor(dropped).reshape(-1, *[1] * (stacked.ndim - 1))
        mask = (torch.ones_like(stacked, dtype=torch.bool) if mask is None else mask) & kept
    return SlotTokens(stacked, mask)


def _without(dropped: list[bool], frames: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Frames of a batch, and their mask without those of dropped items."""
    if any(dropped):
        mask = torch.ones(frames.shape[:2], dtype=torch.bool) if mask is None else mask
        mask = mask & ~torch.tensor(dropped)[:, None]
    return frames, mask


def _hide(tokens: SlotTokens, patch: tuple[int, ...], most: float, noises: list[torch.Generator]) -> SlotTokens:
    """Leave out a random fraction, at most `most` and different for each item, of the given positions."""
    kept = []
    for noise in noises:
        share = most * torch.rand((), generator=noise)
        counts = [n // p for n, p in zip(tokens.ids.shape[1:], patch, strict=True)]
        keep = torch.rand(counts, generator=noise) >= share
        for axis, size in enumerate(patch):
            keep = keep.repeat_interleave(size, dim=axis)
        kept.append(keep)
    stacked = torch.stack(kept)
    return SlotTokens(tokens.ids, stacked if tokens.mask is None else stacked & tokens.mask)
