"""Previews of a model in training, always for the same few inputs."""

from collections.abc import Sequence
from functools import cached_property
from io import BytesIO
from itertools import zip_longest
from pathlib import Path

import torch

from vqfusion.config import ChainConfig, DrawConfig
from vqfusion.data import Dataset
from vqfusion.data.record import Record, in_turn
from vqfusion.errors import UserError
from vqfusion.files import write_bytes
from vqfusion.models.fusion.slots import SlotName
from vqfusion.models.fusion.system import System
from vqfusion.models.sampling import Sampling
from vqfusion.train.loop.fit import LOG_EVERY
from vqfusion.types import Sample

SHARES = (0.1, 0.25, 0.5, 1.0)
PICTURES, ANSWERS = 8, 4
TILE, GAP, LINE = 128, 12, 18


class Preview:
    """Writes `folder/step-000900.png` and `.txt` at 10, 25, 50 and 100 % of the steps.

    It is called with (step, fraction of the training, System). The previews are of the draws with the largest weights:
    pictures from names, and texts from every modality, for the same records of the validation and the training split
    every time. All random numbers come from its own generators, so that the training is not affected.
    """

    def __init__(self, chain: ChainConfig, data: Dataset, folder: Path):
        self.chain, self.data, self.folder = chain, data, folder
        self.fraction: float | None = None  # at the call before

    @cached_property
    def records(self) -> list[Record]:
        """Records to show, in the order of a hash, so that the first few are of different kinds."""
        dataset = self.data.limited(self.chain.limit_keys)
        unseen, seen = (in_turn(dataset.select(split=split)) for split in ("val", "train"))
        together = zip_longest(unseen, seen)
        return [record for pair in together for record in pair if record is not None]

    def __call__(self, step: int, fraction: float, system: System) -> None:
        before = fraction * max(0, step - LOG_EVERY) / step if self.fraction is None else self.fraction
        self.fraction = fraction
        if not any(before < share <= fraction for share in SHARES):
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        stem = self.folder / f"step-{step:06d}"
        if (picture := self.pictures(system)) is not None:
            write_bytes(stem.with_suffix(".png"), picture)
        if lines := self.answers(system):
            write_bytes(stem.with_suffix(".txt"), "".join(line + "\n" for line in lines).encode())

    def pictures(self, system: System) -> bytes | None:
        """PNG with pictures of the data in the first row, generated pictures in the second, and names below."""
        rows = [row for row in self.chain.draws if row.target == ("image",) and row.given]
        for row in sorted(rows, key=lambda row: -row.weight):
            if all(SlotName.parse(slot).modality not in ("image", "audio") for slot in row.given):
                break
        else:
            return None
        items = self._items(system, row, PICTURES)
        if not items:
            return None
        drawn = self._ask(system, [given for _, given, _ in items], "image")
        return grid([
            (record.load("image"), made, f"{next(iter(given.values())).data} ({record.split})")
            for (record, given, _), made in zip(items, drawn, strict=True)
        ])  # fmt: skip

    def answers(self, system: System) -> list[str]:
        """One line for each answer with the true one: `image -> text:en 'rocket' (val: 'red apple')`."""
        heaviest: dict[tuple[str, ...], DrawConfig] = {}
        for row in sorted(self.chain.draws, key=lambda row: -row.weight):
            if len(row.target) == 1 and row.target[0].startswith("text:") and row.given:
                heaviest.setdefault(tuple(SlotName.parse(slot).modality for slot in row.given), row)
        lines = []
        for row in heaviest.values():
            by_task: dict[tuple[str, ...], list] = {}
            for item in self._items(system, row, ANSWERS):
                by_task.setdefault((*item[1], item[2]), []).append(item)
            for (*given, target), items in by_task.items():
                made = self._ask(system, [question for _, question, _ in items], target)
                for (record, question, _), answer in zip(items, made, strict=True):
                    texts = [f"{s.data!r}" for s in question.values() if isinstance(s.data, str)]
                    asked = " ".join([" + ".join(given), *texts])
                    right = record.load(target).data
                    lines.append(f"{asked} -> {target}  {answer.data!r} ({record.split}: {right!r})")
        return lines

    def _ask(self, system: System, questions: Sequence[dict[str, Sample]], target: str) -> list[Sample]:
        given = {slot: [question[slot] for question in questions] for slot in questions[0]}
        return [samples[0] for samples in system.generate(given, target, Sampling()).samples]

    def _items(self, system: System, row: DrawConfig, most: int) -> list[tuple[Record, dict[str, Sample], str]]:
        """Records for which a draw is defined, each once, with the given samples and the target slot."""
        found: list[tuple[Record, dict[str, Sample], str]] = []
        keys: set[str] = set()
        for record in self.records:
            if len(found) == most:
                break
            slots = self._slots(row, record)
            if record.key in keys or slots is None:
                continue
            if found and set(slots[:-1]) != found[0][1].keys():
                continue
            try:
                given = {slot: record.load(slot) for slot in slots[:-1]}
                for slot, sample in given.items():
                    system.tokenizers.encode(slot, sample)
            except UserError:
                continue  # the text is too long or the name unknown
            keys.add(record.key)
            found.append((record, given, slots[-1]))
        return found

    def _slots(self, row: DrawConfig, record: Record) -> list[str] | None:
        """Slots of a draw with languages filled in, target last; None where the record lacks one."""
        languages = [name for name in self.chain.languages if f"text:{name}" in record.slots]
        out: list[str] = []
        for slot in (*row.given, *row.target):
            if slot in ("text:*", "text:^"):
                free = [f"text:{name}" for name in languages if f"text:{name}" not in out]
                if not free:
                    return None
                slot = free[0]
            if slot not in record.slots:
                return None
            out.append(slot)
        return out


def grid(items: Sequence[tuple[Sample, Sample, str]]) -> bytes:
    """PNG with one column for each (picture of the data, generated picture, caption)."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(13)
    canvas = Image.new("RGB", (GAP + len(items) * (TILE + GAP), 2 * (TILE + GAP) + GAP + LINE), "white")
    draw = ImageDraw.Draw(canvas)
    for column, (real, made, caption) in enumerate(items):
        left = GAP + column * (TILE + GAP)
        for row, sample in enumerate((real, made)):
            canvas.paste(_tile(sample), (left, GAP + row * (TILE + GAP)))
        while font.getlength(caption) > TILE and len(caption) > 4:
            caption = caption.removesuffix("...")[:-1] + "..."
        draw.text((left + TILE / 2, 2 * (TILE + GAP) + GAP / 2), caption, fill="black", font=font, anchor="ma")
    out = BytesIO()
    canvas.save(out, "PNG")
    return out.getvalue()


def _tile(sample: Sample):
    from PIL import Image

    from vqfusion.data.transforms import fit_picture

    pixels = (fit_picture(sample.data.cpu(), sample.data.shape[-1]) * 255).round().to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).numpy()).resize((TILE, TILE), Image.Resampling.NEAREST)
