"""Whatever people hand over, they get one clear line, exit code 2, and keep their files."""

import hashlib
import io
import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from vqfusion import VQVAE, UserError, load
from vqfusion.cli import main
from vqfusion.hub import ZOO
from vqfusion.models.codec.vqf import VqfFile

MODEL = ZOO / "emoji"


def png(width: int, height: int) -> bytes:
    """A black-and-white PNG of any size, built by hand: 200 megapixels are 25 kB."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = bytes((width + 7) // 8 + 1) * height
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def sound(path: str, seconds: float, value: float = 0.1, rate_hz: int = 16000, subtype: str = "FLOAT") -> str:
    count = int(seconds * rate_hz)
    wave = np.full(count, value) * np.sin(np.arange(count, dtype=np.float32) / 10)
    soundfile.write(path, wave.astype(np.float32), rate_hz, subtype=subtype)
    return path


def picture(path: str = "good.png", size: tuple[int, int] = (40, 30), mode: str = "RGB") -> str:
    Image.new(mode, size).save(path)
    return path


def file(path: str, content: bytes | str) -> str:
    Path(path).write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def cut(path: str, share: float = 0.5) -> str:
    content = Path(path).read_bytes()
    return file(path, content[: int(share * len(content))])


def noise() -> str:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save("noise.png")
    return "noise.png"


def model(change) -> str:
    """A copy of the shipped model with something wrong in it."""
    shutil.copytree(MODEL, "model")
    change(Path("model"))
    return "model"


def damaged(*place: str, value) -> str:
    """A copy of the shipped model with another value at a place in its config."""

    def change(folder: Path) -> None:
        config = part = json.loads((folder / "config.json").read_text())
        for key in place[:-1]:
            part = part[key]
        part[place[-1]] = value
        (folder / "config.json").write_text(json.dumps(config))

    return model(change)


def without_a_word(folder: Path) -> None:
    """The vocabulary has another token in place of one that is merged."""
    vocabulary = json.loads((folder / "text.json").read_text())
    word = "".join(vocabulary["model"]["merges"][0])
    vocabulary["model"]["vocab"]["another"] = vocabulary["model"]["vocab"].pop(word)
    (folder / "text.json").write_text(json.dumps(vocabulary))


def largest(folder: Path) -> Path:
    return max(folder.rglob("*.safetensors"), key=lambda path: path.stat().st_size)


def below_a_file() -> str:
    file("plain", "a regular file")
    return "plain/under/it.png"


def prior(modality: str = "image", **more) -> str:
    """A tiny untrained prior; only mistakes are made with it."""
    import torch

    from vqfusion.config import PriorConfig
    from vqfusion.models.restoration.prior import Prior

    torch.manual_seed(0)
    Prior(PriorConfig(modality=modality, widths=(4,), depths=(1,), **more)).save_pretrained("prior")
    return "prior"


def volume(shape: tuple[int, ...] = (8, 8, 8), hole: bool = False) -> str:
    voxels = np.zeros(shape, np.float32)
    if hole:
        voxels[1, 2, 3] = np.nan
    np.save("v.npy", voxels)
    return "v.npy"


def series(gap: str = "1") -> str:
    rows = [f"{i},{gap if i == 5 else i}" for i in range(40)]
    return file("s.csv", "\n".join(["time_s,a", *rows]) + "\n")


def coded(change=lambda content: content) -> str:
    """A .vqf file of a picture with something wrong in its bytes."""
    if not Path("a.vqf").exists():
        assert main(["encode", picture("small.png", (8, 8)), "-o", "a.vqf"]) == 0
    return file("a.vqf", change(Path("a.vqf").read_bytes()))


def claiming(**changes) -> str:
    """A .vqf file whose header, with a right checksum, says something else than its codes."""

    def change(content: bytes) -> bytes:
        made = VqfFile.from_bytes(content, "a.vqf")
        return replace(made, header=made.header.model_copy(update=changes)).to_bytes()

    return coded(change)


def of_another_model(content: bytes) -> bytes:
    made = VqfFile.from_bytes(content, "a.vqf")
    return replace(made, header=made.header.model_copy(update={"model": "elsewhere"})).to_bytes()


# name: (arguments, made in a fresh folder; words that the line must hold)
CASES = {
    # pictures
    "missing picture": (lambda: ["describe", "nowhere.png"], "nowhere.png"),
    "empty picture": (lambda: ["describe", file("a.png", b"")], "a.png"),
    "truncated picture": (lambda: ["describe", cut(noise())], "noise.png"),
    "text called .png": (lambda: ["describe", file("a.png", "I am a text")], "a.png"),
    "sound called .png": (lambda: ["describe", shutil.move(sound("a.wav", 0.5), "a.png")], "a.png"),
    "picture of 0 x 0": (lambda: ["describe", file("a.png", png(0, 0))], "a.png"),
    "picture of 200 megapixels": (lambda: ["describe", file("a.png", png(20000, 10000))], "a.png"),
    "picture below a file": (lambda: ["describe", below_a_file()], "plain"),
    "folder of hidden files": (
        lambda: [os.mkdir("in"), "describe", os.path.dirname(picture("in/._0.png"))][1:],
        "holds no file",
    ),
    "empty folder": (lambda: [os.mkdir("nothing"), "describe", "nothing"][1:], "nothing"),
    "no input": (lambda: ["describe"], "INPUTS"),
    "mask of another size": (
        lambda: ["inpaint", picture(), "--mask", picture("mask.png", (8, 8), "L"), "--model", "emoji"],
        "mask",
    ),
    "mask is missing": (lambda: ["inpaint", picture(), "--mask", "none.png", "--model", "emoji"], "none.png"),
    "picture by standard input": (lambda: ["describe", "-"], "-"),
    # restoration
    "mask of another size, prior": (
        lambda: ["inpaint", picture(), "--mask", picture("mask.png", (8, 8), "L"), "--model", prior(channels=3)],
        "mask.png",
    ),
    "mask that is no picture": (
        lambda: ["inpaint", picture(), "--mask", series(), "--model", prior(channels=3)],
        "s.csv",
    ),
    "mask that hides everything": (
        lambda: [
            Image.new("L", (40, 30), 255).save("mask.png"),
            "inpaint",
            picture(),
            "--mask",
            "mask.png",
            "--model",
            prior(channels=3),
        ][1:],
        "mask.png",
    ),
    "no mask and no gaps": (lambda: ["inpaint", picture(), "--model", prior(channels=3)], "--mask"),
    "scale of zero": (lambda: ["upscale", picture(), "--scale", "0"], "--scale"),
    "scale below zero": (lambda: ["upscale", picture(), "--scale", "-2"], "--scale"),
    "scale that is not whole": (lambda: ["upscale", picture(), "--scale", "2.5"], "--scale"),
    "scale for a model over codes": (lambda: ["upscale", picture(), "--scale", "4", "--model", "emoji"], "--scale"),
    "sigma below zero": (lambda: ["denoise", picture(), "--sigma=-0.1"], "--sigma"),
    "sigma that is no number": (lambda: ["denoise", picture(), "--sigma", "loud"], "'loud'"),
    "sigma over zero": (lambda: ["denoise", picture(), "--sigma", "25/0"], "25/0"),
    "sigma of a thousand million digits": (lambda: ["denoise", picture(), "--sigma", "1e999999999"], "--sigma"),
    "samples beyond all memory": (
        lambda: ["any", "--given", "text:en=rocket", "--target", "image", "--samples", "1000000000"],
        "VQFUSION_MAX_SAMPLES",
    ),
    "steps beyond all memory": (
        lambda: ["denoise", picture(), "--sigma", "0.1", "--mode", "sample", "--steps", "1000000000000"],
        "VQFUSION_MAX_STEPS",
    ),
    "rate beyond Vorbis, whose library crashes": (
        lambda: ["denoise", sound("a.wav", 0.01, rate_hz=384000), "--sigma", "0.1", "-o", "a.ogg"],
        "384000 Hz; use .wav",
    ),
    "sigma that is infinite": (lambda: ["denoise", picture(), "--sigma", "inf"], "inf"),
    "interval of one": (lambda: ["denoise", picture(), "--interval", "1"], "--interval"),
    "interval below zero": (lambda: ["denoise", picture(), "--interval=-0.5"], "--interval"),
    "interval and another mode": (lambda: ["denoise", picture(), "--interval", "0.9", "--mode", "sample"], "--mode"),
    "unknown mode": (lambda: ["denoise", picture(), "--mode", "median"], "'median'"),
    "unknown method": (lambda: ["denoise", picture(), "--method", "magic", "--model", prior(channels=3)], "'magic'"),
    "unknown noise": (lambda: ["denoise", picture(), "--noise", "pink"], "'pink'"),
    "interval of a model over codes": (
        lambda: ["denoise", picture(), "--mode", "interval", "--model", "emoji"],
        "emoji",
    ),
    "samples of a mean": (
        lambda: [
            "denoise",
            picture(),
            "--mode",
            "mean",
            "--samples",
            "3",
            "--sigma",
            "0.1",
            "--model",
            prior(channels=3),
        ],
        "--samples",
    ),
    "prior for another number of axes": (
        lambda: ["denoise", picture(), "--sigma", "0.1", "--model", prior("volume")],
        "--model",
    ),
    "prior for a task of codes": (lambda: ["describe", picture(), "--model", prior()], "prior"),
    "volume with NaN": (lambda: ["denoise", volume(hole=True), "--model", prior("volume")], "(1, 2, 3)"),
    "volume in time": (lambda: ["denoise", volume((4, 4, 4, 2)), "--model", prior("volume")], "4 axes"),
    "series with an empty cell": (lambda: ["denoise", series(""), "--model", prior("audio")], "vqfusion inpaint"),
    "series with NaN": (lambda: ["denoise", series("nan"), "--model", prior("audio")], "vqfusion inpaint"),
    "text to denoise": (lambda: ["denoise", file("a.txt", "noise")], "a.txt"),
    "report over a picture": (
        lambda: [
            os.mkdir("report"),
            "denoise",
            picture(),
            "--sigma",
            "0.1",
            "--report",
            os.path.dirname(picture("report/good-difference.png")),
            "--model",
            prior(channels=3),
        ][1:],
        "good-difference.png: exists already",
    ),
    "report below a file": (
        lambda: ["denoise", picture(), "--sigma", "0.1", "--report", below_a_file(), "--model", prior(channels=3)],
        "plain",
    ),
    # sounds
    "missing sound": (lambda: ["transcribe", "nowhere.wav"], "nowhere.wav"),
    "empty sound file": (lambda: ["transcribe", file("a.wav", b"")], "a.wav"),
    "truncated sound": (lambda: ["transcribe", cut(sound("a.wav", 0.5), 0.001)], "a.wav"),
    "picture called .wav": (lambda: ["transcribe", shutil.move(picture(), "a.wav")], "a.wav"),
    "sound of no samples": (lambda: ["transcribe", sound("a.wav", 0)], "a.wav"),
    "sound with NaN": (lambda: ["transcribe", sound("a.wav", 0.5, float("nan"))], "a.wav"),
    # texts
    "empty text": (lambda: ["imagine", ""], "empty"),
    "blank text": (lambda: ["imagine", " \n\t "], "empty"),
    "empty text file": (lambda: ["imagine", file("a.txt", "")], "a.txt"),
    "text file that is not UTF-8": (lambda: ["imagine", file("a.txt", b"\xff\xfe\x00\xd8")], "a.txt"),
    "missing text file": (lambda: ["imagine", "nowhere.txt"], "nowhere.txt"),
    # names
    "unknown verb": (lambda: ["imagination", "rocket"], "imagination"),
    "unknown flag": (lambda: ["imagine", "rocket", "--colour", "red"], "--colour"),
    "unknown language": (lambda: ["imagine", "rocket", "--language", "tlh"], "'tlh'"),
    "unknown language to translate into": (lambda: ["translate", "rocket", "--to", "xx"], "'xx'"),
    "unknown style": (lambda: ["imagine", "rocket", "--style", "cubist"], "'cubist'"),
    "unknown speaker": (lambda: ["speak", "rocket", "--speaker", "nobody"], "'nobody'"),
    "unknown target slot": (lambda: ["any", "--given", "text:en=rocket", "--target", "smell"], "smell"),
    "unknown given slot": (lambda: ["any", "--given", "smell=rose", "--target", "image"], "smell"),
    "given slot twice": (
        lambda: ["any", "--given", "text:en=a", "--given", "text:en=b", "--target", "image"],
        "'text:en' is given twice",
    ),
    "given text is blank": (lambda: ["any", "--given", "text:en= ", "--target", "image"], "the text is empty"),
    "given text that is not UTF-8": (
        lambda: ["any", "--given", "text:en=\udcff", "--target", "image"],
        "not valid UTF-8",
    ),
    "given without a slot": (lambda: ["any", "--given", "rocket", "--target", "image"], "slot"),
    "unknown model": (lambda: ["imagine", "rocket", "--model", "gpt"], "emoji"),
    "unknown model on the hub": (
        lambda: ["imagine", "rocket", "--model", "nobody/none"],
        "nobody/none",
    ),
    "unknown device": (lambda: ["imagine", "rocket", "--device", "abacus"], "abacus"),
    "prior where a system is needed": (lambda: ["inspect", "photo"], "prior"),
    "noise in steps of 255": (lambda: ["denoise", picture("a.png", (40, 40)), "--sigma", "25"], "25/255"),
    "misspelt key": (
        lambda: ["train", file("a.yaml", "name: a\ndata: digits\nimage_sise: 32\n"), "--dry-run"],
        "image_size",
    ),
    "recipe file that is not there": (lambda: ["train", "nowhere.yaml"], "no such file"),
    "start from a model of another size": (
        lambda: ["train", file("a.yaml", "name: a\ndata: digits\nsteps: 1\ntokenizer_steps: 1\n"), "--start", "emoji"],
        "size: base",
    ),
    "absent device": (lambda: ["imagine", "rocket", "--device", "cuda:63"], "cuda:63"),
    "device that holds no numbers": (lambda: ["imagine", "rocket", "--device", "meta"], "'meta' is not available"),
    "device of another torch": (lambda: ["imagine", "rocket", "--device", "hpu"], "there is cpu"),
    "device of nobody": (lambda: ["imagine", "rocket", "--device", "privateuseone"], "there is cpu"),
    "no names": (lambda: ["classify", picture(), "--top", "0"], "--top 0"),
    "fewer names than none": (lambda: ["classify", picture(), "--top=-90"], "--top -90"),
    "no samples": (lambda: ["imagine", "rocket", "--samples", "0"], "--samples"),
    "no steps": (lambda: ["imagine", "rocket", "--steps", "-3"], "--steps"),
    "seed that is no number": (lambda: ["imagine", "rocket", "--seed", "lucky"], "--seed"),
    # models
    "empty model folder": (lambda: [os.mkdir("m"), "imagine", "rocket", "--model", "m"][1:], "m"),
    "model config that is not JSON": (
        lambda: ["imagine", "rocket", "--model", model(lambda m: file(str(m / "config.json"), "{"))],
        "config.json",
    ),
    "model config of another library": (
        lambda: [
            "imagine",
            "rocket",
            "--model",
            model(lambda m: file(str(m / "config.json"), json.dumps({"model_type": "bert"}))),
        ],
        "not a vqfusion model",
    ),
    "truncated weights": (
        lambda: ["imagine", "rocket", "--model", model(lambda m: cut(str(largest(m))))],
        "safetensors",
    ),
    "foreign weights": (
        lambda: [
            "imagine",
            "rocket",
            "--model",
            model(lambda m: shutil.copy(min(m.rglob("*.safetensors"), key=os.path.getsize), largest(m))),
        ],
        "safetensors",
    ),
    "missing weights": (
        lambda: ["imagine", "rocket", "--model", model(lambda m: largest(m).unlink())],
        "safetensors",
    ),
    **{
        f"model with {name}": (
            lambda place=place, value=value: [
                "imagine",
                "rocket",
                "--model",
                damaged(*place.split("/"), value=value),
            ],
            f"model/config.json: {words}",
        )
        for name, place, value, words in (
            ("no heads", "chain/fusion/heads", 0, "fusion.heads"),
            ("odd heads", "chain/fusion/heads", 3, "fusion: dim 256"),
            ("a width below zero", "chain/fusion/dim", -4, "fusion.dim"),
            ("no layers", "chain/fusion/layers", 0, "fusion.layers"),
            ("an unknown tokenizer", "chain/fusion/slots/image/tokenizer", "smell", "slot 'image' needs"),
            ("another patch", "chain/fusion/slots/image/patch", [3, 3], "fusion.slots.image: shape [16, 16]"),
            ("a patch of its own", "chain/fusion/slots/image/patch", [2, 2], "fusion: slot 'image@16'"),
            ("a slot of no axes", "chain/fusion/slots/text:en/shape", [], "fusion.slots.text:en.shape"),
            ("a patch of other axes", "chain/fusion/slots/image/shape", [16], "fusion.slots.image: shape [16]"),
            ("no steps", "chain/fusion/slots/image/steps", 0, "fusion.slots.image.steps"),
            ("no codes", "chain/tokenizers/image/vqvae/codebook_size", 0, "tokenizers.image.image.vqvae.codebook_size"),
            (
                "depths that lack one",
                "chain/tokenizers/image/vqvae/depths",
                [1],
                "tokenizers.image.image.vqvae: widths",
            ),
            ("unknown options", "chain/tokenizers/image/vqvae/options", {"x": 1}, "no network can be built from it"),
        )
    },
    "model without fingerprints": (
        lambda: ["imagine", "rocket", "--model", damaged("fingerprints", value=None)],
        "model: not a vqfusion model",
    ),
    "model config that is nested deeply": (
        lambda: ["imagine", "rocket", "--model", model(lambda m: file(str(m / "config.json"), "[" * 100000))],
        "model/config.json: not readable",
    ),
    "model whose names are a number": (
        lambda: ["imagine", "rocket", "--model", model(lambda m: file(str(m / "names.json"), '{"text:en": 5}'))],
        "model/names.json: not lists of names",
    ),
    "model whose merges are not in its vocabulary": (  # the tokenizers library crashes on them
        lambda: ["imagine", "rocket", "--model", model(without_a_word)],
        "model/text.json: not a readable BPE vocabulary",
    ),
    "prior with a depth too few": (
        lambda: [
            "denoise",
            picture(),
            "--model",
            prior(),
            file("prior/config.json", Path("prior/config.json").read_text().replace('"depths": [', '"depths": [1,')),
        ][:4],
        "prior/config.json: widths has 1 levels",
    ),
    # recipes and data
    "unknown recipe": (lambda: ["train", "nonsense", "--dry-run"], "nonsense"),
    "malformed YAML": (lambda: ["train", file("my.yaml", "name: x\ndata: [1,\n"), "--dry-run"], "my.yaml:"),
    "unknown key in YAML": (
        lambda: ["train", file("my.yaml", "name: x\ndata: digits\nlerning_rate: 1\n"), "--dry-run"],
        "lerning_rate",
    ),
    "YAML that is a list": (lambda: ["train", file("my.yaml", "- a\n- b\n"), "--dry-run"], "my.yaml"),
    **{
        f"YAML with {name}": (
            lambda content=content: ["train", file("my.yaml", f"name: x\ndata: digits\n{content}\n"), "--dry-run"],
            f"my.yaml: {words}",
        )
        for name, content, words in (
            ("a date that is none", "seed: 2024-13-45", "not valid YAML"),
            ("a number that is none", "seed: !!int ''", "not valid YAML"),
            ("3,000 brackets", "x: " + 3000 * "[", "not valid YAML (nested too deeply)"),
            ("an endless key", 1000 * "x" + ": 1", "xxxx"),
            ("no batch", "batch: 0", "batch"),
            ("steps below zero", "steps: -1", "steps"),
            ("tokenizer steps below zero", "tokenizer_steps: -5", "tokenizer_steps"),
            ("pictures of 3 pixels", "image_size: 3", "image_size"),
            ("nothing to learn from", "limit_keys: 0", "limit_keys"),
            ("a draw of nothing", "draws: [{target: []}]", "draws.0.target"),
            ("a stage without a batch", "fusion_stage: {batch: 0}\ntokenizers: {}", "fusion_stage.batch"),
            ("an infinite learning rate", "stage: {learning_rate: .inf}\nprior: {}", "stage.learning_rate"),
            ("a prior of no crops", "crop: 0\nprior: {}", "crop"),
            ("a latent of no width", "latent: {width: 0}", "latent.width"),
            (
                "a slot without its tokenizer",
                "fusion: {slots: {image: {tokenizer: smell, shape: [1]}}}",
                "slot 'image'",
            ),
        )
    },
    "unknown data set": (lambda: ["data", "imagenet"], "imagenet"),
    "malformed manifest": (
        lambda: ["data", file("my.jsonl", '{"text:en": "cat"}\n{"text:en": \n')],
        "my.jsonl:2",
    ),
    **{
        f"manifest with {name}": (lambda line=line: ["data", file("my.jsonl", f'{{"text:en": "a"}}\n{line}\n')], words)
        for name, line, words in (
            ("100,000 brackets", 100000 * "[", "my.jsonl:2: is nested too deeply"),
            ("900 brackets", '{"image": ' + 900 * "[" + 900 * "]" + "}", "my.jsonl:2: slot 'image' holds [["),
            ("an integer of 5,000 digits", '{"label": ' + 5000 * "1" + "}", "my.jsonl:2: holds a number"),
            ("an endless path", json.dumps({"image": 5000 * "x"}), "my.jsonl:2: slot 'image': no such file"),
            ("an endless slot", json.dumps({5000 * "x": "a"}), "my.jsonl:2: unknown slot"),
            ("an endless key", json.dumps({"key": [5000 * "x"], "text:en": "a"}), "my.jsonl:2: the key is"),
            ("an endless split", json.dumps({"split": 5000 * "x", "text:en": "a"}), "my.jsonl:2: the split is"),
            ("half a character", '{"text:en": "\\ud800"}', "my.jsonl:2: holds half of a surrogate pair"),
            ("half a character in a key", '{"key": "\\udfff", "label": "a"}', "my.jsonl:2: holds half of a surrogate"),
        )
    },
    "empty manifest": (lambda: ["data", file("my.jsonl", "")], "my.jsonl"),
    "unknown group of rows": (lambda: ["eval", "--only", "beauty"], "beauty"),
    # codes
    "encode a missing file": (lambda: ["encode", "nowhere.png"], "nowhere.png"),
    "encode a file of no known kind": (lambda: ["encode", file("a.xyz", "?")], "a.xyz"),
    "encode what the model has no codes for": (
        lambda: ["encode", file("a.csv", "time_s,x\n0,1\n1,2\n2,4\n")],
        "no tokenizer for series",
    ),
    "encode over a file": (lambda: ["encode", picture(), "-o", file("out.vqf", "mine")], "out.vqf"),
    "encode to another suffix": (lambda: ["encode", picture(), "-o", "out.png"], ".vqf"),
    "encode by an unknown model": (lambda: ["encode", picture(), "--model", "gpt"], "gpt"),
    "decode a missing file": (lambda: ["decode", "nowhere.vqf"], "nowhere.vqf"),
    "decode an empty file": (lambda: ["decode", file("a.vqf", b"")], "a.vqf"),
    "decode a picture": (lambda: ["decode", picture()], "is not a .vqf file"),
    "decode a truncated file": (lambda: ["decode", coded(lambda c: c[:-9])], "a.vqf"),
    "decode a damaged file": (lambda: ["decode", coded(lambda c: c[:40] + bytes([c[40] ^ 1]) + c[41:])], "damaged"),
    "decode a file of a later version": (lambda: ["decode", coded(lambda c: c[:4] + b"\x63" + c[5:])], "version 99"),
    "decode without its model": (lambda: ["decode", coded(of_another_model)], "'elsewhere', which is not here"),
    "decode codes that its size has no room for": (lambda: ["decode", claiming(grid=(11585, 11585))], "for a size of"),
    "decode a grid of 30 axes": (lambda: ["decode", claiming(grid=(1,) * 30)], "grid"),
    "decode more codes than the limit": (
        lambda: ["decode", claiming(grid=(2000, 2000), size=(3, 16000, 16000))],
        "VQFUSION_MAX_CODES",
    ),
    "decode a size beyond all memory": (lambda: ["decode", claiming(size=(3, 2**30, 2**30))], "VQFUSION_MAX_MEMORY"),
    "decode voxels of no size": (lambda: ["decode", claiming(spacing_mm=(0.0, 1.0, 1.0))], "spacing_mm"),
    "decode to another suffix": (lambda: ["decode", coded(), "-o", "out.wav"], ".png"),
    "decode an empty folder": (lambda: [os.mkdir("nothing"), "decode", "nothing"][1:], "no .vqf file"),
    "inspect an unknown model": (lambda: ["inspect", "gpt"], "gpt"),
    "inspect to another suffix": (lambda: ["inspect", "emoji", "-o", "out.png"], ".html"),
    "inspect over a page": (lambda: ["inspect", "emoji", "-o", file("a.html", "mine")], "a.html"),
    "inspect on an unknown data set": (lambda: ["inspect", "emoji", "--data", "imagenet"], "imagenet"),
    "inspect nothing": (lambda: ["inspect", "emoji", "--limit", "0"], "--limit"),
    # outputs
    "output exists": (lambda: ["imagine", "rocket", "-o", picture("out.png")], "out.png"),
    "default output exists": (
        lambda: ["imagine", "rocket", file("rocket.imagine.png", "mine")][:2],
        "--force",
    ),
    "output has no suffix": (lambda: ["imagine", "rocket", "-o", "out"], "out"),
    "output has another suffix": (lambda: ["speak", "rocket", "-o", "out.png"], ".wav"),
    "output below a file": (lambda: ["imagine", "rocket", "-o", below_a_file()], "plain"),
    "folder of outputs is a file": (
        lambda: ["imagine", "rocket", "apple", "-o", file("out", "mine")],
        "out",
    ),
    "two inputs of one name": (lambda: ["imagine", "rocket", "rocket", "-o", "out"], "rocket.png"),
}


def snapshot() -> dict[str, str]:
    return {str(path): hashlib.sha1(path.read_bytes()).hexdigest() for path in Path().rglob("*") if path.is_file()}


def assert_one_line(code: int, err: str, words: str, expected: int = 2) -> None:
    assert code == expected, err
    assert "Traceback" not in err
    assert err.startswith("vqfusion: ") and err.endswith("\n") and err.count("\n") == 1, err
    assert words in err, f"{words!r} is not in {err!r}"
    assert len(err) < 500, f"too long to be clear: {err[:200]}..."


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_gets_one_clear_line(cli, case):
    make, words = CASES[case]
    arguments = make()
    before = snapshot()
    code, out, err = cli(*arguments)
    assert_one_line(code, err, words)
    assert out == ""
    assert snapshot() == before, "a mistake must leave the files as they were"


EDGES = {
    "picture of one pixel": lambda: ["describe", picture("one.png", (1, 1))],
    "picture of 1 x 5000": lambda: ["describe", picture("thin.png", (1, 5000))],
    "grey picture with alpha": lambda: ["describe", picture("grey.png", (9, 9), "LA")],
    "palette picture": lambda: ["describe", picture("palette.png", (9, 9), "P")],
    "picture of 16 bit": lambda: ["describe", picture("deep.png", (9, 9), "I;16")],
    "picture with the wrong suffix": lambda: ["describe", shutil.move(picture("a.webp"), "a.png")],
    "silence": lambda: ["transcribe", sound("silence.wav", 1.0, 0.0)],
    "one sample of sound": lambda: ["transcribe", sound("click.wav", 1 / 16000)],
    "sound of 96 kHz": lambda: ["transcribe", sound("high.wav", 0.5, rate_hz=96000)],
    "unknown script": lambda: ["translate", "\U00012000\U00012038", "--to", "de"],
    "control characters": lambda: ["translate", "a\x00\x1b[31mb", "--to", "de"],
    "emoji": lambda: ["translate", "\U0001f680", "--to", "de"],
    "broken UTF-8 in an argument": lambda: ["translate", "\udcff\udcfe", "--to", "de"],
}


@pytest.mark.parametrize("case", EDGES)
def test_an_odd_input_works_or_gets_one_clear_line(cli, case):
    code, out, err = cli(*EDGES[case]())
    if code == 0:
        assert out.count("\n") == 1
        if err:
            described = err.startswith(("vqfusion: the picture", "vqfusion: the sound"))
            unlike = "is unlike those that this model was trained on" if described else "is not among the 400 names"
            assert_one_line(code, err, unlike, expected=0)
    else:
        assert_one_line(code, err, "")


def command(*arguments: str | bytes, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "vqfusion", *arguments], stderr=subprocess.PIPE, text=True, **options
    )


def test_a_locale_that_lacks_the_characters_of_a_result(tmp_path):
    process = command(
        "translate", "broccoli", "--to", "ru", stdout=subprocess.PIPE, cwd=tmp_path,
        env=os.environ | {"PYTHONIOENCODING": "cp1252"}, encoding="utf-8",
    )  # fmt: skip
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "") and not out.isascii()


def test_a_name_that_is_no_utf_8(tmp_path):
    shutil.copy(Path(picture(str(tmp_path / "a.png"))), os.fsencode(tmp_path) + b"/caf\xe9.png")
    process = command("classify", "a.png", b"caf\xe9.png", "--json", stdout=subprocess.PIPE, cwd=tmp_path)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "") and json.loads(out)["inputs"] == ["a.png", "caf\udce9.png"]


def test_standard_output_on_a_full_disk(tmp_path):
    with open("/dev/full", "w") as full:
        process = command("translate", "rocket", "--to", "de", stdout=full, cwd=tmp_path)
        _, err = process.communicate(timeout=60)
    assert_one_line(process.returncode, err, "No space left")


def test_a_result_that_does_not_fit_on_the_disk(tmp_path):
    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    process = command("imagine", "rocket", "-o", "a.png", cwd=tmp_path, preexec_fn=small_disk)
    _, err = process.communicate(timeout=60)
    assert_one_line(process.returncode, err, "a.png: cannot be written")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_with_one_line(tmp_path):
    inputs = [f"rocket {i}" for i in range(2000)]
    process = command("imagine", *inputs, "-o", "out", stdout=subprocess.DEVNULL, cwd=tmp_path)
    limit = time.monotonic() + 60
    while not list(tmp_path.glob("out/*.png")) and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert_one_line(process.returncode, err, "interrupted", expected=130)
    assert not list(tmp_path.glob("out/.*")), "a half-written file was left"


def test_a_closed_pipe_is_no_mistake(tmp_path):
    read, write = os.pipe()
    os.close(read)
    process = command("--help", stdout=write, cwd=tmp_path)
    os.close(write)
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    assert err == ""


@pytest.mark.parametrize("number", ["Infinity", "1e999", "NaN"])
def test_numbers_of_a_model_are_finite(tmp_path, number):
    VQVAE(rank=2, channels=1, widths=(4,), depths=(0,), codebook_size=8, dim=4).save_pretrained(tmp_path)
    (tmp_path / "unfinished.json").write_text(f'{{"stage": "model", "step": {number}, "steps": 5}}')
    with pytest.raises(UserError, match="no finite number"):
        load(str(tmp_path))


def test_a_place_before_the_start_of_a_damaged_sound_is_one_line(tmp_path, capfd):
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros((2000, 2)), 16000, "PCM_16", format="AIFF")
    damaged = bytearray(buffer.getvalue() + bytes(2183))
    damaged[38:54] = bytes.fromhex("53000000000000f87f00000000000000")
    (tmp_path / "a.aiff").write_bytes(damaged)
    assert main(["denoise", str(tmp_path / "a.aiff")]) == 2
    assert "Traceback" not in capfd.readouterr().err


def test_libraries_say_nothing_of_their_own_about_a_damaged_tiff(tmp_path, capfd):
    buffer = io.BytesIO()
    pixels = np.arange(20 * 24 * 3, dtype=np.uint8).reshape(20, 24, 3)
    Image.fromarray(pixels).save(buffer, "TIFF", compression="tiff_adobe_deflate")
    whole = buffer.getvalue()
    (tmp_path / "a.tif").write_bytes(whole[:12] + bytes(60) + whole[72:])
    assert main(["denoise", str(tmp_path / "a.tif"), "--sigma", "0.1"]) == 2
    [line] = capfd.readouterr().err.splitlines()
    assert line.startswith("vqfusion: ") and "broken or cut-off" in line
