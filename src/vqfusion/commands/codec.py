"""`encode` and `decode`: files to .vqf files and back."""

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vqfusion.commands import outputs
from vqfusion.commands.failures import Failures
from vqfusion.commands.inputs import CODES, Item, collect
from vqfusion.commands.options import CodecModel, Device, Force, Json, Output
from vqfusion.commands.progress import tracked
from vqfusion.commands.say import say
from vqfusion.data.io.file import read_bytes
from vqfusion.errors import UserError
from vqfusion.files import write_bytes
from vqfusion.modalities import FILES, MODALITIES

if TYPE_CHECKING:
    from vqfusion.models.codec.codec import Codec
    from vqfusion.models.codec.vqf import VqfFile
    from vqfusion.types import Sample

Sources = Annotated[list[str], typer.Argument(metavar="INPUTS", help="files, folders or - for standard input")]


def encode(
    inputs: Sources,
    output: Output = None,
    model: CodecModel = None,
    bits: Annotated[
        float | None, typer.Option(help="most bits a pixel of a picture, such as 0.1; default: 0.2 to 0.5 for most")
    ] = None,
    search: Annotated[
        int, typer.Option(min=0, help="rounds of search for codes that decode better than the nearest: slower; try 20")
    ] = 0,
    device: Device = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Compress pictures, sounds, texts, volumes or series to the codes of a model, as .vqf files.

    Pictures of any kind and size take the model photo-codec, everything else emoji.
    """
    if bits is not None and not bits > 0:
        raise UserError(f"--bits is {bits:g}; give bits a pixel, such as 0.2")
    with outputs.destination(output, as_json) as place:
        found = collect(inputs, FILES, (place,))
        failures, names = Failures(len(found.items) > 1), [item.name for item in found.items]
        planned = outputs.plan(names, CODES, "encode", place, 1, found.are_many, force)
        outputs.check_single(output, [path for paths in planned for path in paths])
        found.say(as_json)
        codecs: dict[str, Codec] = {}
        rows: list[dict[str, Any]] = []
        for item, (path,) in tracked(list(zip(found.items, planned, strict=True)), "encoding", len(names) > 1):
            with failures.skipping(item.source):
                sample, lines = _taken(item)
                name = model or MODALITIES[sample.modality].codec
                codec = codecs[name] = codecs.get(name) or _codec(name, device)
                lines += codec.warnings(sample)
                for line in lines:
                    say(f"{item.source}: {line}")
                started = time.perf_counter()
                file = codec.encode(sample, search, bits)
                data = file.to_bytes()
                seconds = time.perf_counter() - started
                write_bytes(path, data, force)
                report = _report(item.source, path, sample, file, data, seconds)
                rows.append(report | {"model": name} | _kept(codec, sample, file) | {"warnings": lines})
        failures.check(len(rows))
        if as_json:
            skipped = {"left_out": found.left_out, "failed": failures.rows}
            used = {row["model"] for row in rows}
            whole = {"verb": "encode", "model": used.pop() if len(used) == 1 else None, "items": rows}
            print(json.dumps(whole | skipped, ensure_ascii=False))
        else:
            for row in rows:
                print(f"{row['output']}: {row['bytes']} bytes, {_rate(row)}")
    failures.end()


def decode(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUTS", help=".vqf files, folders or - for standard input")],
    output: Output = None,
    model: Annotated[
        str | None, typer.Option(help="name, folder, zip or owner/name; default: the one that the file names")
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="take the model that a file names from a folder or the hub")
    ] = False,
    device: Device = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Turn .vqf files back into pictures, sounds, texts, volumes or series of the original extent."""
    from vqfusion.data.io import write
    from vqfusion.models.codec.vqf import VqfFile

    with outputs.destination(output, as_json) as place:
        found = collect(inputs, (CODES,), (place,))
        failures = Failures(len(found.items) > 1)
        files: list[tuple[Item, VqfFile]] = []
        for item in found.items:
            with failures.skipping(item.source):
                files.append((item, VqfFile.from_bytes(read_bytes(item.source), item.source)))
        paths = _planned(files, place, found.are_many, force)
        outputs.check_single(output, [path for path in paths if path is not None])
        found.say(as_json)
        codecs: dict[str, Codec] = {}
        rows: list[dict[str, Any]] = []
        for (item, file), path in zip(files, paths, strict=True):
            with failures.skipping(item.source):
                name = model or file.header.model
                if name not in codecs:
                    codecs[name] = _codec(name, device, None if model or trust else item.source)
                started = time.perf_counter()
                sample = codecs[name].decode(file, item.source)
                seconds = time.perf_counter() - started
                row = {"input": item.source, "modality": sample.modality, "seconds": round(seconds, 3)}
                if path is None:
                    row["text"] = sample.data
                else:
                    write(sample, path, force)
                    row["output"] = str(path)
                rows.append(row)
                if not as_json:
                    text = f"{item.source}\t{sample.data}" if len(found.items) > 1 else sample.data
                    print(text if path is None else path, flush=True)
        failures.check(len(rows))
        if as_json:
            skipped = {"left_out": found.left_out, "failed": failures.rows}
            print(json.dumps({"verb": "decode", "items": rows} | skipped, ensure_ascii=False))
    failures.end()


def _planned(files: "Sequence[tuple[Item, VqfFile]]", output: str | None, many: bool, force: bool) -> list[Path | None]:
    """Path of each result; None for texts that are printed."""
    paths: list[Path | None] = [None] * len(files)
    for modality in dict.fromkeys(file.header.modality for _, file in files):
        places = [i for i, (_, file) in enumerate(files) if file.header.modality == modality]
        names = [files[i][0].name for i in places]
        planned = outputs.plan(names, modality, "decode", output, 1, folder=many, force=force)
        for i, (path,) in zip(places, planned, strict=bool(planned)):
            paths[i] = path
    return paths


def _codec(model: str, device: str | None, named_by: str | None = None) -> "Codec":
    """Load the codec of a model; `named_by` is an untrusted file that may name models of the zoo only."""
    from vqfusion.hub import find_model, zoo
    from vqfusion.models.codec.codec import Codec

    if named_by is not None and model not in zoo():
        mend = "which is not here; give its folder with --model, or --trust the file to name a folder or a hub model"
        raise UserError(f"{named_by}: was made with model {model[:100]!r}, {mend}")
    return Codec.from_pretrained(find_model(model), device)


def _taken(item: Item) -> "tuple[Sample, list[str]]":
    """Read the sample as codes can hold it, and warnings about everything that they cannot."""
    from vqfusion.tasks.restoration import over_white

    picture = not item.is_text and item.source != "-" and MODALITIES[item.modality()].pictured
    sample = item.read(keep=picture)
    lines = list(sample.notes)
    if picture and sample.extras.beside_colours:
        white = " (put over white)" if sample.extras.alpha is not None else ""
        lines.append(f"codes hold colours alone: left out {', '.join(sample.extras.beside_colours)}{white}")
    return over_white(sample) if picture else sample, lines


def _report(source: str, path: Path, sample: "Sample", file: "VqfFile", data: bytes, seconds: float) -> dict[str, Any]:
    """Row of `--json` for one file; bits count the whole file, header and checksum included."""
    row: dict[str, Any] = {
        "input": source,
        "output": str(path),
        "modality": sample.modality,
        "bytes": len(data),
        "codes": file.codes,
        "bits_per_code": round(8 * len(file.payload) / max(1, file.codes), 4),
        "coding": file.header.coding.split(":")[0],
        "seconds": round(seconds, 3),
    }
    if sample.sample_rate_hz:
        row["kbit_per_s"] = round(8e-3 * len(data) * sample.sample_rate_hz / sample.data.shape[1], 4)
        return row
    kind = MODALITIES[sample.modality]
    positions = sample.data[0] if kind.rank > 1 else sample.data  # all channels of a pixel count once
    values = positions.numel() if kind.rank else len(positions)
    row[f"bits_per_{kind.unit}"] = round(8 * len(data) / values, 4)
    return row


def _kept(codec: "Codec", sample: "Sample", file: "VqfFile") -> dict[str, float]:
    """How near a picture is that is decoded again: codes keep little of what a model was not trained on."""
    from vqfusion.evaluate.metrics import psnr

    if not MODALITIES[sample.modality].pictured:
        return {}
    kept = float(psnr(codec.decode(file).data.clamp(0, 1), sample.data.cpu().float().clamp(0, 1)))
    return {"psnr_db": round(kept, 2)} if math.isfinite(kept) else {}


def _rate(row: dict[str, Any]) -> str:
    if "kbit_per_s" in row:
        return f"{row['kbit_per_s']:.3g} kbit/s"
    unit = MODALITIES[row["modality"]].unit
    kept = f", decodes with a PSNR of {row['psnr_db']:.1f} dB" if "psnr_db" in row else ""
    return f"{row[f'bits_per_{unit}']:.3g} bits per {unit}{kept}"
