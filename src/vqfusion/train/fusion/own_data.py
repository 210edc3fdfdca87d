"""Full config of a chain from a short one: slots from the data, networks from one size setting."""

import os
from collections import Counter
from pathlib import Path

from vqfusion.config import (
    AudioTokenizerConfig,
    ChainConfig,
    DrawConfig,
    FusionConfig,
    ImageTokenizerConfig,
    LabelTokenizerConfig,
    ShortConfig,
    SlotConfig,
    StageConfig,
    TextTokenizerConfig,
    TokenizerConfig,
    VQVAEConfig,
)
from vqfusion.config.chain import UNLIMITED
from vqfusion.config.tokenizers import TOKENIZER_CONFIGS
from vqfusion.data import Dataset
from vqfusion.errors import UserError
from vqfusion.modalities import MODALITIES
from vqfusion.models.fusion.slots import SlotName
from vqfusion.train.fusion.mix import default_tasks, mix
from vqfusion.train.fusion.sizes import sized

# size: dim, layers, heads of Fusion; widths of the picture networks; width of the sound networks; BPE vocabulary
SIZES = {
    "tiny": (64, 2, 2, (16, 32, 48), 96, 512),
    "small": (192, 4, 3, (24, 48, 96), 160, 1024),
    "base": (256, 6, 4, (32, 64, 128), 256, 4096),
}
MANY_NAMES = 100  # more names than this, of which hardly one repeats, are no classes
DRAWS = 2  # a step
VALIDATIONS = 20
PASSES, FEWEST_STEPS, MOST_STEPS = 30, 2000, 8000
TEXT_TOKENS, SOUND_CODES, SOUND_PATCH = 32, 192, 4


def beside(path: Path, data: str) -> str:
    """Data that a file names: a path beside the file takes precedence over a built-in set of that name."""
    near = os.path.join(path.parent, data)  # ./photos is a folder, where photos is a built-in set
    return near if os.path.exists(near) else data


