"""The training mix of one's own data: what the verbs ask for."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from vqfusion.config import DrawConfig, SlotConfig
from vqfusion.errors import UserError
from vqfusion.modalities import SIGNALS, in_words
from vqfusion.models.fusion.slots import SlotName, length_slot

Pair = tuple[tuple[str, ...], str]
"""Given slots and target."""

WEIGHTS = {"image": 3.0, "audio": 3.0, "text": 2.0}  # of targets; others have 1
GUIDED = 0.1  # fraction of pictures and sounds that are learned without what is given, for guidance
WHOLE = 0.5  # fraction of them whose target is hidden completely, as at the start of sampling
HIDDEN = 0.3  # largest fraction of what is given that is hidden where a name is asked for


class Kinds:
    """The slots of a model by what they hold; views of others are left out."""

    def __init__(self, slots: Iterable[str]):
        names = {name: SlotName.parse(name) for name in slots}
        plain = {name: one for name, one in names.items() if one.modality != "length" and one.view is None}
        self.views = [name for name, one in names.items() if one.view is not None]
        self.images = [name for name, one in plain.items() if one.modality == "image"]
        self.sounds = [name for name, one in plain.items() if one.modality == "audio"]
        self.texts = [name for name, one in plain.items() if in_words(one.modality)]
        self.contents = [name for name, one in plain.items() if one.modality in SIGNALS or in_words(one.modality)]
        self.names = [name for name in plain if name not in self.contents]
        self.classes = [name for name in self.names if name not in ("speaker", "style")]

    def with_names(self, given: str, name: str) -> tuple[str, ...]:
        """What is given, with the slot of this name where there is one."""
        return (given, name) if name in self.names else (given,)


def _pairs(ones: Iterable[str], others: list[str]) -> Iterator[Pair]:
    return (((one,), other) for one in ones for other in others if one != other)


VERBS: dict[str, Callable[[Kinds], Iterable[Pair]]] = {
    "imagine": lambda k: [(k.with_names(text, "style"), image) for text in k.texts for image in k.images],
    "describe": lambda k: _pairs(k.images, k.texts),
    "speak": lambda k: [(k.with_names(text, "speaker"), sound) for text in k.texts for sound in k.sounds],
    "transcribe": lambda k: _pairs(k.sounds, k.texts),
    "speaker": lambda k: _pairs(k.sounds, [name for name in k.names if name == "speaker"]),
    "translate": lambda k: _pairs(k.texts, k.texts),
    "classify": lambda k: _pairs(k.contents, k.classes),
    "write": lambda k: [((), text) for text in k.texts],
}


def mix(slots: Mapping[str, SlotConfig], tasks: Iterable[str]) -> tuple[DrawConfig, ...]:
    """Draws of what the tasks ask for.

    Args:
        slots: Slots of the model.
        tasks: Verbs such as `transcribe`, or slots such as `label -> image` and `text:en + speaker -> audio`; empty for
            all that the slots allow: every slot from every other, texts with the voice or style that goes with them.
            Where there is one language and nothing but names beside it, that is to classify.

    Returns:
        The draws; names that follow from the same slot share one.

    Raises:
        UserError: There is no such task, or the data have not what it needs.
    """
    kinds, wanted = Kinds(slots), list(tasks)
    pairs: dict[Pair, None] = {}
    for task in wanted:
        pairs.update(dict.fromkeys(_asked(task, kinds, slots)))
    if not wanted:
        pairs = dict.fromkeys(_everything(kinds))
    return tuple(_draws(list(pairs), slots))


def default_tasks(slots: Iterable[str]) -> tuple[str, ...]:
    """Tasks where none are named: `classify` for names of texts in one language alone; empty for everything."""
    kinds = Kinds(slots)
    return ("classify",) if kinds.classes and len(kinds.contents) == len(kinds.texts) == 1 else ()


def _asked(task: str, kinds: Kinds, slots: Mapping[str, SlotConfig]) -> list[Pair]:
    if "->" in task:
        left, _, right = (part.strip() for part in task.partition("->"))
        given = tuple(name.strip() for name in left.split("+")) if left and left != "nothing" else ()
        contents = [name for name, slot in slots.items() if not slot.is_length]
        for name in (*given, right):
            if name not in contents:
                raise UserError(f"tasks: {task}: the data have no slot {name!r}; they have {', '.join(contents)}")
        return [(given, right)]
    if task not in VERBS:
        raise UserError(f"tasks: no task {task!r}; use {', '.join(VERBS)}, or slots as in `label -> image`")
    found = list(VERBS[task](kinds))
    if not found:
        have = ", ".join([*kinds.contents, *kinds.names])
        raise UserError(f"tasks: the data have not what {task} needs; they have {have}")
    return found


def _everything(kinds: Kinds) -> Iterator[Pair]:
    """Every slot alone and from every other; texts of pictures and sounds with their style and voice."""
    everything = [*kinds.contents, *kinds.views, *kinds.names]
    for target in everything:
        yield (), target
        for given in everything:
            if given in kinds.texts and target in kinds.images:
                yield kinds.with_names(given, "style"), target
            elif given in kinds.texts and target in kinds.sounds:
                yield kinds.with_names(given, "speaker"), target
            elif given != target:
                yield (given,), target


def _draws(pairs: list[Pair], slots: Mapping[str, SlotConfig]) -> Iterator[DrawConfig]:
    """Draws of pairs; those from nothing have a quarter of the weight where there are others."""
    named = {name for name, slot in slots.items() if slot.shape == (1,)}
    together: dict[tuple[str, ...], list[str]] = {}
    for given, target in pairs:
        modality = SlotName.parse(target).modality
        weight = WEIGHTS.get(modality, 1.0)
        if target in named and given:
            together.setdefault(given, []).append(target)
            continue
        signal = bool(given) and modality in SIGNALS
        yield DrawConfig(
            given=given,
            target=(target,),
            also=((length_slot(target),),) if slots[target].variable else (),
            weight=weight if given or len(pairs) == 1 else weight / 4,
            drop_given=GUIDED if signal else 0.0,
            all_hidden=WHOLE if signal else 0.0,
            linked=len(given) > 1,
        )
    for given, targets in together.items():
        hidden = HIDDEN if any(slots[name].shape != (1,) for name in given) else 0.0
        also = tuple((name,) for name in targets[1:])
        yield DrawConfig(given=given, target=(targets[0],), also=also, weight=float(len(targets)), hide_given=hidden)
