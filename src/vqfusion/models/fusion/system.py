"""System: tokenizers and Fusion together, raw data in and raw data out."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqfusion.config import ChainConfig, SlotConfig
from vqfusion.diffusion.noise import torch_seed
from vqfusion.errors import UserError
from vqfusion.models.fusion.fusion import Fusion, SlotTokens
from vqfusion.models.fusion.generate import (
    Policy,
    given_prefix,
    sample_slot,
    slot_distribution,
    slot_negative_elbo,
)
from vqfusion.models.fusion.pretrained import Parts, load_parts, save_parts
from vqfusion.models.fusion.slot_tokenizers import SlotTokenizers
from vqfusion.models.fusion.slots import SlotName, check_slot, length_slot, patch_size, stack_tokens
from vqfusion.models.fusion.taught import Taught
from vqfusion.types import Sample

Given = Mapping[str, Sample | str | Sequence[Sample | str]]  # one item or several for each slot; a string is a text
ROWS = 64  # items that go through the network at once
LENGTHS_TRIED = 6  # candidates for the length of a greedy answer (Ghazvininejad et al., 2019, "length beam")


@dataclass(frozen=True)
class Sampling:
    """How to sample; None leaves a setting to the slot. `samples` answers for each item."""

    samples: int = 1
    seed: int = 0
    steps: int | None = None
    temperature: float | None = None
    guidance_scale: float | None = None
    top_p: float | None = None

    def policy(self, slot: SlotConfig) -> Policy:
        """The settings for a slot; a greedy slot draws at temperature 1 when several answers are wanted."""
        own = slot.temperature if slot.temperature > 0 or self.samples == 1 else 1.0
        if self.samples < 1 or (self.steps or 1) < 1 or (self.temperature or 0) < 0:
            raise UserError("samples and steps must be at least 1 and temperature at least 0")
        return Policy(
            steps=self.steps or slot.steps,
            temperature=own if self.temperature is None else self.temperature,
            guidance_scale=slot.guidance_scale if self.guidance_scale is None else self.guidance_scale,
            top_p=1.0 if self.top_p is None else self.top_p,
            order=slot.sampling,
        )


@dataclass(frozen=True)
class Generated:
    """`samples[item][k]`, the calls of the network (both branches of guidance counted) and the time taken."""

    target: str
    samples: list[list[Sample]]
    nfe: int
    seconds: float


@dataclass(frozen=True)
class Likelihood:
    """Upper bound on -log2 p(target | given), summed over the items, and per token and character of text."""

    bits: float
    tokens: int
    bits_per_token: float
    bits_per_character: float | None


class System:
    """A trained chain. `generate`, `distribution` and `likelihood` take a mapping from slots to samples.

    `fusion` is None where the chain has tokenizers only; such a system encodes, decodes and can be inspected.
    `taught` has the names that it learned, where it learned names.
    """

    def __init__(
        self, config: ChainConfig, tokenizers: SlotTokenizers, fusion: Fusion | None, taught: Taught | None = None
    ):
        self.config = config
        self.tokenizers = tokenizers
        self.taught = taught or Taught()
        self._fusion = fusion.eval() if fusion is not None else None

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: str | None = "cpu") -> "System":
        """Load what `save_pretrained` wrote."""
        parts = load_parts(Path(folder), device)
        return cls(parts.config, parts.tokenizers, parts.fusion, parts.taught)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json, the tokenizers and Fusion (safetensors, float16) to a folder."""
        save_parts(Parts(self.config, self.tokenizers, self._fusion, self.taught), Path(folder))

    @property
    def fusion(self) -> Fusion:
        """The transformer; UserError where the system has none."""
        if self._fusion is None:
            raise UserError(f"model {self.config.name!r} has tokenizers only: use it with encode, decode and inspect")
        return self._fusion

    @property
    def slots(self) -> tuple[str, ...]:
        """Slots that can be given or asked for."""
        return tuple(name for name, slot in self.config.fusion.slots.items() if not slot.is_length)

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages of the text slots."""
        return tuple(name.split(":")[1] for name in self.slots if name.startswith("text:"))

    @property
    def image_size(self) -> int:
        return self.config.image_size

    @property
    def sample_rate_hz(self) -> int:
        return self.tokenizers.sample_rate_hz

    @property
    def device(self) -> torch.device:
        if self._fusion is not None:
            return self._fusion.sink.device
        networks = [one for one in self.tokenizers.by_name.values() if isinstance(one, torch.nn.Module)]
        return next(networks[0].parameters()).device if networks else torch.device("cpu")

    def labels(self, slot: str) -> list[str]:
        """Names that a label slot (`label`, `speaker`, `style`) knows."""
        return self.tokenizers.names(check_slot(slot, self.config.fusion.slots).tokenizer)

    def reconstruct(self, sample: Sample, slot: str | None = None) -> Sample:
        """Tokenizer round trip: the ceiling of everything that is made of tokens."""
        name = slot or (sample.modality if sample.modality in self.config.fusion.slots else self._any(sample.modality))
        return self.tokenizers.decode(name, self.tokenizers.encode(name, sample))

    def generate(
        self,
        given: Given,
        target: str,
        sampling: Sampling = Sampling(),
        known: tuple[Sample | Sequence[Sample], Tensor | None] | None = None,
    ) -> Generated:
        """Samples of the target slot given others.

        A list of samples is a batch; a single sample serves every item. `known` fixes a part of the target:
        pictures with a mask `[H, W]` (True = keep), or texts that the answer starts with and None. Raises
        UserError for slots the model lacks and data that do not fit them.
        """
        started = time.perf_counter()
        slot = check_slot(target, self.config.fusion.slots)
        items, count = self._encode_given(given, known)
        fixed = self._fixed(target, known, count)
        sizes = self._given_sizes(target, slot, items, count)
        rows: list[list[Sample]] = []
        nfe = 0
        for at in range(0, count, max(1, ROWS // sampling.samples)):
            part = range(at, min(count, at + max(1, ROWS // sampling.samples)))
            prefix = self._prefix({name: [ids[i] for i in part] for name, ids in items.items()}, len(part))
            starts, shapes = [fixed[i] for i in part], [sizes[i] for i in part]
            ids, calls = self._sample(target, slot, prefix, starts, shapes, sampling, list(part))
            rows += [[self.tokenizers.decode(target, one) for one in answers] for answers in ids]
            nfe = max(nfe, calls)
        return Generated(target, rows, nfe, time.perf_counter() - started)

    def distribution(self, given: Given, target: str, temperature: float | None = None) -> list[dict[str, float]]:
        """Probability of every name of a label slot for each item, most probable first.

        At the `temperature` that was fitted for what is given (of several modalities, the least sure one's).
        """
        names, fitted = self.labels(target), self.config.fusion.slots[target].calibration
        if temperature is None:
            temperature = max((fitted.get(SlotName.parse(slot).modality, 1.0) for slot in given), default=1.0)
        items, count = self._encode_given(given, None)
        out = []
        for at in range(0, count, ROWS):
            part = {name: ids[at : at + ROWS] for name, ids in items.items()}
            log_p = slot_distribution(self.fusion, target, self._prefix(part, min(ROWS, count - at)))
            for row in (log_p / temperature).softmax(dim=-1).tolist():
                out.append(dict(sorted(zip(names, row, strict=True), key=lambda pair: -pair[1])))
        return out

    def likelihood(
        self,
        given: Given,
        target: Given,
        draws: int = 16,
        seed: int = 0,
    ) -> Likelihood:
        """Bound on -log2 p of one target slot, its length given, by `draws` masks for each item."""
        if len(target) != 1:
            raise UserError("likelihood takes one target slot")
        ((slot, value),) = target.items()
        wanted = as_sample(value)
        check_slot(slot, self.config.fusion.slots)
        items, count = self._encode_given({**given, slot: wanted}, None)
        answers = items.pop(slot)
        generator = torch.Generator().manual_seed(torch_seed(seed))
        nats, tokens = 0.0, 0
        for at in range(0, count, ROWS):
            part = {name: ids[at : at + ROWS] for name, ids in items.items()}
            ids, mask = stack_tokens(answers[at : at + ROWS])
            prefix = self._prefix(part, len(ids))
            bound = slot_negative_elbo(self.fusion, slot, self._move(ids, mask), prefix, draws, generator)
            nats += float(bound.sum())
            tokens += sum(one.numel() for one in answers[at : at + ROWS])
        bits = nats / float(torch.log(torch.tensor(2.0)))
        texts = [wanted] * count if isinstance(wanted, Sample) else list(wanted)
        characters = sum(len(one.data) for one in texts) if slot.startswith("text:") else 0
        return Likelihood(bits, tokens, bits / tokens, bits / characters if characters else None)

    def doubts(self, given: Given) -> tuple[str, ...]:
        """Lines for the user about given texts that are not among the names that the model was taught."""
        lines = []
        for slot, value in given.items():
            samples = as_sample(value)
            for one in [samples] if isinstance(samples, Sample) else samples:
                if one.modality == "text" and (line := self.taught.doubt(slot, one.data)):
                    lines.append(line)
        return tuple(dict.fromkeys(lines))

    def _encode_given(self, given: Mapping, known) -> tuple[dict[str, list[Tensor]], int]:
        given = {name: as_sample(value) for name, value in given.items()}
        sizes = {len(v) for v in given.values() if not isinstance(v, Sample)}
        if known is not None and not isinstance(known[0], Sample):
            sizes.add(len(known[0]))
        if len(sizes) > 1 or 0 in sizes:
            raise UserError(f"the given slots have {sorted(sizes)} items; give one each, or lists of one length")
        count = sizes.pop() if sizes else 1
        items = {}
        for name, value in given.items():
            check_slot(name, self.config.fusion.slots)
            if isinstance(value, Sample):
                items[name] = [self.tokenizers.encode(name, value)] * count
            else:
                items[name] = self.tokenizers.encode_many(name, list(value))
        return items, count

    def _fixed(self, target: str, known, count: int) -> list[tuple[Tensor, Tensor] | None]:
        """For each item the ids and the mask of tokens that are already known, or None."""
        if known is None:
            return [None] * count
        samples = [known[0]] * count if isinstance(known[0], Sample) else list(known[0])
        return [self.tokenizers.known(target, sample, known[1]) for sample in samples]

    def _given_sizes(self, target: str, slot: SlotConfig, items: dict[str, list[Tensor]], count: int):
        """Shape of each answer where it is known, from the slot or from a given view of the same signal; else None."""
        if not slot.variable:
            return [slot.shape] * count
        name = SlotName.parse(target)
        for other, ids in items.items():
            view = SlotName.parse(other)
            if (view.modality, view.language) == (name.modality, name.language):
                return [tuple(one.shape) for one in ids]
        return [None] * count

    def _prefix(self, items: dict[str, list[Tensor]], count: int):
        given = {name: self._move(*stack_tokens(ids)) for name, ids in items.items()}
        with torch.no_grad():
            return given_prefix(self.fusion, given, count)

    def _move(self, ids: Tensor, mask: Tensor | None) -> SlotTokens:
        return SlotTokens(ids.to(self.device), None if mask is None else mask.to(self.device))

    def _sample(self, target, slot, prefix, fixed, shapes, sampling, indices) -> tuple[list[list[Tensor]], int]:
        """Token grids `[item][k]`. Item i, sample k draws from its own generator, seeded by (seed, i, k)."""
        policy, k = sampling.policy(slot), sampling.samples
        generators = [
            torch.Generator().manual_seed(torch_seed(sampling.seed * 1_000_003 + index * 1009 + n))
            for index in indices
            for n in range(k)
        ]
        wide = prefix.repeat(k)
        starts = [one for one in fixed for _ in range(k)]
        predicted = shapes[0] is None
        if predicted:
            lengths, scores = self._lengths(target, slot, wide, policy, starts, generators)
        else:
            lengths, scores = [[one] for one in shapes for _ in range(k)], torch.zeros(len(generators), 1)
        candidates = len(lengths[0])
        if candidates > 1:
            wide = wide.repeat(candidates)
        rows = [(start, size) for start, sizes in zip(starts, lengths, strict=True) for size in sizes]
        ids, mask = stack_tokens([torch.zeros(size, dtype=torch.int64) for _, size in rows])
        hidden = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask.clone()
        for row, (start, size) in enumerate(rows):
            if start is not None:
                value, keep = start
                region = tuple(slice(0, min(a, b)) for a, b in zip(value.shape, size, strict=True))
                ids[row][region] = torch.where(keep[region], value[region], ids[row][region])
                hidden[row][region] &= ~keep[region]
        many = [g for g in generators for _ in range(candidates)]
        tokens = self._move(ids, mask)
        out = sample_slot(self.fusion, target, tokens, hidden.to(self.device), wide, policy, many)
        best = (out.log_probability.reshape(-1, candidates) + scores).argmax(dim=1)
        chosen = []
        for row, choice in enumerate(best.tolist()):
            flat = row * candidates + choice
            grid = out.ids[flat].cpu()
            chosen.append(grid[: rows[flat][1][0]] if slot.variable else grid)
        nfe = out.nfe + (1 if predicted else 0)
        return [chosen[i * k : (i + 1) * k] for i in range(len(indices))], nfe

    def _lengths(self, target, slot, prefix, policy, starts, generators) -> tuple[list[list[tuple[int]]], Tensor]:
        """Lengths in tokens to try for each row, and their log probabilities."""
        log_p = slot_distribution(self.fusion, length_slot(target), prefix).cpu()
        patch = patch_size(slot)
        limit = slot.shape[0] // patch
        log_p[:, limit:] = -torch.inf
        for row, start in enumerate(starts):
            if start is not None:
                least = min(-(-len(start[0]) // patch), limit)
                log_p[row, : least - 1] = -torch.inf
        log_p = log_p.log_softmax(dim=1)
        if policy.temperature == 0:
            scores, best = log_p.topk(LENGTHS_TRIED, dim=1)
        else:
            best = torch.stack(
                [torch.multinomial(row.exp(), 1, generator=g) for row, g in zip(log_p, generators, strict=True)]
            )
            scores = torch.zeros_like(best, dtype=torch.float64)
        return [[((int(one) + 1) * patch,) for one in row] for row in best], scores

    def _any(self, modality: str) -> str:
        for name in self.slots:
            if SlotName.parse(name).modality == modality:
                return name
        raise UserError(f"this model has no slot for {modality}; it has {', '.join(self.slots)}")


def as_sample(value: Any) -> Any:
    """What is given for a slot, one or several; a plain string is a text."""
    if isinstance(value, str):
        return Sample("text", value)
    if isinstance(value, Sample):
        return value
    if isinstance(value, Sequence):
        return [as_sample(one) for one in value]
    raise UserError(f"a slot is given a Sample, a string or a list of these, not {type(value).__name__}")
