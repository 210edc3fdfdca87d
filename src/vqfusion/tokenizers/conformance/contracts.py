"""The contracts of quantizers: functions that raise AssertionError with a message on how a contract is broken."""

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vqfusion.tokenizers.conformance.examples import call, example, grids, last, trained
from vqfusion.tokenizers.conformance.expectations import (
    expect,
    expect_finite,
    near,
    pulled_back,
    same_numbers,
    same_state,
)
from vqfusion.tokenizers.quantizers.base import Quantizer


class NotApplicable(Exception):
    """This quantizer does not promise the contract."""


def shapes(quantizer: Quantizer) -> None:
    """Output shapes and types, range of the indices, one finite loss."""
    for grid in grids(quantizer):
        x = example(quantizer, grid)
        quantized, indices, loss = out = call(quantizer, x)
        expect(
            last(quantizer, quantized).shape == x.shape, f"quantized is {tuple(quantized.shape)} for {tuple(x.shape)}"
        )
        expect(indices.shape == (2, *quantizer.index_shape(grid)), f"indices are {tuple(indices.shape)}")
        expect(indices.dtype == torch.int64, f"indices are {indices.dtype}")
        expect(0 <= int(indices.min()) <= int(indices.max()) < quantizer.codebook_size, "indices out of range")
        expect(loss.ndim == 0 and bool(loss.isfinite()), "the loss is not one finite number")
        expect(int(out.nonfinite) == 0, "finite vectors are counted as not finite")


def idempotence(quantizer: Quantizer) -> None:
    """Quantizing twice gives the same vectors as quantizing once."""
    if not quantizer.idempotent:
        raise NotApplicable("the search is greedy")
    for grid in grids(quantizer):
        once = call(quantizer, example(quantizer, grid))
        twice = quantizer(once.quantized.detach())
        near(twice.quantized, once.quantized, "quantizing twice is not quantizing once")


def round_trip(quantizer: Quantizer) -> None:
    """`indices_to_codes` gives the quantized vectors and `codes_to_indices` inverts it."""
    for grid in grids(quantizer):
        out = call(quantizer, example(quantizer, grid))
        codes = quantizer.indices_to_codes(out.indices)
        near(codes, out.quantized, "indices_to_codes(indices) is not what was quantized")
        if quantizer.idempotent:
            again = quantizer.indices_to_codes(quantizer.codes_to_indices(codes))
            near(again, codes, "codes_to_indices does not find the way back")


def layout(quantizer: Quantizer) -> None:
    """Channels first and vectors last give the same indices and vectors."""
    for grid in grids(quantizer):
        x = example(quantizer, grid)
        outs = []
        for quantizer.channel_first in (False, True):
            out = call(quantizer, x)
            outs.append((out.indices, last(quantizer, out.quantized)))
        expect(torch.equal(outs[0][0], outs[1][0]), "channels first gives other indices than vectors last")
        expect(torch.equal(outs[0][1], outs[1][1]), "channels first gives other vectors than vectors last")


def gradient(quantizer: Quantizer) -> None:
    """The straight-through gradient is that of `surrogate`."""
    if any(part.estimator != "ste" for part in quantizer.modules() if isinstance(part, Quantizer)):
        raise NotApplicable("its estimator is not straight through")
    for grid in grids(quantizer):
        x, weight = example(quantizer, grid), example(quantizer, grid, seed=1)
        actual = pulled_back(lambda z: last(quantizer, call(quantizer, z).quantized), x, weight)
        expected = pulled_back(quantizer.surrogate, x, weight)
        expect(torch.allclose(actual, expected, rtol=1e-4, atol=1e-6), "the gradient does not pass straight through")


def masks(quantizer: Quantizer) -> None:
    """Masking a vector has the same effect as cutting it off, in output, statistics and update."""
    for training in (False, True):
        for grid in grids(quantizer):
            _masked_is_cropped(quantizer.train(training), grid)


