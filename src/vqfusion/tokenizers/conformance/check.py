"""Conformance checks of quantizers and tokenizers, those of the package and your own."""

import copy
import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from vqfusion.modalities import MODALITIES
from vqfusion.tokenizers.conformance.contracts import CONTRACTS, NotApplicable
from vqfusion.tokenizers.conformance.expectations import expect
from vqfusion.tokenizers.quantizers import Quantizer
from vqfusion.types import Sample, Tokenizer


@dataclass(frozen=True)
class Report:
    """Result of a check.

    Attributes:
        name: Class of what was checked.
        codebook_size: Number of codes.
        bits: Bits of the indices: per vector for a quantizer, of the whole sample for a tokenizer.
        kept: Contracts that hold.
        skipped: Contracts that do not apply, with the reason.
    """

    name: str
    codebook_size: int
    bits: float
    kept: tuple[str, ...]
    skipped: dict[str, str] = field(default_factory=dict)


def check_quantizer(quantizer: Quantizer) -> Report:
    """Check every contract of `CONTRACTS` on copies of a quantizer, which takes seconds.

    The quantizer itself is not changed; it may be trained or untrained.

    Args:
        quantizer: The quantizer.

    Returns:
        Which contracts hold and which do not apply.

    Raises:
        AssertionError: One line that names the broken contract and how it broke.
    """
    name, kept, skipped = type(quantizer).__name__, [], {}
    for contract, check in CONTRACTS.items():
        try:
            check(copy.deepcopy(quantizer).eval())
        except NotApplicable as reason:
            skipped[contract] = str(reason)
        except AssertionError as error:
            raise AssertionError(f"{name} breaks the contract {contract!r}: {error}") from None
        else:
            kept.append(contract)
    shape = quantizer.index_shape((quantizer.downsampling,))
    bits = math.prod(shape) / quantizer.downsampling * math.log2(quantizer.codebook_size)
    return Report(name, quantizer.codebook_size, bits, tuple(kept), skipped)


def check_tokenizer(tokenizer: Tokenizer, sample: Sample | None = None) -> Report:
    """Check the contract of a tokenizer on one sample.

    Args:
        tokenizer: The tokenizer.
        sample: A sample of its modality; a synthetic one by default.

    Returns:
        What was checked.

    Raises:
        AssertionError: One line that says what broke the contract.
        ValueError: There is no synthetic sample for this modality.
    """
    name = type(tokenizer).__name__
    sample = sample or made_up(tokenizer)
    before = tokenizer.fingerprint()
    tokens = tokenizer.encode(sample)
    ids = tokens.ids
    expect(ids.dtype == torch.int64 and ids.numel() > 0, f"{name}: ids are {ids.dtype} of shape {tuple(ids.shape)}")
    expect(0 <= int(ids.min()) <= int(ids.max()) < tokenizer.codebook_size, f"{name}: ids out of range")
    expect(tokens.codebook_size == tokenizer.codebook_size, f"{name}: tokens carry another codebook_size")
    expect(tokens.modality == tokenizer.modality, f"{name}: tokens carry modality {tokens.modality!r}")
    expect(tokens.mask is None or tokens.mask.shape == ids.shape, f"{name}: the mask has another shape than the ids")
    expect(torch.equal(tokenizer.encode(sample).ids, ids), f"{name}: encoding twice gives other ids")
    back, again = tokenizer.decode(tokens), tokenizer.decode(replace(tokens, ids=ids.clone()))
    expect(back.modality == sample.modality, f"{name}: {sample.modality} comes back as {back.modality}")
    if isinstance(sample.data, Tensor):
        expect(torch.equal(again.data, back.data), f"{name}: decoding twice gives other data")
        expect(back.data.shape == sample.data.shape, f"{name}: data come back as {tuple(back.data.shape)}")
        expect(bool(back.data.isfinite().all()), f"{name}: decoded data are not finite")
        expect(back.sample_rate_hz == sample.sample_rate_hz, f"{name}: the sample rate changes")
        expect(tokenizer.encode(back).ids.shape == ids.shape, f"{name}: decoded data have ids of another shape")
    else:
        expect(again.data == back.data, f"{name}: decoding twice gives other data")
        expect(type(back.data) is type(sample.data), f"{name}: data come back as {type(back.data).__name__}")
    if not isinstance(tokenizer, nn.Module):  # networks may be lossy, vocabularies not
        expect(back.data == sample.data, f"{name}: {sample.data!r} comes back as {back.data!r}")
        expect(torch.equal(tokenizer.encode(back).ids, ids), f"{name}: ids do not survive decoding and encoding")
    expect(bool(before) and tokenizer.fingerprint() == before, f"{name}: encoding or decoding changes the fingerprint")
    bits = ids.numel() * math.log2(max(2, tokenizer.codebook_size))
    return Report(name, tokenizer.codebook_size, bits, ("ids", "repeatability", "round trip", "fingerprint"))


def made_up(tokenizer: Any) -> Sample:
    """Synthetic sample of the tokenizer's modality, of a size that needs no padding; ValueError where there is none."""
    generator = torch.Generator().manual_seed(0)
    kind = MODALITIES.get(tokenizer.modality)
    if kind and kind.in_words:
        return Sample(tokenizer.modality, "a red apple, ein roter Apfel, \u7ea2\u82f9\u679c")
    if getattr(tokenizer, "names", ()):
        return Sample(tokenizer.modality, tokenizer.names[0])
    if kind and kind.heard and hasattr(tokenizer, "samples_per_code"):
        sound = torch.rand(1, 10 * tokenizer.samples_per_code, generator=generator) - 0.5
        return Sample(tokenizer.modality, sound, sample_rate_hz=tokenizer.config.sample_rate_hz)
    if kind and kind.rank and hasattr(tokenizer, "vqvae"):
        vqvae = tokenizer.vqvae
        size = [(2 + i) * vqvae.downsampling for i in range(vqvae.config.rank)]
        return Sample(tokenizer.modality, torch.rand(vqvae.config.channels, *size, generator=generator))
    if kind and kind.pictured:
        return Sample(tokenizer.modality, torch.rand(3, 32, 48, generator=generator))
    raise ValueError(f"no synthetic sample of modality {tokenizer.modality!r}; pass one: check_tokenizer(t, sample)")
