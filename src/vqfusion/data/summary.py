"""What a data set holds, in a few lines: how it is divided, what every slot has, what was dropped."""

from collections import Counter

from vqfusion.data.kept import Shape, original_shape
from vqfusion.data.record import SPLITS, Dataset, Record, by_hash
from vqfusion.errors import UserError
from vqfusion.modalities import MODALITIES, Modality

LOOKED_AT = 32  # signals that are decoded
SHOWN = 4  # names


def summary(dataset: Dataset) -> list[tuple[str, str]]:
    """Rows of a table: topic and sentence. Reads every text and name, and decodes a few of the signals."""
    splits = Counter(record.split for record in dataset.records)
    parts = ", ".join(f"{splits[split]:,} {split}" for split in SPLITS if splits[split])
    how = ", ".join(text for topic, text in dataset.remarks if topic == "split")
    rows = [("records", f"{len(dataset.records):,}: {parts}{f' ({how})' if how else ''}")]
    for slot in dataset.slots():
        having = [record for record in dataset.records if slot in record.sources]
        modality = slot.split("@")[0].partition(":")[0]
        row = MODALITIES.get(modality, MODALITIES["label"])
        describe = _signals if row.rank else _names if row.listed else _texts
        lacking = len(dataset.records) - len(having)
        rows.append((slot, describe(having, slot, row) + (f"; {lacking:,} records have none" if lacking else "")))
    return rows + [(topic, text) for topic, text in dataset.remarks if topic != "split"]


def _texts(records: list[Record], slot: str, row: Modality) -> str:
    lengths = sorted(len(record.load(slot).data) for record in records)
    most = lengths[min(len(lengths) - 1, int(0.99 * len(lengths)))]
    half = lengths[len(lengths) // 2]
    return f"{len(lengths):,} {row.plural}; characters: half up to {half}, 99 % up to {most}, longest {lengths[-1]:,}"


def _names(records: list[Record], slot: str, row: Modality) -> str:
    counts = Counter(record.load(slot).data for record in records)
    some = ", ".join(f"{name!r} {100 * count / len(records):.0f} %" for name, count in counts.most_common(SHOWN))
    if len(counts) == 1:
        return f"one name only ({next(iter(counts))!r}): nothing to tell apart"
    return f"{len(counts)} names: {some}{', ...' if len(counts) > SHOWN else ''}"


def _signals(records: list[Record], slot: str, row: Modality) -> str:
    chosen = sorted(records, key=lambda one: by_hash(one.key))[:LOOKED_AT]
    shapes, damaged = [], list[str]()
    for record in chosen:
        try:
            shapes.append(original_shape(record.sources[slot]))
        except UserError as error:
            damaged.append(str(error))
    said = f"{len(records):,} {row.plural}"
    if shapes:
        said += f"; of {len(shapes)} looked at: {_seconds(shapes) if row.heard else _sizes(shapes)}"
    return said + (f"; {len(damaged)} cannot be read (the first: {damaged[0]})" if damaged else "")


def _seconds(shapes: list[Shape]) -> str:
    lengths = sorted(one.sizes[-1] / (one.sample_rate_hz or 1) for one in shapes)
    rates = Counter(one.sample_rate_hz for one in shapes)
    shares = ", ".join(
        f"{rate:,} Hz" + (f" ({count})" if len(rates) > 1 else "") for rate, count in rates.most_common()
    )
    return f"{lengths[0]:.2g} to {lengths[-1]:.2g} s, {shares}{', resampled to one rate' if len(rates) > 1 else ''}"


def _sizes(shapes: list[Shape]) -> str:
    sizes = Counter("x".join(str(n) for n in reversed(one.sizes)) for one in shapes)
    return ", ".join(size for size, _ in sizes.most_common(SHOWN)) + (", ..." if len(sizes) > SHOWN else "")
