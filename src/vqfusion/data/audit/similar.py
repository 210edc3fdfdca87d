"""Pairs of items that are nearly the same, found among many without comparing all of them one by one."""

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float, UInt32

from vqfusion.data.audit.item import Item, by_slot
from vqfusion.modalities import MODALITIES

BLOCK = 2048  # rows that are compared at once
BAND = 4  # MinHash values that are equal in all pairs of a bucket
MOST_IN_BUCKET = 200
TINT = 0.25  # relative distance of the colours above which two pictures are not the same
APART = 1.2  # ratio of proportions above which two signals are not the same


def same_groups(items: Sequence[Item]) -> list[list[Item]]:
    """Items with the same content, byte by byte; texts beside a signal may be the same."""
    found: dict[tuple[str, bytes], list[Item]] = {}
    for item in items:
        if item.digest and item.alone and item.fault != "empty":
            found.setdefault((item.slot, item.digest), []).append(item)
    return [group for group in found.values() if len(group) > 1]


def near_groups(items: Sequence[Item]) -> list[list[Item]]:
    """Items that look, sound or read the same; of items with the same bytes the first one."""
    found = []
    for rows in by_slot([item for item in items if item.alone]).values():
        once = {item.digest: item for item in reversed(rows) if item.measured and item.measured.signature is not None}
        kept = list(once.values())[::-1]
        if len(kept) < 2:
            continue
        signatures = np.stack([_signature(item) for item in kept])
        least = MODALITIES[kept[0].modality].same_from
        pairs = close_pairs(signatures, least) if signatures.dtype.kind == "f" else equal_pairs(signatures, least)
        pairs = [(a, b) for a, b in pairs if _in_proportion(kept[a], kept[b]) and _of_one_tint(kept[a], kept[b])]
        found += [[kept[i] for i in group] for group in groups(len(kept), pairs)]
    return found


def _signature(item: Item) -> np.ndarray:
    assert item.measured is not None and item.measured.signature is not None
    return item.measured.signature


def _in_proportion(one: Item, other: Item) -> bool:
    """Whether the proportions of two items agree."""
    assert one.measured and other.measured
    ours, theirs = one.measured.proportions, other.measured.proportions
    return all(1 / APART <= ours[name] / max(theirs[name], 1e-9) <= APART for name in ours if name in theirs)


def _of_one_tint(one: Item, other: Item) -> bool:
    """Whether the colours of two pictures agree: drawings of one shape in two colours are two pictures."""
    assert one.measured and other.measured
    ours, theirs = one.measured.tint, other.measured.tint
    if ours is None or theirs is None:
        return True
    ours, theirs = ours.astype(np.float32), theirs.astype(np.float32)
    largest = max(1.0, float(np.linalg.norm(ours)), float(np.linalg.norm(theirs)))
    return float(np.linalg.norm(ours - theirs)) <= TINT * largest


def close_pairs(signatures: Float[np.ndarray, "N D"], least: float) -> list[tuple[int, int]]:
    """Pairs of unit vectors whose cosine is at least `least`, all of them.

    Vectors are sorted by their projection on the direction of largest variance. Two vectors within a distance have
    projections within that distance, so that a block is compared with few others.
    """
    vectors = signatures.astype(np.float32)
    if len(vectors) < 2:
        return []
    centred = vectors[:: max(1, len(vectors) // 5000)] - vectors.mean(0)
    axis = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    place = vectors @ axis
    order = np.argsort(place, kind="stable")
    vectors, place = vectors[order], place[order]
    reach = float(np.sqrt(2 * (1 - least))) + 1e-4
    pairs = []
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK]
        last = int(np.searchsorted(place, place[start + len(block) - 1] + reach, "right"))
        for other in range(start, last, BLOCK):
            rows, columns = np.nonzero(block @ vectors[other : min(last, other + BLOCK)].T >= least)
            rows, columns = rows + start, columns + other
            later = columns > rows
            pairs += list(zip(order[rows[later]].tolist(), order[columns[later]].tolist(), strict=True))
    return pairs


def equal_pairs(signatures: UInt32[np.ndarray, "N D"], least: float) -> list[tuple[int, int]]:
    """Pairs of MinHash signatures of which a fraction of at least `least` is equal.

    Candidates agree in one band of `BAND` values at least (locality-sensitive hashing, Leskovec et al., "Mining of
    massive datasets", section 3.4): a pair with 0.9 of them equal is missed once in 10^7. In a bucket of more than
    `MOST_IN_BUCKET` texts each is compared with the next ones only.
    """
    found: set[tuple[int, int]] = set()
    for start in range(0, signatures.shape[1], BAND):
        band = np.ascontiguousarray(signatures[:, start : start + BAND])
        keys = band.view([("", band.dtype)] * BAND).ravel()
        order = np.argsort(keys, kind="stable")
        borders = np.flatnonzero(keys[order][1:] != keys[order][:-1]) + 1
        for bucket in np.split(order, borders):
            for i in range(len(bucket) - 1):
                others = bucket[i + 1 : i + 1 + MOST_IN_BUCKET]
                equal = (signatures[bucket[i]] == signatures[others]).mean(1) >= least
                found |= {(min(a, b), max(a, b)) for a, b in ((int(bucket[i]), int(o)) for o in others[equal])}
    return sorted(found)


def groups(count: int, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Connected groups of at least two of the items 0 to `count` - 1."""
    parent = list(range(count))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for a, b in pairs:
        parent[max(root(a), root(b))] = min(root(a), root(b))
    members: dict[int, list[int]] = {}
    for i in range(count):
        members.setdefault(root(i), []).append(i)
    return [group for group in members.values() if len(group) > 1]
