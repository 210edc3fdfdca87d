"""`inspect`: the codebooks of a model on one page."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vqfusion.commands.options import Device, Force, Json, output_option
from vqfusion.commands.outputs import check, destination, named
from vqfusion.errors import UserError
from vqfusion.files import write_bytes

if TYPE_CHECKING:
    from vqfusion.inspect.codebook import CodebookHealth
    from vqfusion.inspect.concepts import Concept


def inspect(
    model: Annotated[str, typer.Argument(help="name in the zoo, folder, zip, or owner/name on the hub")] = "emoji",
    data: Annotated[str | None, typer.Option(help="data set, folder or manifest; default: the model's own")] = None,
    limit: Annotated[int, typer.Option(min=1, help="at most so many samples for each tokenizer")] = 256,
    output: Annotated[str | None, output_option("page; default: <model>.inspect.html")] = None,
    device: Device = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Measure usage, evenness and error of every codebook of a model, and draw what each code decodes to."""
    with destination(output, as_json) as place:
        path = named(place, f"{Path(model).name}.inspect.html")
        if path.suffix.lower() not in (".html", ".htm"):
            raise UserError(f"{path}: the name must end in .html")
        check([path], force)
        from rich.console import Console

        from vqfusion.commands.inspect_page import Shown, inspection_page
        from vqfusion.data import open_dataset
        from vqfusion.hub import find_model
        from vqfusion.inspect.atlases import atlas, atlas_in_use, words
        from vqfusion.inspect.codebook import measure_codebook
        from vqfusion.inspect.concepts import concepts
        from vqfusion.inspect.samples import samples_for
        from vqfusion.models.codec.codec import Codec

        codec = Codec.from_pretrained(find_model(model), device)
        dataset = open_dataset(data) if data else open_dataset(codec.config.data, codec.config.reading)
        split = "val" if dataset.select(split="val") and data is None else None
        shown: list[Shown] = []
        left_out: dict[str, str] = {}
        with Console(stderr=True).status("inspecting") as status:
            for name, tokenizer in codec.tokenizers.items():
                status.update(f"inspecting {name}")
                samples = samples_for(tokenizer, codec.config, dataset, split, limit)
                if not samples:
                    left_out[name] = f"{dataset.name} has no {tokenizer.modality}"
                    continue
                health = measure_codebook(name, tokenizer, samples, codec.entropy_models.get(name))
                pictures = (atlas(tokenizer, health.counts), atlas_in_use(tokenizer, samples, health.counts))
                said = concepts(tokenizer, dataset, split, limit)
                shown.append(Shown(health, pictures, words(tokenizer, health.counts), said))
        if not shown:
            raise UserError(f"{dataset.name}: holds nothing that model {model!r} has a tokenizer for")
        measured_on = f"{dataset.name}, {f'split {split}' if split else 'everything'}"
        write_bytes(path, inspection_page(codec.model, measured_on, shown, left_out).encode(), force)
        report = {
            "model": codec.model,
            "data": measured_on,
            "page": str(path),
            "tokenizers": [_report(one.health, one.concepts) for one in shown],
            "left_out": left_out,
        }
        if as_json:
            print(json.dumps(report, ensure_ascii=False))
            return
        _show(report)


def _report(health: "CodebookHealth", concepts: "Sequence[Concept]") -> dict[str, Any]:
    """Row of `--json` for a tokenizer."""
    row = asdict(health) | {"efficiency": health.efficiency, "counts": health.counts.tolist()}
    row["concepts"] = [asdict(one) for one in concepts]
    return json.loads(json.dumps(row), parse_float=lambda text: float(f"{float(text):.6g}"))


def _show(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{report['model']}, measured on {report['data']}", title_justify="left")
    for column in ("tokenizer", "codes seen", "usage", "dead", "perplexity", "efficiency", "error"):
        table.add_column(column, justify="left" if column == "tokenizer" else "right")
    for row in report["tokenizers"]:
        for depth in row["depths"]:
            error = depth["quantization_error"]
            table.add_row(
                row["tokenizer"] + (f", depth {depth['depth'] + 1}" if len(row["depths"]) > 1 else ""),
                f"{row['codes']:,} of {row['codebook_size']:,}",
                f"{100 * depth['usage']:.1f} %",
                str(len(depth["dead"])),
                f"{depth['perplexity']:.0f}",
                f"{100 * row['efficiency']:.1f} %",
                "" if error is None else f"{100 * error:.1f} %",
            )
    console = Console(markup=False, emoji=False)
    console.print(table)
    for name, why in report["left_out"].items():
        console.print(f"{name}: not measured ({why})", highlight=False)
    print(f"{report['page']}: open it in a browser")
