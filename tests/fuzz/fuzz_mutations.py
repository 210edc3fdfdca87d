"""Ways to damage a file: any bytes, the numbers of headers, the tokens of texts; checksums are put right again."""

import random
import re
import struct
import zlib

EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
FLOATS = (float("nan"), float("inf"), -1.0, 0.0, 1e38, 1e-38, 1e300)
WORDS = (
    "1e999", "-1e999", "nan", "inf", "-1", "0", "1e-400", "9" * 30, "9" * 5000, "1e999999999", "0x10", "1_000", "~",
    "null", "true", "''", '""', "[]", "{}", "../x", "/etc/passwd", "\x1b[31m", "\u202e", "é", "ß" * 300, "\x00", "*a",
    "&a [*a]", "<<", "!!python/object:os.system", "10000000000", "0.5", "2024-02-30", "99999-01-01", "1,5", "[[[[[[[[",
)  # fmt: skip
TOKEN = re.compile(r"[\w.+-]+")


def mutated(data: bytes, others: list[bytes], is_text: bool, chance: random.Random) -> bytes:
    """`data` damaged in one to four ways."""
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        ways = [_cut, _flip, _number, _number, _fill, _repeat, _splice]
        ways = [*ways, _header, _header, _header] if data[8:9] == b"{" else ways
        way = chance.choice([_token, _token, _line, _deeper] if is_text and chance.random() < 0.8 else ways)
        data = way(data, others, chance)
    return checked(data) if chance.random() < 0.7 else data


def checked(data: bytes) -> bytes:
    """The same with right checksums, so that what is behind them is reached: PNG chunks and .vqf files."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        made, at = data[:8], 8
        while at + 12 <= len(data):
            (length,) = struct.unpack_from(">I", data, at)
            body = data[at + 4 : at + 8 + length]
            made += struct.pack(">I", length) + body + struct.pack(">I", zlib.crc32(body))
            at += 12 + length
        return made + data[at:]
    if data.startswith(b"\x89VQF") and len(data) >= 15:
        return data[:11] + struct.pack("<I", zlib.crc32(data[15:])) + data[15:]
    return data


def _cut(data: bytes, others: list[bytes], chance: random.Random) -> bytes:
    start, end = sorted(chance.randrange(len(data) + 1) for _ in range(2))
    return chance.choice((data[:end], data[start:], data[:start] + data[end:]))


def _flip(data: bytes, others: list[bytes], chance: random.Random) -> bytes:
    made = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8, 64)) if made else 0):
        made[_place(made, chance)] ^= 1 << chance.randrange(8)
    return bytes(made)


def _number(data: bytes, others: list[bytes], chance: random.Random) -> bytes:
    """A field of the header, or of any place, set to a number that is rarely thought of."""
    order, at = chance.choice("<>"), _place(data, chance) if data else 0
    if chance.random() < 0.2:
        field = struct.pack(order + chance.choice("fd"), min(chance.choice(FLOATS), 3e38))
    else:
        size = chance.choice((1, 2, 2, 4, 4, 8))
        field = (chance.choice(EXTREMES) % 2 ** (8 * size)).to_bytes(size, "little" if order == "<" else "big")
    return data[:at] + field + data[at + len(field) :]


def _fill(data: bytes, others: list[bytes], chance: random.Random) -> bytes:
    at, count = _place(data, chance) if data else 0, chance.choice((2, 8, 40))
    return data[:at] + chance.choice((b"\0", b"\xff", b" ", b"9")) * count + data[at + count :]


def _repeat(data: bytes, others: list[bytes], chance: random.Random) -> bytes:
    start, end = sorted(chance.randrange(len(data) + 1) for _ in range(2))
    return data[:end] + data[start:end] * chance.choice((1, 2, 20)) + data[end:]


def _splice(data: bytes, others: list[bytes], chance: random.Random) -> bytes:
    other = chance.choice(others)
    return data[: chance.randrange(len(data) + 1)] + other[chance.randrange(len(other) + 1) :]


def _token(data: bytes, others: list[bytes], chance: random.Random) -> bytes:
    """A word or number of a text replaced."""
    text = data.decode("utf-8", "surrogateescape")
    found = list(TOKEN.finditer(text))
    if not found:
        return data
    one, word = chance.choice(found), chance.choice([*WORDS, chance.choice(found)[0]])
    return (text[: one.start()] + word + text[one.end() :]).encode("utf-8", "surrogateescape")


def _header(data: bytes, others: list[bytes], chance: random.Random) -> bytes:
    """The JSON header of a safetensors file damaged, and its length put right."""
    (length,) = struct.unpack_from("<Q", data)
    header = chance.choice((_token, _token, _cut, _flip, _deeper))(data[8 : 8 + length], others, chance)
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


def _line(data: bytes, others: list[bytes], chance: random.Random) -> bytes:
    """A line left out, moved or repeated: keys twice, rows that run backwards, no header."""
    lines = data.split(b"\n")
    at, to = chance.randrange(len(lines)), chance.randrange(len(lines) + 1)
    kept = lines if chance.random() < 0.5 else lines[:at] + lines[at + 1 :]
    return b"\n".join(kept[:to] + [lines[at]] * chance.choice((0, 1, 3)) + kept[to:])


def _deeper(data: bytes, others: list[bytes], chance: random.Random) -> bytes:
    depth = chance.choice((3, 100, 5000))
    return data + chance.choice((b"[" * depth, b"{a: " * depth, b"\nb: &b " + b"[" * depth + b"]" * depth))


def _place(data: bytes | bytearray, chance: random.Random) -> int:
    """Any place, most often in the first bytes, where headers are."""
    return min(len(data) - 1, int(len(data) * chance.random() ** chance.choice((1, 2, 6))))
