"""Page of `explain`, in the style of the demo."""

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from vqfusion.commands.say import plainly
from vqfusion.inspect.atlases import heat
from vqfusion.inspect.attribution.overlay import LOWERS, RAISES, STRENGTH, map_of, overlay, pieces
from vqfusion.modalities import MODALITIES, in_words
from vqfusion.pages import page

if TYPE_CHECKING:
    from vqfusion.inspect.attribution import Attribution, Explanation
    from vqfusion.inspect.training_items import Nearest
    from vqfusion.models.fusion.system import System
    from vqfusion.types import Sample

NAMES = {"explain": "by explain", "gradient": "gradient x input", "random": "random order"}
LISTED = 12  # parts of a text in the table


def explanation_page(system: "System", model: str, found: "Explanation", compared: Mapping[str, "Nearest"]) -> str:
    """Whole page.

    Args:
        system: The model.
        model: Its name.
        found: The explanation.
        compared: Nearest training items by slot.

    Returns:
        The page as HTML.
    """
    most = strongest(found)
    named = found.answer.data if isinstance(found.answer.data, str) else f"this {found.answer.modality}"
    sections = {"answer": _answer(system, found)}
    for name, one in found.slots.items():
        sections[name] = _given(system, name, one, most)
    sections["check"] = _check(found)
    if compared:
        sections["training items"] = _nearest(compared)
    about = (
        "Which parts of what is given raise (red) and lower (blue) the probability of the answer, in nats: the Shapley "
        "value of each part, that is the change of the log probability when it is added, averaged over all orders of "
        "adding parts. The values of all parts add up to the whole change."
    )
    chips = [f"model {plainly(model)}", f"target {found.target}", f"{found.units} parts"]
    chips += ["exact" if found.error == 0 else f"standard error at most {found.error:.3f} nats"]
    return page.page(
        f"vqfusion, why {plainly(named)}",
        about,
        chips,
        sections,
        f"What each code stands for: vqfusion inspect {plainly(model)}",
    )


def strongest(found: "Explanation") -> float:
    """Nats of the strongest part, which has the full colour."""
    return max(1e-9, *(float(one.values.abs().max()) for one in found.slots.values()))


def _answer(system: "System", found: "Explanation") -> str:
    tokenizer = system.tokenizers[found.target]
    many = found.answer_ids.numel()
    head = ("given", "log probability (nats)", "probability" if many == 1 else f"nats a token, of {many}")
    rows = []
    for name, value in (("everything", found.log_p), ("nothing", found.log_p_of_nothing)):
        each = f"{100 * math.exp(value):.3g} %" if many == 1 else f"{value / many:.3f}"
        rows.append((name, f"{value:.3f}", each))
    parts: list[str] = [_shown(found.answer), page.table(head, rows)]
    if found.steps is not None and found.certainty is not None:
        last = int(found.steps.max())
        parts += [page.heading("The order in which the sampler became sure")]
        if in_words(found.answer.modality):
            texts = pieces(tokenizer, found.answer_ids)
            fixed = zip(texts, found.steps.tolist(), found.certainty.tolist(), strict=True)
            body = [(page.isolated(text), str(step), f"{100 * p:.1f} %") for text, step, p in fixed]
            parts.append(page.table(("part", f"step of {last}", "probability when it was fixed"), body))
        else:
            early = heat(map_of((found.steps - 1) / max(1, last - 1)))
            parts.append(
                page.strip(
                    [
                        page.picture(early, f"step, from 1 (dark) to {last} (bright)", "wide"),
                        page.picture(
                            heat(map_of(found.certainty)), "probability when it was fixed: dark 0, bright 1", "wide"
                        ),
                    ]
                )
            )
    about = "The answer that is explained, and how probable it is to the model with and without what is given."
    return page.section("answer", "Answer", about, "", page.joined(*parts))


