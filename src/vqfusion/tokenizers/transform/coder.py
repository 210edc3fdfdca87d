"""Entropy coder of quantized latents: the context model in integers, and a range coder."""

import math
from bisect import bisect_right
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vqfusion.tokenizers.codec.entropy_model import EXP2, fronts
from vqfusion.tokenizers.codec.range_coder import RangeDecoder, RangeEncoder
from vqfusion.tokenizers.transform.context import CAUSAL, CENTRE, HALF_RANGE, ContextModel, Group
from vqfusion.tokenizers.transform.logistic import (
    FRACTIONS,
    LEAST,
    PER_UNIT,
    SCALES,
    TOTAL,
    WINDOW,
    central_cost,
    intervals,
    rows,
)

POINT = 12  # binary places of weights and activations
FEATURE_POINT = 6  # binary places of log2(1 + |q|)
MOST = 255  # largest absolute value of a latent
SURE = 80  # latents that cost less than this, in 1/4096 bit, share one flag at each position of a group
PER_OCTAVE = 8  # quantization steps are 2^(k / PER_OCTAVE), in grey levels
POSITIONS = 4096  # positions whose hidden layer is computed at once
FLAG_TOTAL = int(EXP2[0]) + 1


class LatentCoder:
    """Quantized latents `[h, w, D]` to bytes and back, with the probabilities of a `ContextModel`.

    All weights are rounded to 12 binary places and all sums are of integers, exact in float64 in any order, so that
    encoder and decoder agree to the last bit on every machine.
    """

    def __init__(self, model: ContextModel):
        self.groups = [FixedGroup(group) for group in model.groups]

    def bits(self, q: Int[np.ndarray, "h w D"], step: int) -> float:
        """Length of the code in bits, without coding; `step` is in 1/8 octaves of a grey level."""
        bits = 0.0
        for part in self._parts(q, step):
            bits += float(np.log2(part.total / part.size).sum()) + math.log2(2 * MOST) * int((part.beyond >= 0).sum())
        return bits

    def encode(self, q: Int[np.ndarray, "h w D"], step: int) -> bytes:
        """Code of latents; `step` is in 1/8 octaves of a grey level."""
        coder = RangeEncoder()
        for part in self._parts(q, step):
            listed = (one.tolist() for one in (part.start, part.size, part.total, part.beyond))
            for start, size, total, beyond in zip(*listed, strict=True):
                coder.encode(start, size, total)
                if beyond >= 0:
                    coder.encode(beyond, 1, MOST * 2)
        return coder.finish()

    def decode(self, data: bytes, shape: tuple[int, ...], step: int) -> Int[np.ndarray, "h w D"]:
        """Latents of a code; inverse of `encode`."""
        coder = RangeDecoder(data)
        q = np.zeros(shape, np.int64)
        for group in self.groups:
            group.decode(coder, q, step)
        return q

    def _parts(self, q: Int[np.ndarray, "h w D"], step: int) -> "Iterator[Part]":
        for group in self.groups:
            yield group.part(q, step)


class Part:
    """Intervals `[start, start + size)` of `total` in coding order; `beyond` is what follows an escape, or -1."""

    def __init__(self, start: np.ndarray, size: np.ndarray, total: np.ndarray, beyond: np.ndarray):
        self.start, self.size, self.total, self.beyond = start, size, total, beyond


