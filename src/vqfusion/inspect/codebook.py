"""Health of codebooks: how many codes are used, how evenly, and the error of quantization."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vqfusion.errors import UserError
from vqfusion.tokenizers.base import BaseTokenizer
from vqfusion.tokenizers.codec.entropy_model import EntropyModel
from vqfusion.tokenizers.network import TokenizerNetwork
from vqfusion.tokenizers.quantizers import Quantizer
from vqfusion.types import Quantized, Sample


@dataclass(frozen=True)
class DepthHealth:
    """Health of one codebook, or of one depth, head or level of several.

    Entropy and perplexity are underestimated when fewer than some hundred codes are counted for each code of the
    codebook.

    Attributes:
        depth: Index of the codebook.
        usage: Fraction of codes that occur.
        perplexity: exp(entropy).
        entropy_bits: Entropy of the codes.
        dead: Codes that do not occur.
        quantization_error: Mean squared distance between latents and codes, relative to the variance of the latents: of
            this and all earlier depths, or of the part of the vector of this head or level; None for tokenizers of text
            and labels.
    """

    depth: int
    usage: float
    perplexity: float
    entropy_bits: float
    dead: tuple[int, ...]
    quantization_error: float | None = None


@dataclass(frozen=True)
class CodebookHealth:
    """Health of the codebooks of one tokenizer.

    Attributes:
        tokenizer: Name of the tokenizer.
        modality: Its modality.
        quantizer: Class of the quantizer.
        codebook_size: Number of codes.
        items: Samples that were encoded.
        codes: Codes that were counted.
        depths: Health of each codebook.
        counts: How often each code occurred, over all depths.
        coded_bits: Mean bits of a code with the entropy model of the tokenizer; None without one.
    """

    tokenizer: str
    modality: str
    quantizer: str
    codebook_size: int
    items: int
    codes: int
    depths: tuple[DepthHealth, ...]
    counts: Int[Tensor, " K"]
    coded_bits: float | None = None

    @property
    def efficiency(self) -> float:
        """Entropy / log2(codebook_size) over all depths: the fraction of the bits needed by a coder without context."""
        return sum(d.entropy_bits for d in self.depths) / len(self.depths) / max(math.log2(self.codebook_size), 1e-9)


def measure_codebook(
    name: str, tokenizer: BaseTokenizer, samples: Sequence[Sample], entropy_model: EntropyModel | None = None
) -> CodebookHealth:
    """Measure the health of the codebook of a tokenizer.

    Args:
        name: Name of the tokenizer.
        tokenizer: The tokenizer.
        samples: Samples of its modality.
        entropy_model: Its entropy model, if any.

    Returns:
        The measurements.

    Raises:
        UserError: There are no samples.
    """
    if not samples:
        raise UserError(f"no {tokenizer.modality} to measure tokenizer {name!r} on")
    size, spread = tokenizer.codebook_size, _Spread()
    quantizer = tokenizer.vqvae.quantizer if isinstance(tokenizer, TokenizerNetwork) else None
    grids, errors = [], []
    for sample in samples:
        with _watched(quantizer) as seen:
            grids.append(tokenizer.encode(tokenizer.fitted(sample)).ids.cpu())
        for latents, out in seen:
            assert quantizer is not None
            searched = quantizer.transform(latents.movedim(1, -1) if quantizer.channel_first else latents)
            spread.add(searched)
            errors.append(_squared_errors(searched, out, quantizer.channel_first))
    by_grid = [quantizer.by_codebook(grid) if quantizer is not None else [grid] for grid in grids]
    columns = [torch.cat([one.flatten() for one in depth]) for depth in zip(*by_grid, strict=True)]
    rows = torch.cat(columns)
    shares = (torch.stack(errors).sum(dim=0) / max(spread.total, 1e-12)).tolist() if errors else [None]
    health = [_depth(i, ids, size, share) for i, (ids, share) in enumerate(zip(columns, shares, strict=True))]
    coded = None
    if entropy_model is not None and all(grid.ndim == entropy_model.axes for grid in grids):
        coded = 8 * sum(len(entropy_model.encode(grid.numpy())) for grid in grids) / rows.numel()
    return CodebookHealth(
        tokenizer=name,
        modality=tokenizer.modality,
        quantizer=type(quantizer).__name__ if quantizer is not None else type(tokenizer).__name__,
        codebook_size=size,
        items=len(samples),
        codes=rows.numel(),
        depths=tuple(health),
        counts=torch.bincount(rows, minlength=size),
        coded_bits=coded,
    )


def _depth(depth: int, ids: Int[Tensor, " n"], size: int, error: float | None) -> DepthHealth:
    counts = torch.bincount(ids, minlength=size).double()
    shares = counts / counts.sum()
    nats = float(-torch.special.xlogy(shares, shares).sum())
    return DepthHealth(
        depth=depth,
        usage=float((counts > 0).double().mean()),
        perplexity=math.exp(nats),
        entropy_bits=nats / math.log(2),
        dead=tuple(torch.nonzero(counts == 0).flatten().tolist()),
        quantization_error=error,
    )


@contextmanager
def _watched(quantizer: Quantizer | None) -> Iterator[list[tuple[Tensor, Quantized]]]:
    """Context that collects inputs and outputs of a quantizer."""
    seen: list[tuple[Tensor, Quantized]] = []
    if quantizer is None:
        yield seen
        return
    handle = quantizer.register_forward_hook(lambda _, given, out: seen.append((given[0], out)))
    try:
        yield seen
    finally:
        handle.remove()


def _squared_errors(latents: Float[Tensor, "B ... D"], out: Quantized, channel_first: bool) -> Float[Tensor, " depths"]:
    """Sum of squared distances between transformed latents and codes, for each codebook."""
    if "quantization_error" in out.per_depth:
        return out.per_depth["quantization_error"].double().cpu() * latents.numel()
    quantized = out.quantized.movedim(1, -1) if channel_first else out.quantized
    return (quantized - latents).double().square().sum().cpu()[None]


class _Spread:
    """Sum of squared distances of all added latents from their mean."""

    def __init__(self) -> None:
        self.count, self.sums, self.squares = 0, torch.zeros(1, dtype=torch.float64), 0.0

    def add(self, latents: Float[Tensor, "B ... D"]) -> None:
        flat = latents.flatten(0, -2).double().cpu()
        self.count += len(flat)
        self.sums = self.sums + flat.sum(dim=0)
        self.squares += float(flat.square().sum())

    @property
    def total(self) -> float:
        return self.squares - float(self.sums.square().sum()) / max(1, self.count)
