"""Tiny untrained models of every kind, each file of which is damaged in turn, and the commands that open them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from fuzz_seed import Seed
from PIL import Image
from pydantic import TypeAdapter

from vqfusion.config import (
    ChainConfig,
    DiffusionModelConfig,
    FusionConfig,
    LatentDiffusionConfig,
    PriorConfig,
    SlotConfig,
    TokenizerConfig,
    VQVAEConfig,
)
from vqfusion.models.fusion.fusion import Fusion
from vqfusion.models.fusion.slot_tokenizers import SlotTokenizers
from vqfusion.models.fusion.system import System
from vqfusion.models.fusion.taught import Taught
from vqfusion.models.latent.diffusion_model import DiffusionModel
from vqfusion.models.latent.latent_diffusion import LatentDiffusion
from vqfusion.models.restoration.prior import Prior
from vqfusion.models.unfinished import mark_unfinished
from vqfusion.nn.pretrained import Pretrained
from vqfusion.tokenizers.build import build_network
from vqfusion.tokenizers.codec.entropy_model import EntropyModel
from vqfusion.tokenizers.gaussian_vqvae import GaussianVQVAE
from vqfusion.tokenizers.label import LabelTokenizer
from vqfusion.tokenizers.quantizers import VectorQuantizer
from vqfusion.tokenizers.text import TextTokenizer
from vqfusion.tokenizers.vqvae import VQVAE

SMALL = VQVAEConfig(channels=3, widths=(4, 8), depths=(0, 1), codebook_size=12, dim=4, levels=(5, 4))
MODEL, PICTURE = "m", "a.png"  # names within the folder of a run


def model_seeds(folder: Path) -> Iterator[Seed]:
    """Writes a model of every kind below `folder`; one seed for each of their files."""
    torch.manual_seed(0)
    for kind, (make, commands) in KINDS.items():
        beside = folder / kind
        beside.mkdir(parents=True)
        Image.new("RGB", (18, 16), (200, 30, 90)).save(beside / PICTURE)
        make().save_pretrained(beside / MODEL)
        _more_files(beside / MODEL)
        for path in sorted((beside / MODEL).iterdir()):
            if path.suffix in (".json", ".safetensors"):
                is_text = path.suffix == ".json"
                yield Seed(
                    f"{kind}-{path.name}", "", path.read_bytes(), commands, "", is_text, f"{MODEL}/{path.name}", beside
                )


def _more_files(model: Path) -> None:
    """Files that training and measuring leave in a model."""
    kind = json.loads((model / "config.json").read_text())["kind"]
    if kind == "vqvae":
        mark_unfinished(model, "tokenizer", 3, 9)
    if kind == "prior":
        from vqfusion.hub import ZOO

        for measured in (ZOO / "photo").glob("intervals-*.json"):
            (model / measured.name).write_bytes(measured.read_bytes())


def _system() -> Pretrained:
    shape = {"widths": (4, 4), "depths": (0, 0), "codebook_size": 20, "dim": 4}
    config = TypeAdapter(TokenizerConfig).validate_python({"kind": "image"})
    image = build_network(config.model_copy(update={"vqvae": config.vqvae.model_copy(update=shape)})).eval()
    table = torch.randint(-9, 9, (6, 21, 4), dtype=torch.int8)
    output = torch.randint(-9, 9, (20, 4), dtype=torch.int8)
    image.entropy_model = EntropyModel(table, output, torch.zeros(20, dtype=torch.int16), 2, 2)
    text = TextTokenizer.train(["red apple", "cat", "dog"], 270)
    lengths = LabelTokenizer(tuple(str(k + 1) for k in range(8)), modality="text")
    tokenizers = {"image": image, "text": text, "label": LabelTokenizer(("cat", "dog")), "length:text": lengths}
    slots = {
        "image": SlotConfig(tokenizer="image", shape=(4, 4), patch=(1, 1), steps=3),
        "text:en": SlotConfig(tokenizer="text", shape=(8,), steps=3, variable=True),
        "length:en": SlotConfig(tokenizer="length:text", shape=(1,)),
        "label": SlotConfig(tokenizer="label", shape=(1,)),
    }
    fusion = FusionConfig(dim=16, layers=1, heads=2, token_dim=8, slots=slots)
    configs = {name: tokenizer.config for name, tokenizer in tokenizers.items()}
    chain = ChainConfig(name="small", image_size=8, tokenizers=configs, fusion=fusion)
    parts = SlotTokenizers(chain, tokenizers)
    return System(chain, parts, Fusion(fusion, parts.vocabularies), Taught({"text:en": {"cat": 3}}))


def _prior() -> Pretrained:
    return Prior(PriorConfig(modality="image", channels=3, widths=(4,), depths=(1,)))


def _latent() -> Pretrained:
    return LatentDiffusion.from_config(
        LatentDiffusionConfig(tokenizer=SMALL, width=32, levels=1, steps=2, grid=(4, 4), classes=("cat", "dog"))
    )


LOAD = f"load {MODEL}"  # not a command: vqfusion.load
RESTORE = tuple(
    f"{verb} {PICTURE} --model {MODEL} -o out.png"
    for verb in ("denoise", "denoise --sigma 0.1", "upscale --scale 2", "denoise --sigma 0.1 --interval 0.8")
)
ASK = (
    f"encode {PICTURE} --model {MODEL} -o out.vqf",
    f"any --given image={PICTURE} --target label --model {MODEL}",
    f"describe {PICTURE} --model {MODEL}",
    f"any --given label=cat --target image --model {MODEL} -o out.png",
)
KINDS: dict[str, tuple[Callable[[], Pretrained], tuple[str, ...]]] = {
    "system": (_system, (LOAD, *ASK)),
    "prior": (_prior, (LOAD, *RESTORE)),
    "latent-diffusion": (_latent, (LOAD, f"any --given label=cat --target image --model {MODEL} -o out.png")),
    "diffusion-model": (lambda: DiffusionModel.from_config(DiffusionModelConfig(vqvae=SMALL, steps=2)), (LOAD,)),
    "vqvae": (lambda: VQVAE(SMALL), (LOAD,)),
    "gaussian-vqvae": (lambda: GaussianVQVAE(SMALL, latent_weight=0.5, beta=0.25), (LOAD,)),
    "tokenizer": (lambda: TextTokenizer.train(["red apple"], 270), (LOAD,)),
    "quantizer": (lambda: VectorQuantizer(12, 4), (LOAD,)),
}