class FixedGroup:
    """A group of the context model in integers."""

    def __init__(self, group: Group):
        def fixed(tensor: Tensor, point: int = POINT) -> Float[np.ndarray, "..."]:
            return np.rint(tensor.detach().cpu().double().numpy() * 2.0**point)

        self.before, self.size = group.before, group.size
        known = self.before + self.size
        kernel = fixed(group.enter.weight * group.mask).transpose(2, 3, 1, 0)  # [3, 3, 2 known, hidden]
        signed, unsigned = kernel[:, :, :known], kernel[:, :, known:]
        self.earlier = np.concatenate([signed[:, :, : self.before], unsigned[:, :, : self.before]], axis=2)
        self.own = np.concatenate([signed[:, :, self.before :], unsigned[:, :, self.before :]], axis=2)
        self.enter_bias = fixed(group.enter.bias, POINT + FEATURE_POINT)
        self.of_step = fixed(group.of_step.weight, FEATURE_POINT).T
        self.middle = fixed(group.middle.weight)[:, :, 0, 0].T, fixed(group.middle.bias, 2 * POINT)
        self.leave = fixed(group.leave.weight)[:, :, 0, 0].T, fixed(group.leave.bias, 2 * POINT)
        self.linear = fixed(group.linear * group.causal, 2 * POINT)[:, 0].transpose(1, 2, 0)  # [3, 3, size]
        self.prior = fixed(group.prior.weight).T, fixed(group.prior.bias, 2 * POINT)
        self.offsets = [(i, j) for i in range(3) for j in range(3) if CAUSAL[i, j]]

    def part(self, q: Int[np.ndarray, "h w D"], step: int) -> Part:
        """Intervals of all latents of the group."""
        shape = q.shape[:2]
        order = np.concatenate([np.ravel_multi_index(places, shape) for places in fronts(shape)])
        padded, hidden = self._padded(q), self._from_earlier(q, step)
        around = [[part.reshape(-1, part.shape[2]) for part in self._shifted(padded, o, shape)] for o in self.offsets]
        found = []
        for at in range(0, len(order), POSITIONS):
            chosen = order[at : at + POSITIONS]
            features, values = ([pair[i][chosen] for pair in around] for i in (0, 1))
            values_here = q[:, :, self.before : self.before + self.size].reshape(-1, self.size)[chosen]
            found.append(self._intervals(values_here, *self._parameters(hidden[chosen], features, values, step)))
        return Part(*(np.concatenate(one) for one in zip(*found, strict=True)))

    def decode(self, coder: RangeDecoder, q: Int[np.ndarray, "h w D"], step: int) -> None:
        """Decode the latents of the group into `q`, where those of earlier groups are."""
        shape = q.shape[:2]
        hidden = self._from_earlier(q, step)
        padded, table, cost = self._padded(q), rows(), central_cost()
        for places in fronts(shape):
            flat = np.ravel_multi_index(places, shape)
            around = [tuple(part[places[0] + i, places[1] + j] for part in padded) for i, j in self.offsets]
            features, values = ([pair[i] for pair in around] for i in (0, 1))
            mean, row = self._parameters(hidden[flat], features, values, step)
            sure = cost[row] <= SURE
            flags = _flag_weights(cost[row], sure).tolist()
            out = mean.copy()
            for place, (flag, row_list, sure_list) in enumerate(zip(flags, row.tolist(), sure.tolist(), strict=True)):
                target = coder.target(FLAG_TOTAL)
                agree = target < flag
                coder.consume(0 if agree else flag, flag if agree else FLAG_TOTAL - flag, FLAG_TOTAL)
                for channel, (index, skipped) in enumerate(zip(row_list, sure_list, strict=True)):
                    if skipped and agree:
                        continue
                    ends = table[index]
                    symbol = bisect_right(ends, coder.target(TOTAL)) - 1
                    coder.consume(ends[symbol], ends[symbol + 1] - ends[symbol], TOTAL)
                    value = symbol - WINDOW
                    if abs(value) == WINDOW:
                        beyond = coder.target(2 * MOST)
                        coder.consume(beyond, 1, 2 * MOST)
                        value += beyond if value > 0 else -beyond
                    out[place, channel] += value
            out = out.clip(-MOST, MOST)
            q[places[0], places[1], self.before : self.before + self.size] = out
            for plane, made in zip(padded, (_features(out), out), strict=True):
                plane[places[0] + 1, places[1] + 1] = made

    def _padded(self, q: Int[np.ndarray, "h w D"]) -> tuple[np.ndarray, np.ndarray]:
        """Features, and values, of the group with a border of zeros."""
        own = q[:, :, self.before : self.before + self.size]
        border = ((1, 1), (1, 1), (0, 0))
        return np.pad(_features(own), border), np.pad(own, border)

    def _shifted(self, padded: tuple[np.ndarray, np.ndarray], offset: tuple[int, int], shape: tuple[int, int]):
        i, j = offset
        return [plane[i : i + shape[0], j : j + shape[1]] for plane in padded]

    def _from_earlier(self, q: Int[np.ndarray, "h w D"], step: int) -> Float[np.ndarray, "P hidden"]:
        """First layer without what depends on the group itself, for all positions in row-major order."""
        height, width = q.shape[:2]
        constant = self.enter_bias + code_of(step) @ self.of_step
        out = np.tile(constant, (height * width, 1))
        if not self.before:
            return out
        band = max(1, POSITIONS // width)
        padded = np.pad(q[:, :, : self.before], ((1, 1), (1, 1), (0, 0)))
        for top in range(0, height, band):
            tall = min(band, height - top)
            features = _features(padded[top : top + tall + 2]).astype(np.float64)
            total = out[top * width : (top + tall) * width]
            for i in range(3):
                for j in range(3):
                    part = features[i : i + tall, j : j + width].reshape(tall * width, -1)
                    total += part @ self.earlier[i, j]
        return out

    def _parameters(
        self, hidden: Float[np.ndarray, "P hidden"], features: list, values: list, step: int
    ) -> tuple[Int[np.ndarray, "P S"], Int[np.ndarray, "P S"]]:
        """Integer part of the mean, and row of the table, of every latent at some positions."""
        total, linear = hidden.copy(), 0.0
        for (i, j), feature, value in zip(self.offsets, features, values, strict=True):
            total += feature.astype(np.float64) @ self.own[i, j]
            linear = linear + value * self.linear[i, j]
        total = np.floor(total.clip(min=0) * 2.0**-FEATURE_POINT)
        total = np.floor((total @ self.middle[0] + self.middle[1]).clip(min=0) * 2.0**-POINT)
        mean, scale = np.split(total @ self.leave[0] + self.leave[1], 2, axis=1)
        eighths = np.floor((mean + linear) * FRACTIONS * 2.0 ** (-2 * POINT) + 0.5)
        eighths = eighths.clip(-MOST * FRACTIONS, MOST * FRACTIONS).astype(np.int64)
        scale = scale + code_of(step) @ self.prior[0] + self.prior[1]
        index = np.floor(scale * PER_UNIT * 2.0 ** (-2 * POINT) + 0.5).clip(LEAST, LEAST + SCALES - 1) - LEAST
        whole = (eighths + FRACTIONS // 2) // FRACTIONS
        fraction = eighths - FRACTIONS * whole + FRACTIONS // 2
        return whole, index.astype(np.int64) * FRACTIONS + fraction

    def _intervals(
        self, q: Int[np.ndarray, "P S"], mean: Int[np.ndarray, "P S"], row: Int[np.ndarray, "P S"]
    ) -> tuple[np.ndarray, ...]:
        """Start, size, total and escape of everything that is coded at some positions, flags first."""
        table, cost = intervals().reshape(SCALES * FRACTIONS, -1), central_cost()[row]
        sure, away = cost <= SURE, q - mean
        agree = ((away == 0) | ~sure).all(axis=1, keepdims=True)
        flag = _flag_weights(cost, sure)[:, None]
        value = away.clip(-WINDOW, WINDOW) + WINDOW
        first = table[row, value]
        start = np.hstack([np.where(agree, 0, flag), first])
        size = np.hstack([np.where(agree, flag, FLAG_TOTAL - flag), table[row, value + 1] - first])
        total = np.hstack([np.full_like(flag, FLAG_TOTAL), np.full_like(first, TOTAL)])
        beyond = np.hstack([np.full_like(flag, -1), np.where(abs(away) >= WINDOW, abs(away) - WINDOW, -1)])
        coded = np.hstack([np.ones_like(agree), ~(sure & agree)])
        return tuple(one[coded] for one in (start, size, total, beyond))


def code_of(step: int) -> Float[np.ndarray, " 2"]:
    """What the context model is told of a quantization step, with 12 binary places; exact."""
    place = np.rint((step / PER_OCTAVE - CENTRE) / HALF_RANGE * 2.0**POINT)
    return np.array([place, np.rint(place * place * 2.0**-POINT)])


def _flag_weights(cost: Int[np.ndarray, "P S"], sure: Bool[np.ndarray, "P S"]) -> Int[np.ndarray, " P"]:
    """Weight of "all sure latents of this position are at their means", of FLAG_TOTAL."""
    return EXP2.take((cost * sure).sum(axis=1) >> 6, mode="clip").astype(np.int64).clip(max=FLAG_TOTAL - 1)


def _features(q: Int[np.ndarray, "..."]) -> Int[np.ndarray, "..."]:
    """sign(q) log2(1 + |q|), and the same without the sign, on the last axis."""
    size = SIZES[abs(q)]
    return np.concatenate([np.sign(q) * size, size], axis=-1)


SIZES = np.rint(2.0**FEATURE_POINT * np.log2(1.0 + np.arange(MOST + 1))).astype(np.int64)
