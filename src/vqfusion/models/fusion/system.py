"""System: tokenizers and transformer together, from raw data to raw data."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.config import ChainConfig
from vqfusion.deprecated import OldMethod
from vqfusion.diffusion.noise import torch_seed
from vqfusion.errors import UserError
from vqfusion.modalities import MODALITIES, imported, in_words
from vqfusion.models.fusion.draws import draw_slot
from vqfusion.models.fusion.fusion import Fusion, SlotTokens
from vqfusion.models.fusion.generate import given_prefix, slot_distribution, slot_negative_elbo
from vqfusion.models.fusion.given import Given, Known, encode_given, encode_known, given_shapes, samples_of, stacked
from vqfusion.models.fusion.likelihood import Likelihood
from vqfusion.models.fusion.pieces import Pieces, cut_given
from vqfusion.models.fusion.pretrained import Parts, load_parts, save_parts
from vqfusion.models.fusion.slot_tokenizers import SlotTokenizers
from vqfusion.models.fusion.slots import SlotName, asked_slot, calibrated, check_slot, stack_tokens
from vqfusion.models.fusion.taught import Taught
from vqfusion.models.sampling import Distribution, Generated, Sampling
from vqfusion.nn.pretrained import Pretrained, Stored
from vqfusion.tokenizers.familiarity import UNLIKE
from vqfusion.types import Sample
from vqfusion.watch import told

ROWS = 64  # batch size


class System(Pretrained):
    """Tokenizers and a transformer over slots, which generate, classify and score any slot given others.

    `generate`, `distribution` and `likelihood` take a mapping from slot names to samples.

    Args:
        config: Config of the chain.
        tokenizers: Its tokenizers.
        fusion: Its transformer; None where the chain has tokenizers only, for encoding, decoding and inspection.
        taught: The names that it was trained on, where the texts were names.
    """

    kind = "system"
    config_type = ChainConfig

    def __init__(
        self, config: ChainConfig, tokenizers: SlotTokenizers, fusion: Fusion | None, taught: Taught | None = None
    ):
        self.config = config
        self.tokenizers = tokenizers
        self.taught = taught or Taught()
        self._fusion = fusion.eval() if fusion is not None else None

    @property
    def networks(self) -> tuple[torch.nn.Module, ...]:
        """The transformer, and the tokenizers that are networks."""
        made = (self._fusion, *self.tokenizers.by_name.values())
        return tuple(one for one in made if isinstance(one, torch.nn.Module))

    @property
    def parts(self) -> Parts:
        """Parts of the system."""
        return Parts(self.config, self.tokenizers, self._fusion, self.taught)

    def write_parts(self, folder: Path) -> dict[str, Any]:
        return save_parts(self.parts, folder)

    @classmethod
    def read_parts(cls, stored: Stored, device: torch.device) -> Any:
        parts = load_parts(stored, device)
        return cls(parts.config, parts.tokenizers, parts.fusion, parts.taught)

    @property
    def fusion(self) -> Fusion:
        """The transformer; UserError where the system has none."""
        if self._fusion is None:
            raise UserError(f"model {self.config.name!r} has tokenizers only: use it with encode, decode and inspect")
        return self._fusion

    @property
    def slots(self) -> tuple[str, ...]:
        """Slots that can be given or generated."""
        return tuple(name for name, slot in self.config.fusion.slots.items() if not slot.is_length)

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages of the text slots."""
        return tuple(name.split(":")[1] for name in self.slots if name.startswith("text:"))

    @property
    def image_size(self) -> int:
        """Width and height of pictures in pixels."""
        return self.config.image_size

    @property
    def sample_rate_hz(self) -> int:
        """Sample rate of generated sound; UserError where the system has no sound."""
        return self.tokenizers.sample_rate_hz

    @property
    def device(self) -> torch.device:
        """Device of the networks."""
        if self._fusion is not None:
            return self._fusion.sink.device
        networks = [one for one in self.tokenizers.by_name.values() if isinstance(one, torch.nn.Module)]
        return next(networks[0].parameters()).device if networks else torch.device("cpu")

    def labels(self, slot: str) -> list[str]:
        """Names of a label slot (`label`, `speaker`, `style`)."""
        return self.tokenizers.names(check_slot(slot, self.config.fusion.slots).tokenizer)

    def reconstruct(self, sample: Sample, slot: str | None = None) -> Sample:
        """Encode and decode with the tokenizer alone: the upper limit of the quality of generated samples."""
        name = slot or (sample.modality if sample.modality in self.config.fusion.slots else self._any(sample.modality))
        return self.tokenizers.decode(name, self.tokenizers.encode(name, sample))

    def generate(
        self,
        given: Given,
        target: str,
        sampling: Sampling | None = None,
        known: Known | None = None,
    ) -> Generated:
        """Draw samples of the target slot given others.

        Args:
            given: Samples by slot: one that serves all items, or a list with one for each item.
            target: Slot to sample.
            sampling: Sampling settings.
            known: Known part of the target: pictures with a mask `[H, W]` (True = keep), or texts that the result
                starts with, and None.

        Returns:
            The samples.

        Raises:
            UserError: The model lacks a slot, or data do not fit it.
        """
        started, sampling = time.perf_counter(), sampling or Sampling()
        slot = asked_slot(target, self.config)
        if known is None and (pieces := cut_given(self.tokenizers, given)) is not None:
            return self._generate_pieces(pieces, target, sampling)
        items, count = encode_given(self.tokenizers, given, known)
        fixed = encode_known(self.tokenizers, target, known, count)
        sizes = given_shapes(target, slot, items, count)
        rows: list[list[Sample]] = []
        nfe = 0
        for at in told(range(0, count, max(1, ROWS // sampling.samples))):
            part = range(at, min(count, at + max(1, ROWS // sampling.samples)))
            prefix = self._prefix({name: [ids[i] for i in part] for name, ids in items.items()}, len(part))
            starts, shapes = [fixed[i] for i in part], [sizes[i] for i in part]
            drawn, calls = draw_slot(self.fusion, target, prefix, starts, shapes, sampling, part)
            rows += [[self.tokenizers.decode(target, one.ids) for one in answers] for answers in drawn]
            nfe = max(nfe, calls)
        return Generated(target, rows, nfe, time.perf_counter() - started)

    def _generate_pieces(self, pieces: Pieces, target: str, sampling: Sampling) -> Generated:
        """Answers to the pieces of each item, joined; for a target that cannot be joined, to the first pieces."""
        tokenizer, count = self.tokenizers[target], len(pieces.counts)
        if not tokenizer.joins:
            many = sum(one > 1 for one in pieces.counts)
            which = "the input is" if count == 1 else f"{many} of {count} inputs are"
            line = f"{which} longer than this model takes at once: the answer is about the beginning"
            return replace(self.generate(pieces.first().given, target, sampling), warnings=(line,))
        made = self.generate(pieces.given, target, pieces.sampling(sampling))
        rows = [zip(*answers, strict=True) for answers in pieces.of_items(made.samples)]
        return replace(made, samples=[[tokenizer.joined(answers) for answers in row] for row in rows])

    def distribution(self, given: Given, target: str, temperature: float | None = None) -> list[Distribution]:
        """Probability of each name of a label slot for each item, most probable first.

        Args:
            given: Samples by slot, as in `generate`.
            target: Label slot.
            temperature: By default the one calibrated for the given modality; of several, the largest.

        Returns:
            Probabilities by name, for each item. Those of an item that is longer than its slot are the logarithmic
            opinion pool of its pieces (Genest, Zidek, 1986): the weighted mean of their log probabilities, normalised.
        """
        names = self.labels(target)
        if temperature is None:
            temperature = calibrated(self.config.fusion.slots[target], given)
        pieces = cut_given(self.tokenizers, given)
        items, count = encode_given(self.tokenizers, pieces.given if pieces else given, None)
        rows = []
        for at in told(range(0, count, ROWS)):
            part = {name: ids[at : at + ROWS] for name, ids in items.items()}
            rows.append(slot_distribution(self.fusion, target, self._prefix(part, min(ROWS, count - at))).cpu())
        log_p = torch.cat(rows) / temperature
        if pieces:
            log_p = pieces.joined_rows(log_p.log_softmax(dim=-1))
        return [
            Distribution(sorted(zip(names, row, strict=True), key=lambda pair: -pair[1]))
            for row in log_p.softmax(dim=-1).tolist()
        ]

    @torch.no_grad()
    def embed(self, given: Given) -> Float[Tensor, "B D"]:
        """One vector for each item: the mean over its tokens of what the last layer passes on, of unit length.

        Args:
            given: Samples by slot, as in `generate`.

        Returns:
            The vectors; the cosine of the angle between two says how alike the items are to the model.
        """
        pieces = cut_given(self.tokenizers, given)
        items, count = encode_given(self.tokenizers, pieces.given if pieces else given, None)
        rows = []
        for i in told(range(count)):  # one by one, so that no item depends on the padding of others
            values = self._prefix({name: [ids[i]] for name, ids in items.items()}, 1).values[-1]
            rows.append(values[0, :, 1:].mean(dim=1).flatten())
        vectors = torch.stack(rows).float().cpu()
        return torch.nn.functional.normalize(pieces.joined_rows(vectors) if pieces else vectors, dim=1)

    def likelihood(
        self,
        given: Given,
        target: Given,
        draws: int = 16,
        seed: int = 0,
    ) -> Likelihood:
        """Upper bound on -log2 p(target | given), with the length of the target given.

        A target that is longer than its slot, without anything given, is the sum of its pieces.

        Args:
            given: Samples by slot, as in `generate`.
            target: One slot with its samples.
            draws: Random masks for each item.
            seed: Random seed.

        Returns:
            The bound in bits.
        """
        if len(target) != 1:
            raise UserError("likelihood takes one target slot")
        ((slot, value),) = target.items()
        wanted = samples_of(slot, value)
        check_slot(slot, self.config.fusion.slots)
        if not given and (pieces := cut_given(self.tokenizers, {slot: wanted})) is not None:
            wanted = pieces.given[slot]
        answers = self.tokenizers.encode_many(slot, [wanted] if isinstance(wanted, Sample) else list(wanted))
        items, count = encode_given(self.tokenizers, given, (wanted, None))
        answers *= count // len(answers)
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
        return Likelihood.of(bits, tokens, [one.data for one in texts] if slot.startswith("text:") else [])

    def evaluate(self, data: Any = None, split: str = "test", limit: int | None = None) -> list[Any]:
        """Score every task on records that it did not learn from, as `vqfusion.fitting.evaluate` does."""
        found: list[Any] = imported("vqfusion.fitting:evaluate")(self, data, split, limit=limit)
        return found

    def warnings(self, given: Given) -> tuple[str, ...]:
        """Warnings for the user about given texts, pictures and sounds that are unlike those that it was trained on."""
        lines: list[str] = []
        for slot, value in given.items():
            samples = samples_of(slot, value)
            many = [samples] if isinstance(samples, Sample) else list(samples)
            for one in many:
                if in_words(one.modality) and (line := self.taught.warning(slot, one.data)):
                    lines.append(line)
            unlike = sum(self.tokenizers.is_unfamiliar(slot, one) for one in many)
            if unlike:
                kind = MODALITIES[many[0].modality]
                which = f"the {kind.bare} is" if len(many) == 1 else f"{unlike} of {len(many)} {kind.plural} are"
                lines.append(f"{which} {UNLIKE}, so the answer is a guess")
        return tuple(dict.fromkeys(lines))

    doubts = OldMethod("warnings")

    def _prefix(self, items: dict[str, list[Tensor]], count: int):
        given = {name: stacked(values).to(self.device) for name, values in items.items()}
        with torch.no_grad():
            return given_prefix(self.fusion, given, count)

    def _move(self, ids: Tensor, mask: Tensor | None) -> SlotTokens:
        return SlotTokens(ids.to(self.device), None if mask is None else mask.to(self.device))

    def _any(self, modality: str) -> str:
        for name in self.slots:
            if SlotName.parse(name).modality == modality:
                return name
        raise UserError(f"this model has no slot for {modality}; it has {', '.join(self.slots)}")