def _given(system: "System", name: str, one: "Attribution", most: float) -> str:
    drawn = overlay(system.tokenizers[name], one, most)
    body: list[str] = []
    if drawn is not None:
        body.append(page.picture(drawn, f"the full colour is {most:.3f} nats", "wide"))
    elif in_words(one.sample.modality):
        texts, values = pieces(system.tokenizers[name], one.ids), one.values.tolist()
        body.append(
            page.coloured((text, tint(v / most), f"{v:+.3f} nats") for text, v in zip(texts, values, strict=True))
        )
        order = sorted(zip(texts, values, strict=True), key=lambda pair: -abs(pair[1]))[:LISTED]
        body.append(page.table(("part", "nats"), [(page.isolated(text), f"{v:+.3f}") for text, v in order]))
    else:
        body.append(page.coloured([(one.sample.data, tint(one.total / most), f"{one.total:+.3f} nats")]))
    about = f"Given {name} adds {one.total:+.3f} nats to the log probability of the answer."
    return page.section(name, name, about, "", page.joined(*body), f"{one.total:+.3f} nats")


def tint(share: float) -> str:
    """CSS colour of a part: red where it raises the probability, blue where it lowers it."""
    red, green, blue = (round(255 * part) for part in (RAISES if share > 0 else LOWERS))
    return f"rgba({red},{green},{blue},{STRENGTH * min(1.0, abs(share)):.2f})"


def _check(found: "Explanation") -> str:
    charts = page.grid(
        [_chart(found, "deletion", "share left out"), _chart(found, "insertion", "share given")],
        360,
    )
    rows = [(NAMES[name], *(f"{area:.3f}" for area in one.areas)) for name, one in found.curves.items()]
    table = page.table(("order", "mean while leaving out (lower is better)", "mean while adding (higher)"), rows)
    about = "Leaving out the parts that matter first must lower the probability faster than any other order does."
    return page.section("check", "Check by leaving out", about, "", page.joined(charts, table))


def _chart(found: "Explanation", what: str, across: str) -> str:
    """Curves of every order."""
    values = {name: getattr(one, what) for name, one in found.curves.items()}
    low, high = (pick(float(pick(one.tolist())) for one in values.values()) for pick in (min, max))
    lines = []
    for (name, one), kind in zip(values.items(), ("first", "second", "third"), strict=True):
        points = zip(found.curves[name].shares.tolist(), one.tolist(), strict=True)
        places = [f"{1000 * x:.1f} {195 - 190 * (y - low) / ((high - low) or 1.0):.1f}" for x, y in points]
        lines.append({"name": NAMES[name], "kind": kind, "path": "M" + "L".join(places), "dots": ""})
    said = "; ".join(f"{NAMES[name]}: mean {float(one.mean()):.3f} nats" for name, one in values.items())
    title = f"log probability (nats) by the {across}, the most important first"
    return page.chart(title, "", lines, f"{low:.2f}", f"{high:.2f}", "0", "1", said)


def _nearest(compared: Mapping[str, "Nearest"]) -> str:
    body: list[str] = []
    for name, one in compared.items():
        verdict = "a copy of a training item" if one.copied else "no copy of a training item"
        text = (
            f"{name}: {verdict}. Likeness {one.likeness[0]:.3f}; {one.share:.1%} of {one.compared:,} training items "
            f"(of {one.of:,}) are at least as alike to another one. From {one.same_from:.2f} on two items count as "
            "nearly the same."
        )
        shown = [
            _shown(sample, f"{plainly(key)}, {likeness:.3f}")
            for sample, key, likeness in zip(one.samples, one.keys, one.likeness, strict=True)
        ]
        body += [page.paragraph(text), page.strip(shown)]
    about = "The training items that are most like what is given or made, by the measure of `vqfusion data check`."
    return page.section("training items", "Nearest training items", about, "", page.joined(*body))


def _shown(sample: "Sample", caption: str = "") -> str:
    """A sample as a picture, a player or a text."""
    return page.joined(*_parts(sample, caption))


def _parts(sample: "Sample", caption: str) -> Iterator[str]:
    kind = MODALITIES.get(sample.modality)
    if kind is None or not kind.rank:
        yield page.word(str(sample.data))
        yield page.soft(caption)
    elif kind.pictured:
        yield page.picture(sample.data, caption)
    elif kind.heard:
        yield page.player(sample, caption)
    else:
        yield page.soft(f"{caption}: {' x '.join(map(str, sample.data.shape))} values")
