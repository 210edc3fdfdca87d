"""`explain`: why a model answers as it does, on one page."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vqfusion.commands.options import Device, Force, Json, Seed, Steps, output_option
from vqfusion.commands.outputs import check, destination, named
from vqfusion.commands.say import say
from vqfusion.errors import UserError
from vqfusion.files import write_bytes

if TYPE_CHECKING:
    from vqfusion.data import Dataset
    from vqfusion.inspect.attribution import Explanation
    from vqfusion.inspect.training_items import Nearest
    from vqfusion.models.fusion.system import System


def explain(
    model: Annotated[str, typer.Argument(help="name in the zoo, folder, zip, or owner/name on the hub")],
    given: Annotated[list[str], typer.Option(help="what is given, as slot=file or slot=text; repeat for more slots")],
    target: Annotated[str, typer.Option(help="slot whose answer is explained: label, text:de, image, ...")] = "label",
    answer: Annotated[str | None, typer.Option(help="name to explain; default: the most probable one")] = None,
    data: Annotated[
        str | None, typer.Option(help="what it was trained on: compares what is given and made with training items")
    ] = None,
    evaluations: Annotated[int, typer.Option(min=2, max=100_000, help="parts of what is given to try")] = 1024,
    output: Annotated[str | None, output_option("page, or picture.png; default: <model>.explain.html")] = None,
    device: Device = None,
    seed: Seed = 0,
    steps: Steps = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Show which parts of what is given an answer rests on, in nats, checked by leaving them out."""
    with destination(output, as_json) as place:
        path = named(place, f"{Path(model).name}.explain.html")
        if path.suffix.lower() not in (".html", ".htm", ".png"):
            raise UserError(f"{path}: the name must end in .html or .png")
        check([path], force)
        from rich.console import Console

        from vqfusion.commands.explain_page import explanation_page
        from vqfusion.commands.explain_picture import explanation_picture
        from vqfusion.data import open_dataset
        from vqfusion.inspect.attribution import explain as explained
        from vqfusion.models.sampling import Sampling
        from vqfusion.tasks.generate import read_given

        system = _system(model, device)
        samples = read_given(system, given)
        dataset = open_dataset(data) if data else None
        with Console(stderr=True).status("explaining"):
            found = explained(system, samples, target, answer, Sampling(seed=seed, steps=steps), evaluations)
            compared = _compared(found, dataset) if dataset else {}
            if path.suffix.lower() == ".png":
                written = explanation_picture(system, model, found)
            else:
                written = explanation_page(system, model, found, compared).encode()
        write_bytes(path, written, force)
        report = _report(system, model, found, compared) | {"output": str(path)}
        if as_json:
            print(json.dumps(report, ensure_ascii=False))
            return
        _show(report)


def _system(model: str, device: str | None) -> "System":
    from vqfusion.hub import find_model
    from vqfusion.models.fusion.system import System
    from vqfusion.models.kinds import KINDS, kind_of, open_model

    folder = find_model(model)
    if (kind := kind_of(folder)) != System.kind:
        raise UserError(f"model {model!r} is a {kind}, {KINDS[kind].use}; explain needs a system such as emoji")
    system: System = open_model(folder, device)
    return system


def _compared(found: "Explanation", dataset: "Dataset") -> dict[str, "Nearest"]:
    """Nearest training items of what is given and made, for each slot that can be compared."""
    from vqfusion.inspect.training_items import nearest
    from vqfusion.modalities import MODALITIES

    samples = {name: one.sample for name, one in found.slots.items()} | {found.target: found.answer}
    kinds = {name: MODALITIES.get(one.modality) for name, one in samples.items()}
    measured = {name: one for name, one in samples.items() if (kind := kinds[name]) and kind.measure}
    if not measured.keys() & set(dataset.slots()):
        raise UserError(f"--data {dataset.name}: has none of {', '.join(measured) or 'the slots'} to compare with")
    return {name: nearest(one, dataset, name) for name, one in measured.items() if name in dataset.slots()}


def _report(system: "System", model: str, found: "Explanation", compared: dict[str, "Nearest"]) -> dict[str, Any]:
    """Report for `--json`."""
    from vqfusion.inspect.attribution.overlay import pieces
    from vqfusion.modalities import in_words

    slots: dict[str, Any] = {}
    for name, one in found.slots.items():
        slots[name] = {"nats": one.total, "values": one.values.tolist()}
        if in_words(one.sample.modality):
            slots[name]["pieces"] = pieces(system.tokenizers[name], one.ids)
    report: dict[str, Any] = {
        "model": model,
        "target": found.target,
        "answer": found.answer.data if isinstance(found.answer.data, str) else None,
        "log_p_nats": found.log_p,
        "log_p_of_nothing_nats": found.log_p_of_nothing,
        "units": found.units,
        "standard_error_nats": found.error,
        "given": slots,
        "areas_nats": {
            name: dict(zip(("deletion", "insertion"), one.areas, strict=True)) for name, one in found.curves.items()
        },
        "curves": {
            name: {what: getattr(one, what).tolist() for what in ("shares", "deletion", "insertion")}
            for name, one in found.curves.items()
        },
        "steps": None if found.steps is None else found.steps.tolist(),
        "certainty": None if found.certainty is None else found.certainty.tolist(),
        "nearest": {
            name: {
                "keys": one.keys,
                "likeness": one.likeness,
                "compared": one.compared,
                "of": one.of,
                "share_as_alike": one.share,
                "copied": one.copied,
            }
            for name, one in compared.items()
        },
        "warnings": found.warnings,
    }
    rounded: dict[str, Any] = json.loads(json.dumps(report), parse_float=lambda text: float(f"{float(text):.6g}"))
    return rounded


def _show(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    named = report["answer"] if report["answer"] is not None else "what was made"
    gain = report["log_p_nats"] - report["log_p_of_nothing_nats"]
    print(f"{report['target']}: {named}, {gain:+.3f} nats by what is given")
    table = Table()
    table.add_column("given")
    table.add_column("adds (nats)", justify="right")
    for name, one in report["given"].items():
        table.add_row(name, f"{one['nats']:+.3f}")
    Console(markup=False, emoji=False).print(table)
    areas = (f"{name} {one['deletion']:.3f}" for name, one in report["areas_nats"].items())
    print(f"mean log probability as parts are left out, lower is better: {', '.join(areas)}")
    for name, one in report["nearest"].items():
        verdict = "a copy of" if one["copied"] else "no copy; nearest is"
        print(
            f"{name}: {verdict} {one['keys'][0]}, likeness {one['likeness'][0]:.3f}, {one['share_as_alike']:.1%} alike"
        )
    for line in report["warnings"]:
        say(line)
    print(report["output"])
