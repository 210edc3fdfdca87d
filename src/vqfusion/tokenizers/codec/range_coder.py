"""Range coding: integers to nearly the fewest bytes that their probabilities allow, and back exactly.

Integer arithmetic only, so that every machine writes and reads the same bytes. A symbol is an interval `[start, start +
size)` of `[0, total)` and costs log2(total / size) bits; a message costs at most two bytes more than the sum.
"""

import numpy as np
from jaxtyping import Int

BITS, LOW = 64, 2**56  # the interval is kept between 2^56 and 2^64; rounding is negligible for totals up to 2^32
MASK = 2**BITS - 1


class RangeEncoder:
    """Range encoder: G. N. N. Martin (1979), "Range encoding"; carries propagate into bytes already written."""

    def __init__(self) -> None:
        self.low, self.width, self.out = 0, MASK, bytearray()

    def encode(self, start: int, size: int, total: int) -> None:
        """Narrow the interval to the symbol `[start, start + size)` of `total`; `size` is at least 1."""
        unit = self.width // total
        self.low += start * unit
        self.width = size * unit
        if self.low > MASK:
            self._carry()
        while self.width < LOW:
            self.out.append(self.low >> (BITS - 8))
            self.low = self.low << 8 & MASK
            self.width <<= 8

    def finish(self) -> bytes:
        """Shortest byte string of the message; trailing zero bytes are omitted."""
        for kept in range(BITS + 1):  # the number of the interval with the fewest significant bits
            step = 1 << (BITS - kept)
            value = -(-self.low // step) * step
            if value < self.low + self.width:
                break
        self.low = value
        if self.low > MASK:
            self._carry()
        return bytes(self.out + self.low.to_bytes(BITS // 8, "big")).rstrip(b"\0")

    def _carry(self) -> None:
        place = len(self.out) - 1
        while self.out[place] == 255:
            self.out[place] = 0
            place -= 1
        self.out[place] += 1
        self.low &= MASK


class RangeDecoder:
    """Range decoder: get `target`, find the symbol whose interval has it, `consume` that symbol."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, BITS // 8
        self.code = int.from_bytes(data[: self.place].ljust(self.place, b"\0"), "big")
        self.width = MASK

    def target(self, total: int) -> int:
        """Number in `[0, total)` that lies in the interval of the next symbol."""
        return min(self.code // (self.width // total), total - 1)

    def consume(self, start: int, size: int, total: int) -> None:
        """Remove the symbol from the message; arguments as in `RangeEncoder.encode`."""
        unit = self.width // total
        self.code -= start * unit
        self.width = size * unit
        while self.width < LOW:
            following = self.data[self.place] if self.place < len(self.data) else 0
            self.code = self.code << 8 | following
            self.width <<= 8
            self.place += 1


class AdaptiveCounts:
    """Counts of the symbols seen so far, each starting at one, in a binary indexed tree: Fenwick (1994)."""

    STEP = 24  # count of one occurrence, so the prior count of a symbol is 1 / 24 (Krichevsky, Trofimov, 1981: 1 / 2)

    def __init__(self, size: int):
        self.size, self.total = size, size
        self.top = 1 << (size.bit_length() - 1)
        self.tree = [0] + [place & -place for place in range(1, size + 1)]

    def interval(self, symbol: int) -> tuple[int, int]:
        """Start and size of the interval of a symbol."""
        start = self._sum(symbol)
        return start, self._sum(symbol + 1) - start

    def find(self, target: int) -> int:
        """Symbol whose interval contains `target`."""
        place, step = 0, self.top
        while step:
            after = place + step
            if after <= self.size and self.tree[after] <= target:
                place, target = after, target - self.tree[after]
            step >>= 1
        return place

    def add(self, symbol: int) -> None:
        """Count one occurrence of a symbol."""
        place = symbol + 1
        while place <= self.size:
            self.tree[place] += self.STEP
            place += place & -place
        self.total += self.STEP

    def _sum(self, count: int) -> int:
        total = 0
        while count:
            total += self.tree[count]
            count -= count & -count
        return total


def encode_adaptive(symbols: Int[np.ndarray, " n"], size: int) -> bytes:
    """Encode symbols in `[0, size)` by adaptive counts: needs no model, and improves with the length of the message."""
    coder, counts = RangeEncoder(), AdaptiveCounts(size)
    for symbol in symbols.tolist():
        coder.encode(*counts.interval(symbol), counts.total)
        counts.add(symbol)
    return coder.finish()


def decode_adaptive(data: bytes, count: int, size: int) -> Int[np.ndarray, " n"]:
    """Inverse of `encode_adaptive` for `count` symbols."""
    coder, counts = RangeDecoder(data), AdaptiveCounts(size)
    out = np.empty(count, np.int64)
    for i in range(count):
        symbol = counts.find(coder.target(counts.total))
        coder.consume(*counts.interval(symbol), counts.total)
        counts.add(symbol)
        out[i] = symbol
    return out


def pack(symbols: Int[np.ndarray, " n"], size: int) -> bytes:
    """Encode symbols in `[0, size)` with ceil(log2 size) bits each, the most significant bit first."""
    width = bits_per_symbol(size)
    bits = symbols[:, None] >> np.arange(width)[::-1] & 1
    return np.packbits(bits.astype(np.uint8).reshape(-1)).tobytes()


def unpack(data: bytes, count: int, size: int) -> Int[np.ndarray, " n"]:
    """Inverse of `pack`; ValueError where the bytes are too few or a symbol is not in `[0, size)`."""
    width = bits_per_symbol(size)
    if len(data) != -(-count * width // 8):
        raise ValueError(f"{count} symbols of {width} bits do not take {len(data)} bytes")
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=count * width).reshape(count, width)
    symbols = bits.astype(np.int64) @ (1 << np.arange(width, dtype=np.int64)[::-1])
    if count and symbols.max() >= size:
        raise ValueError(f"symbol {symbols.max()} is not under {size}")
    return symbols


def bits_per_symbol(size: int) -> int:
    """Bits for symbols in `[0, size)`: ceil(log2 size)."""
    return (size - 1).bit_length()