def _masked_is_cropped(quantizer: Quantizer, grid: tuple[int, ...]) -> None:
    x = example(quantizer, grid)
    junk = torch.where(torch.arange(quantizer.dim) % 2 == 0, 1e3, math.nan).expand(x.shape)
    padded = torch.cat([x, junk], dim=1)
    mask = (torch.arange(padded.shape[1]) < x.shape[1]).reshape(-1, *[1] * (x.ndim - 3)).expand(padded.shape[:-1])
    plain, masked, whole = (copy.deepcopy(quantizer) for _ in range(3))
    a, b, every = call(plain, x), call(masked, padded, mask), call(whole, x, torch.ones_like(x[..., 0]).bool())
    rows, where = a.indices.shape[1], f"in {'training' if quantizer.training else 'evaluation'} on a grid of {grid}"
    real, rest = last(quantizer, b.quantized).split([x.shape[1], x.shape[1]], dim=1)
    near(real, last(quantizer, a.quantized), f"masked is not cropped {where}")
    expect(torch.equal(a.indices, b.indices[:, :rows]), f"masked indices are not the cropped ones {where}")
    expect(not rest.any() and not b.indices[:, rows:].any(), f"masked vectors are not zero {where}")
    expect(int(b.nonfinite) == 0, f"masked vectors are counted as not finite {where}")
    same_numbers(a, b, f"masking is not cropping {where}")
    same_numbers(a, every, f"a mask that is all true is not no mask {where}")
    plain.update()
    masked.update()
    same_state(plain, masked, f"the update after a mask is not that after cropping {where}")


def nothing(quantizer: Quantizer) -> None:
    """Batches without a real vector: one that is fully masked, and one without items."""
    for training in (False, True):
        quantizer.train(training)
        for grid in grids(quantizer):
            x = example(quantizer, grid)
            out = call(quantizer, x, torch.zeros(x.shape[:-1], dtype=torch.bool))
            expect(not out.quantized.any() and not out.indices.any(), "masked vectors come back as something")
            expect(bool(out.loss.isfinite()), "the loss of no vector is not finite")
            empty = call(quantizer, x[:0])
            expect(empty.indices.shape == (0, *quantizer.index_shape(grid)), "a batch of none has another shape")


def poison(quantizer: Quantizer) -> None:
    """A vector with NaN, infinity or an overflow is counted and changes nothing else."""
    trained(quantizer)
    grid = grids(quantizer)[1]
    for bad in (math.nan, math.inf, 3e38):
        x = example(quantizer, grid)
        x.view(-1, quantizer.dim)[3, 0] = bad
        out = call(quantizer, x.requires_grad_())
        (out.loss + out.quantized.sum()).backward()
        quantizer.update()
        expect(int(out.nonfinite) == 1, f"one vector with {bad}, but {int(out.nonfinite)} are counted")
        expect(bool(out.quantized.isfinite().all()), f"a vector with {bad} comes out")
        expect(bool(out.loss.isfinite()), f"a vector with {bad} spoils the loss")
        expect(x.grad is not None and bool(x.grad.isfinite().all()), f"a vector with {bad} spoils the gradient")
        expect_finite(quantizer, f"a vector with {bad}")


def training(quantizer: Quantizer) -> None:
    """Gradients and state stay finite in training, also for vectors that equal their codes."""
    trained(quantizer)
    x = example(quantizer, grids(quantizer)[1]).requires_grad_()
    for codes in (x, last(quantizer, call(quantizer, x.detach()).quantized.detach()).requires_grad_()):
        out = call(quantizer, codes)
        (out.loss + out.quantized.square().sum()).backward()
        expect(codes.grad is not None and bool(codes.grad.isfinite().all()), "a gradient of training is not finite")
        expect_finite(quantizer, "training")


def one_update(quantizer: Quantizer) -> None:
    """The codebook moves once per update, also with accumulated batches and activation checkpointing."""
    trained(quantizer)
    x = example(quantizer, grids(quantizer)[1], batch=4)
    whole, parts, recomputed = (copy.deepcopy(quantizer) for _ in range(3))
    dropped = bool((call(whole, x).indices < 0).any())  # random, so other batches drop other codes
    call(parts, x[:1]), call(parts, x[1:])
    plain = pulled_back(lambda z: _outcome(copy.deepcopy(quantizer), z), x, torch.ones(()))
    again = pulled_back(lambda z: checkpoint(_outcome, recomputed, z, use_reentrant=False), x, torch.ones(()))
    expect(torch.allclose(again, plain, rtol=1e-4, atol=1e-6), "activation checkpointing changes the gradient")
    for one in (whole, parts, recomputed):
        one.update()
    if not dropped:
        same_state(whole, parts, "accumulated batches move the codebook differently from one batch")
    same_state(whole, recomputed, "activation checkpointing moves the codebook twice")
    before = copy.deepcopy(whole)
    whole.update()
    same_state(before, whole, "an update without new data moves something")


