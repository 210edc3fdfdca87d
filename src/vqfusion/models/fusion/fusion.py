"""Fusion: one masked-diffusion transformer over slots; which are given, target or absent defines the task."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from vqfusion.config import FusionConfig
from vqfusion.diffusion.masked.path import MaskedPath, sampler_density
from vqfusion.models.fusion.batch import FusionBatch, GivenSlot, SlotFrames, SlotTokens
from vqfusion.models.fusion.packing import Part, pack
from vqfusion.models.fusion.slots import coordinates, patch_size, patchify, unpatchify
from vqfusion.nn.frames import FrameStem
from vqfusion.nn.local import LocalLayers
from vqfusion.nn.packed import packed_states
from vqfusion.nn.transformer import PrefixCache, Transformer


@dataclass(frozen=True)
class _Sequence:
    """A slot as input of the transformer: position states; and its tokens one by one, for the head."""

    x: Float[Tensor, "B L dim"]
    positions: Float[Tensor, "L 3"]
    mask: Bool[Tensor, "B L"] | None
    tokens: Float[Tensor, "B ... width"] | None = None
    token_mask: Bool[Tensor, "B ..."] | None = None


class Fusion(nn.Module):
    """Transformer over slots: tokens of given and target slots in, logits of the hidden tokens out.

    One embedding with tied head for each vocabulary, one embedding for each slot, rotary positions from 0 within each
    slot, and learned ones beside them where the config has a table. Where several tokens share a position,
    `local_layers` convolutions over the tokens precede the transformer and follow it, added to its output, so that it
    need not model neighbouring tokens. Given tokens attend only to given ones, so that `prefix` is computed once and
    `logits` is exact with it. There is no time input; masked diffusion needs none (Ou et al., 2024, "RADD").

    Args:
        config: Shape of the transformer, and the slots.
        vocabularies: Number of ids of each tokenizer; the id after the last stands for a hidden token.
        codebooks: Code vectors `[codebook_size, D]` of tokenizers. Embeddings are initialised from them, so that
            similar codes have similar embeddings from the start.
    """

    def __init__(
        self, config: FusionConfig, vocabularies: Mapping[str, int], codebooks: Mapping[str, Tensor] | None = None
    ):
        super().__init__()
        self.config = config
        self.vocabularies = dict(vocabularies)
        self.transformer = Transformer(config.dim, config.layers, config.heads, config.dropout)
        self.slot_embedding = nn.Embedding(len(config.slots), config.dim)
        self.slot_ids = {name: i for i, name in enumerate(config.slots)}
        self.sink = nn.Parameter(torch.randn(1, 1, config.dim) * 0.02)
        self.embeddings, self.inputs, self.heads = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        self.local_in, self.local_out = nn.ModuleDict(), nn.ModuleDict()
        self.places, self.stems = nn.ParameterDict(), nn.ModuleDict()
        patches = {slot.tokenizer: slot.patch for slot in config.slots.values()}
        for tokenizer, sides in patches.items():
            patch, key = math.prod(sides), module_key(tokenizer)
            width = max(config.dim // patch, config.token_dim)
            self.embeddings[key] = nn.Embedding(vocabularies[tokenizer] + 1, width)
            nn.init.normal_(self.embeddings[key].weight, std=width**-0.5)
            if codebooks and tokenizer in codebooks:
                _start_from_codes(self.embeddings[key].weight, codebooks[tokenizer])
            self.inputs[key] = nn.Linear(patch * width, config.dim)
            self.heads[key] = nn.Linear(config.dim, patch * width)
            depth = config.local_layers if patch > 1 else 0
            self.local_in[key] = LocalLayers(len(sides), width, depth)
            self.local_out[key] = LocalLayers(len(sides), width, depth)
        for name, slot in config.slots.items():
            if slot.features:
                self.stems[module_key(name)] = FrameStem(slot.features, config.dim, patch_size(slot))
            if not config.has_table(slot):
                continue
            count = len(coordinates(slot.shape, slot.patch))
            self.places[module_key(name)] = nn.Parameter(torch.randn(count, config.dim) * 0.02)
        nn.init.normal_(self.slot_embedding.weight, std=0.02)

    def prefix(self, given: Mapping[str, GivenSlot], batch: int) -> PrefixCache:
        """Keys and values of the given slots and of a learned start token, for `batch` items."""
        parts = [self._embed_given(name, one) for name, one in given.items()]
        start = self.sink.expand(batch, -1, -1)
        x = torch.cat([start, *[p.x for p in parts]], dim=1)
        positions = torch.cat([start.new_zeros(1, 3), *[p.positions for p in parts]])
        mask = None
        if any(p.mask is not None for p in parts):
            real = [
                torch.ones(p.x.shape[:2], dtype=torch.bool, device=x.device) if p.mask is None else p.mask
                for p in parts
            ]
            mask = torch.cat([torch.ones(batch, 1, dtype=torch.bool, device=x.device), *real], dim=1)
        return self.transformer.prefix(x, positions, mask)

    def logits(
        self,
        target: Mapping[str, SlotTokens],
        hidden: Mapping[str, Bool[Tensor, "B ..."]],
        prefix: PrefixCache,
    ) -> dict[str, Float[Tensor, "B L p K"]]:
        """Logits of all target tokens, for each slot `[B, positions, tokens of a patch, codebook_size]`."""
        parts = {name: self._embed(name, tokens, hidden[name]) for name, tokens in target.items()}
        sizes = [p.x.shape[1] for p in parts.values()]
        x = torch.cat([p.x for p in parts.values()], dim=1)
        positions = torch.cat([p.positions for p in parts.values()])
        mask = None
        if any(p.mask is not None for p in parts.values()):
            mask = torch.cat(
                [torch.ones_like(p.x[..., 0], dtype=torch.bool) if p.mask is None else p.mask for p in parts.values()],
                dim=1,
            )
        states = self.transformer(x, positions, mask, prefix).split(sizes, dim=1)
        return {name: self._head(name, state, parts[name]) for name, state in zip(parts, states, strict=True)}

    def loss(self, batches: list[FusionBatch]) -> tuple[Tensor, dict[str, Tensor]]:
        """Weighted cross-entropy of the hidden tokens, averaged over the examples of all draws.

        For each target slot of an example: the sum over its hidden tokens, weighted by 1 / (t + (1 - t) / 5), divided
        by its number of real tokens; then the mean over target slots, weighted by their coefficients. The report has
        the negative ELBO of each draw in bits per token (weight 1 / t over uniform times, estimated at
        `sampler_times`), from the examples that were not hidden completely; where all were, it has their cross-entropy.
        """
        total, examples = torch.zeros((), device=self.sink.device), 0
        report: dict[str, Tensor] = {}
        path = MaskedPath()
        packed = self.config.packed and not self.config.local_layers
        every = self._packed_logits(batches) if packed else self._padded_logits(batches)
        for batch, logits in zip(batches, every, strict=True):
            size = len(batch.t)
            weight = path.training_weight(batch.t)
            coefficients = sum(self.config.slots[name].coefficient for name in batch.target)
            for name, tokens in batch.target.items():
                slot = self.config.slots[name]
                ids = patchify(tokens.ids, slot.patch)
                counted = patchify(batch.hidden[name], slot.patch)
                nll = torch.zeros_like(ids, dtype=torch.float32)
                nll[counted] = F.cross_entropy(logits[name].float(), ids[counted], reduction="none")
                real = tokens.ids[0].numel() if tokens.mask is None else tokens.mask.flatten(1).sum(1)
                mean = learned = nll.flatten(1).sum(1) / real
                if self.training and self.config.label_smoothing:
                    even = torch.zeros_like(nll)
                    even[counted] = -logits[name].float().log_softmax(dim=-1).mean(dim=-1)
                    learned = mean.lerp(even.flatten(1).sum(1) / real, self.config.label_smoothing)
                total = total + (learned * weight).sum() * slot.coefficient / coefficients
                bits = _elbo_bits(mean.detach(), batch.t, path)
                report[f"bits/{batch.name or 'draw'}/{name}"] = bits
            examples += size
        return total / examples, report

    def _padded_logits(self, batches: list[FusionBatch]) -> Iterator[dict[str, Float[Tensor, "C K"]]]:
        """Logits of the hidden tokens of each batch, one batch after another."""
        prefix = None
        for batch in batches:
            if self.training and self.config.dropout:
                torch.manual_seed(batch.seed)
            if prefix is None or not batch.same_given:
                prefix = self.prefix(batch.given, len(batch.t) // batch.repeats)
            logits = self.logits(batch.target, batch.hidden, prefix.repeat(batch.repeats))
            yield {
                name: logits[name][patchify(hidden, self.config.slots[name].patch)]
                for name, hidden in batch.hidden.items()
            }

    def _packed_logits(self, batches: list[FusionBatch]) -> list[dict[str, Float[Tensor, "C K"]]]:
        """Logits of the hidden tokens of each batch, all in one pass over packed rows."""
        if self.training and self.config.dropout:
            torch.manual_seed(batches[0].seed)
        parts: list[Part] = []
        asked: list[tuple[int, int, str, Tensor]] = []  # part, batch, slot, and which tokens of it
        first = role = 0
        segments = torch.arange(0)
        for number, batch in enumerate(batches):
            if number == 0 or not batch.same_given:
                first, role = first + len(segments), 0
                segments = torch.arange(len(batch.t) // batch.repeats, device=self.sink.device)
                given = [_Sequence(self.sink.expand(len(segments), -1, -1), self.sink.new_zeros(1, 3), None)]
                given += [self._embed_given(name, one) for name, one in batch.given.items()]
                none = torch.zeros_like(segments)
                parts += [Part(one.x, one.positions, one.mask, first + segments, none) for one in given]
            owner = first + segments.repeat_interleave(batch.repeats)
            roles = role + 1 + torch.arange(batch.repeats, device=owner.device).repeat(len(segments))
            role += batch.repeats
            for name, tokens in batch.target.items():
                one = self._embed(name, tokens, batch.hidden[name])
                asked.append((len(parts), number, name, patchify(batch.hidden[name], self.config.slots[name].patch)))
                parts.append(Part(one.x, one.positions, one.mask, owner, roles))
        rows = pack(parts)
        chosen = [rows.places[part][hidden.any(dim=-1)] for part, _, _, hidden in asked]
        states = packed_states(self.transformer, rows.x, rows.positions, rows.allowed, torch.cat(chosen))
        out: list[dict[str, Tensor]] = [{} for _ in batches]
        each = states.split([len(one) for one in chosen])
        for (_, number, name, hidden), state in zip(asked, each, strict=True):
            slot = self.config.slots[name]
            key = module_key(slot.tokenizer)
            tokens = self.heads[key](state).unflatten(-1, (patch_size(slot), -1))[hidden[hidden.any(dim=-1)]]
            embedding = self.embeddings[key]
            assert isinstance(embedding, nn.Embedding)
            out[number][name] = F.linear(tokens, embedding.weight[:-1])
        return out

    def _embed_given(self, name: str, given: GivenSlot) -> _Sequence:
        return self._embed(name, given, None) if isinstance(given, SlotTokens) else self._embed_frames(name, given)

    def _embed(self, name: str, tokens: SlotTokens, hidden: Tensor | None) -> _Sequence:
        slot = self.config.slots[name]
        key = module_key(slot.tokenizer)
        sizes = tuple(tokens.ids.shape[1:])
        tabled = self.config.has_table(slot)
        if tabled and any(n > most for n, most in zip(sizes, slot.shape, strict=True)):
            raise ValueError(f"slot {name} holds at most {slot.shape} tokens, not {sizes}")
        blank = self.vocabularies[slot.tokenizer]
        ids = tokens.ids if hidden is None else tokens.ids.masked_fill(hidden, blank)
        mask = None
        if tokens.mask is not None:
            ids = ids.masked_fill(~tokens.mask, blank)
            mask = patchify(tokens.mask, slot.patch).any(dim=-1)
        grid = self.local_in[key](self.embeddings[key](ids), tokens.mask)
        x = self.inputs[key](patchify(grid, slot.patch).flatten(2))
        places = coordinates(sizes, slot.patch).to(x.device)
        if tabled:
            strides = coordinates(slot.shape, slot.patch).to(x.device)[-1] + 1
            rows = (places[:, 0] * strides[1] + places[:, 1]) * strides[2] + places[:, 2]
            x = x + self.places[module_key(name)][rows.long()]
        x = x + self.slot_embedding.weight[self.slot_ids[name]]
        return _Sequence(x, places, mask, grid, tokens.mask)

    def _embed_frames(self, name: str, given: SlotFrames) -> _Sequence:
        slot = self.config.slots[name]
        x = self.stems[module_key(name)](given.frames, given.mask)
        mask = None if given.mask is None else patchify(given.mask, slot.patch).any(dim=-1)
        places = coordinates((given.frames.shape[1],), slot.patch).to(x.device)
        return _Sequence(x + self.slot_embedding.weight[self.slot_ids[name]], places, mask)

    def _head(self, name: str, states: Float[Tensor, "B L dim"], part: _Sequence) -> Float[Tensor, "B L p K"]:
        slot = self.config.slots[name]
        key, patch = module_key(slot.tokenizer), patch_size(slot)
        out = self.heads[key](states).unflatten(-1, (patch, -1))
        if len(self.local_out[key].blocks) and part.tokens is not None:
            grid = part.tokens + unpatchify(out, part.tokens.shape[1:-1], slot.patch)
            out = patchify(self.local_out[key](grid, part.token_mask), slot.patch)
        embedding = self.embeddings[key]
        assert isinstance(embedding, nn.Embedding)
        return F.linear(out, embedding.weight[:-1])


def _elbo_bits(nll: Float[Tensor, " B"], t: Float[Tensor, " B"], path: MaskedPath) -> Tensor:
    """Negative ELBO in bits per token, from the cross-entropy of hidden tokens per token at `sampler_times`."""
    drawn = t < 1
    nats = nll[drawn] * path.elbo_weight(t[drawn]) / sampler_density(t[drawn]) if drawn.any() else nll
    return nats.mean() / math.log(2.0)


@torch.no_grad()
def _start_from_codes(embedding: Float[Tensor, "K1 width"], codes: Float[Tensor, "K D"]) -> None:
    """Set embeddings to a random projection of the standardised code vectors plus a third of their initial noise."""
    codes = (codes - codes.mean(dim=0)) / codes.std(dim=0).clamp(min=1e-6)
    projection = torch.randn(codes.shape[1], embedding.shape[1]) * (codes.shape[1] * embedding.shape[1]) ** -0.5
    embedding[: len(codes)] = codes @ projection + embedding[: len(codes)] / 3


def module_key(name: str) -> str:
    """Name of a slot or tokenizer as the name of a submodule."""
    return name.replace(":", "__").replace("@", "_at_").replace(".", "_")
