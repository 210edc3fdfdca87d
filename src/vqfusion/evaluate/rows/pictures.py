"""Rows about pictures and their names: describe, imagine, classify."""

import torch

from vqfusion.evaluate.baselines.pictures import HogClassifier, nearest_picture
from vqfusion.evaluate.bench import Bench, row, top
from vqfusion.evaluate.metrics import accuracy, expected_calibration_error
from vqfusion.evaluate.report import Row


def describe(bench: Bench) -> list[Row]:
    """Whether the English name is right, for known concepts in a style not seen in training."""
    records = bench.pick(bench.held_out("pair", "image", "text:en"), 256)
    names = bench.texts(records, "text:en")
    train = bench.training("image", "text:en")
    known = bench.texts(train, "text:en")
    nearest = nearest_picture(bench.pictures(records), bench.pictures(train))
    copied = accuracy([known[i] == name for i, name in zip(nearest.tolist(), names, strict=True)])
    answers = bench.generate({"image": bench.load(records, "image")}, "text:en")
    right = accuracy([answer.data == name for answer, name in zip(answers, names, strict=True)])
    return [
        row(
            "describe",
            f"describe, {bench.unseen('pair')}",
            "exact English name",
            right,
            "%",
            target=300 * copied.value,
            baselines={"nearest neighbour": 100 * copied.value},
            note=f"one of {len(set(known))} names; the neighbour is the closest of {len(train)} training "
            "pictures; target: three times the neighbour",
        )
    ]


def imagine(bench: Bench) -> list[Row]:
    """Whether the drawing is nearer to the named picture than to any other picture of its style."""
    rows = []
    train = bench.training("image", "text:en", "style")
    unseen = bench.held_out("pair", "image", "text:en", "style")
    for seen in (True, False):
        asked = bench.pick(train if seen else unseen, 256 if seen else 133)
        if not asked:
            continue
        gallery = train if seen else train + unseen
        given = {slot: bench.load(asked, slot) for slot in ("text:en", "style")}
        drawn = bench.pictures(bench.generate(given, "image"))
        back = bench.pictures(bench.reconstruct(bench.load(asked, "image")))
        hits, ceiling, sizes = [False] * len(asked), [False] * len(asked), []
        for style in sorted({s.data for s in given["style"]}):
            shelf = [record for record in gallery if record.load("style").data == style]
            names, pictures = bench.texts(shelf, "text:en"), bench.pictures(shelf)
            chosen = [i for i, s in enumerate(given["style"]) if s.data == style]
            sizes += [len(shelf)] * len(chosen)
            for found, sheet in ((hits, drawn), (ceiling, back)):
                for i, j in zip(chosen, nearest_picture(sheet[chosen], pictures).tolist(), strict=True):
                    found[i] = names[j] == given["text:en"][i].data
        rows.append(
            row(
                "imagine",
                "imagine, seen pairs" if seen else f"imagine, {bench.unseen('pair')}",
                "nearest picture is the named one",
                accuracy(hits),
                "%",
                target=80.0 if seen else None,
                baselines={"chance": 100 * sum(1 / size for size in sizes) / len(sizes)},
                ceiling=100 * accuracy(ceiling).value,
                note="nearest in pixels among the training pictures of the style asked for"
                + ("" if seen else " and the unseen ones"),
            )
        )
    return rows


def classify(bench: Bench) -> list[Row]:
    """Whether the subgroup is right, for concepts seen in another style only."""
    records = bench.pick(bench.held_out("pair", "image", "label"), 256)
    truth = bench.texts(records, "label")
    train = bench.learned_from("image", "label")
    hog = HogClassifier().fit(bench.pictures(train), bench.texts(train, "label"))
    guesses = hog.predict(bench.pictures(records))
    simple = 100 * accuracy([g == t for g, t in zip(guesses, truth, strict=True)]).value
    answers = bench.system.distribution({"image": bench.load(records, "image")}, "label")
    correct = torch.tensor([top(d) == t for d, t in zip(answers, truth, strict=True)])
    confidence = torch.tensor([max(d.values()) for d in answers])
    return [
        row(
            "classify",
            f"classify picture, {len(bench.system.labels('label'))} classes, {bench.unseen('pair')}",
            "accuracy",
            accuracy(correct),
            "%",
            target=simple + 10.0,
            baselines={"HOG + linear SVM": simple},
            note=f"expected calibration error {100 * expected_calibration_error(confidence, correct):.1f} %; "
            f"target: 10 points above the baseline, which learned from {len(train)} pictures",
        )
    ]