def _outcome(quantizer: Quantizer, x: Tensor) -> Tensor:
    """Scalar that depends on all outputs of training."""
    out = call(quantizer, x)
    return out.quantized.square().sum() + out.loss


def repeatability(quantizer: Quantizer) -> None:
    """Training does not draw from the global random generator."""
    trained(quantizer)
    x = example(quantizer, grids(quantizer)[1])
    torch.manual_seed(0)
    a = call(copy.deepcopy(quantizer), x)
    torch.manual_seed(1)
    b = call(copy.deepcopy(quantizer), x)
    expect(torch.equal(a.quantized, b.quantized), "training draws from the global generator")


def autocast(quantizer: Quantizer) -> None:
    """Autocast changes neither indices nor codes nor the type of the output."""
    x = example(quantizer, (64 * quantizer.downsampling,))
    plain = call(quantizer, x).indices
    with torch.autocast("cpu", torch.bfloat16):
        mixed = call(quantizer, x)
        codes = quantizer.indices_to_codes(plain)
    expect(torch.equal(plain, mixed.indices), "autocast changes indices")
    expect(mixed.quantized.dtype == x.dtype, f"autocast makes vectors of {x.dtype} into {mixed.quantized.dtype}")
    expect(torch.equal(codes, quantizer.indices_to_codes(plain)), "autocast changes the codes of indices")


def statistics(quantizer: Quantizer) -> None:
    """Perplexity and usage agree with a count of the indices."""
    out = call(quantizer, example(quantizer, grids(quantizer)[1], batch=8))
    perplexity, usage = [], []
    for indices in quantizer.by_codebook(out.indices):
        p = torch.bincount(indices.reshape(-1), minlength=quantizer.codebook_size) / indices.numel()
        perplexity.append(torch.special.entr(p).sum().exp())
        usage.append((p > 0).float().mean())
    expect(
        torch.allclose(out.perplexity, torch.stack(perplexity).mean(), rtol=1e-4),
        "perplexity is not that of the indices",
    )
    expect(torch.allclose(out.usage, torch.stack(usage).mean(), rtol=1e-4), "usage is not that of the indices")


def state(quantizer: Quantizer) -> None:
    """The `state_dict` holds the whole state."""
    x = example(quantizer, grids(quantizer)[1])
    other = trained(copy.deepcopy(quantizer)).eval()
    other.load_state_dict(quantizer.state_dict())
    expect(torch.equal(call(other, x).indices, call(quantizer, x).indices), "its state_dict is incomplete")


def exports(quantizer: Quantizer) -> None:
    """Evaluation compiles with `fullgraph=True` and exports with `torch.export`, with the same result."""
    x = example(quantizer, grids(quantizer)[1])
    x = x.movedim(-1, 1) if quantizer.channel_first else x
    expected, whole = quantizer(x), Evaluation(quantizer)
    torch.compiler.reset()  # the compiler stops compiling a function after a few variants
    for how, run in (
        ("torch.compile(fullgraph=True)", lambda: torch.compile(whole, backend="eager", fullgraph=True)(x)),
        ("torch.export", lambda: torch.export.export(whole, (x,)).module()(x)),
    ):
        try:
            quantized, indices = run()
        except Exception as error:
            raise AssertionError(f"{how} fails: {str(error).strip().splitlines()[0]}") from error
        expect(torch.equal(indices, expected.indices), f"{how} changes indices")
        near(quantized, expected.quantized, f"{how} changes vectors")


class Evaluation(nn.Module):
    """The part of a quantizer that evaluation needs: vectors and indices."""

    def __init__(self, quantizer: Quantizer):
        super().__init__()
        self.quantizer = quantizer

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Quantized vectors and indices of `x` in the layout of the quantizer, such as `[B, *grid, dim]`."""
        out = self.quantizer(x)
        return out.quantized, out.indices


CONTRACTS: dict[str, Callable[[Quantizer], None]] = {
    "shapes": shapes,
    "idempotence": idempotence,
    "round trip": round_trip,
    "layout": layout,
    "gradient": gradient,
    "masks": masks,
    "nothing": nothing,
    "poison": poison,
    "training": training,
    "one update": one_update,
    "repeatability": repeatability,
    "autocast": autocast,
    "statistics": statistics,
    "state": state,
    "exports": exports,
}