def expand(short: ShortConfig, dataset: Dataset) -> ChainConfig:
    """Fill in everything that a short config leaves open; volumes and series get a tokenizer but no slot."""
    dim, layers, heads, widths, sound_width, vocabulary = SIZES[short.size]
    slots: dict[str, SlotConfig] = {}
    tokenizers: dict[str, TokenizerConfig] = {}
    stages: dict[str, StageConfig] = {}
    batch = short.batch
    for name in _usable(short, dataset):
        modality = SlotName.parse(name).modality
        if modality == "image":
            side = short.image_size // 4
            patch = 2 if side % 2 == 0 else 1
            tokenizers["image"] = ImageTokenizerConfig(vqvae=VQVAEConfig(widths=widths, depths=(0, 1, 1)))
            stages["image"] = StageConfig(steps=short.tokenizer_steps, batch=batch, learning_rate=2e-3, warmup_steps=30)
            slots[name] = SlotConfig(
                tokenizer="image",
                shape=(side, side),
                patch=(patch, patch),
                sampling="random",
                steps=24,
                temperature=0.7,
                guidance_scale=3.0,
            )
        elif modality == "audio":
            shape = VQVAEConfig(
                rank=1,
                channels=257,
                widths=(sound_width,) * 2,
                depths=(1, 1),
                quantizer="fsq",
                levels=(8, 5, 5, 5),
            )
            tokenizers["audio"] = AudioTokenizerConfig(hop_samples=100, vqvae=shape)
            stages["audio"] = StageConfig(steps=short.tokenizer_steps, batch=16, learning_rate=1e-3, warmup_steps=30)
            slots[name] = SlotConfig(
                tokenizer="audio",
                shape=(SOUND_CODES,),
                patch=(SOUND_PATCH,),
                variable=True,
                guidance_scale=1.5,
            )
            slots["length:audio"] = one_token_slot("length:audio")
            tokenizers["length:audio"] = numbers(SOUND_CODES // SOUND_PATCH)
        elif modality == "text":
            tokenizers["text"] = TextTokenizerConfig(vocabulary_size=vocabulary)
            slots[name] = text_slot(TEXT_TOKENS, certain=0.9)
            slots[f"length:{name.split(':')[1]}"] = one_token_slot("length:text")
            tokenizers["length:text"] = numbers(TEXT_TOKENS)
        elif modality in MODALITIES and MODALITIES[modality].own_units:
            tokenizers[name] = TOKENIZER_CONFIGS[modality]()
            stages[name] = StageConfig(steps=short.tokenizer_steps, batch=16, learning_rate=2e-3, warmup_steps=30)
        else:
            slots[name] = one_token_slot(name)
            tokenizers[name] = LabelTokenizerConfig()
    if all(slot.shape == (1,) for slot in slots.values()):  # a label alone is nothing to learn
        slots = {}
        tokenizers = {n: one for n, one in tokenizers.items() if one.kind != "label"}
    draws = short.draws or (mix(slots, short.tasks or default_tasks(slots)) if slots else ())
    if not short.draws:
        slots = _used(slots, draws)
        unused = {name for name in tokenizers if name not in {slot.tokenizer for slot in slots.values()}}
        tokenizers = {name: one for name, one in tokenizers.items() if name not in unused or _stands_alone(name)}
        stages = {name: stage for name, stage in stages.items() if name in tokenizers}
    chain = ChainConfig(
        name=short.name,
        data=short.data,
        **short.reading.model_dump(),
        seed=short.seed,
        limit_keys=short.limit_keys,
        image_size=short.image_size,
        languages=short.languages,
        tokenizers=tokenizers,
        tokenizer_stages=stages,
        fusion=FusionConfig(dim=dim, layers=layers, heads=heads, slots=slots),
        fusion_stage=StageConfig(
            optimizer="muon",
            steps=short.steps if short.steps is not None else steps_for(short, dataset),
            batch=batch,
            learning_rate=2.5e-3,
            warmup_steps=100,
            ema_decay=0.998,
            draws_per_step=DRAWS,
            validations=VALIDATIONS,
            patience=short.patience,
        ),
        minutes=short.minutes,
        draws=draws,
    )
    return sized(chain, dataset, short.max_length)


def steps_for(short: ShortConfig, dataset: Dataset) -> int:
    """Steps that see every record `PASSES` times, within limits; with `minutes` no limit but the time."""
    if short.minutes:
        return UNLIMITED
    records = len(dataset.limited(short.limit_keys).select(split="train"))
    return min(MOST_STEPS, max(FEWEST_STEPS, PASSES * records // (DRAWS * short.batch)))


def _used(slots: dict[str, SlotConfig], draws: tuple[DrawConfig, ...]) -> dict[str, SlotConfig]:
    """Slots that some draw gives or asks for."""
    asked = {slot for draw in draws for group in (draw.given, draw.target, *draw.also) for slot in group}
    return {name: slot for name, slot in slots.items() if name in asked}


def _stands_alone(tokenizer: str) -> bool:
    """Whether a tokenizer is of a modality that gets no slot, so that it is trained by itself."""
    return tokenizer in MODALITIES and MODALITIES[tokenizer].own_units


def _usable(short: ShortConfig, dataset: Dataset) -> list[str]:
    """Slots of the data that the chain learns; texts in its languages only."""
    present = dataset.slots()
    if short.slots:
        missing = [name for name in short.slots if name not in present]
        if missing:
            raise UserError(f"data set {dataset.name!r} has no slot {missing[0]!r}; it has {', '.join(present)}")
        return list(short.slots)
    texts = [name for name in present if name.startswith("text:")]
    absent = [language for language in short.languages if texts and f"text:{language}" not in texts]
    if absent:
        raise UserError(
            f"data set {dataset.name!r} has no text in {absent[0]!r}, but {', '.join(texts)}: set `languages` to what "
            f"it has; in a folder, captions in another language are NAME.{absent[0]}.txt"
        )
    chosen = [n for n in present if not n.startswith("text:") or n.split(":")[1] in short.languages]
    chosen = [name for name in chosen if not _is_named(name) or _tells_apart(name, dataset)]
    if not chosen:
        raise UserError(f"data set {dataset.name!r} holds nothing to learn from; it has {', '.join(present)}")
    return chosen


def _is_named(slot: str) -> bool:
    """Whether a slot holds names."""
    modality = SlotName.parse(slot).modality
    return modality not in MODALITIES or MODALITIES[modality].listed


def _tells_apart(slot: str, dataset: Dataset) -> bool:
    """Whether a slot has more than one name; UserError where nearly every record has one of its own."""
    counts = Counter(record.load(slot).data for record in dataset.select("train", slots=(slot,)))
    if len(counts) > MANY_NAMES and 2 * len(counts) > counts.total():
        raise UserError(
            f"data set {dataset.name!r}: {slot!r} has {len(counts):,} names in {counts.total():,} records, too many to "
            f"learn; a column of sentences is `text:en`, and one that is not to be learned is left out of `columns`"
        )
    return len(counts) > 1


def one_token_slot(tokenizer: str) -> SlotConfig:
    """Slot of one token, with a small weight so that it does not count as much as a picture."""
    return SlotConfig(tokenizer=tokenizer, shape=(1,), coefficient=0.1, steps=1, temperature=0.0)


def text_slot(length: int, certain: float = 1.0) -> SlotConfig:
    """Text slot, decoded greedily with one token per step, or with all of which it is `certain`."""
    return SlotConfig(tokenizer="text", shape=(length,), variable=True, steps=length, temperature=0.0, certain=certain)


def numbers(most: int) -> LabelTokenizerConfig:
    """Config of the tokenizer of a length slot."""
    return LabelTokenizerConfig(names=tuple(str(n + 1) for n in range(most)))
