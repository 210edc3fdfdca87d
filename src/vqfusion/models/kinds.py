"""Every kind of model that can be kept in a folder: one row a kind."""

from dataclasses import dataclass
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Any

from vqfusion.errors import UserError
from vqfusion.models.unfinished import warn_unfinished
from vqfusion.nn.pretrained import read_stored


@dataclass(frozen=True)
class Kind:
    """What such a model is for, and the function that opens its folder: a module, and a name in it."""

    module: str
    opener: str
    use: str

    def open(self, folder: str | Path, device: str | None) -> Any:
        """The model in a folder; the module is imported now."""
        return attrgetter(self.opener)(import_module(f"vqfusion.{self.module}"))(folder, device)


KINDS: dict[str, Kind] = {
    "system": Kind("models.fusion.system", "System.from_pretrained", "for every task over its slots"),
    "prior": Kind("models.restoration.prior", "Prior.from_pretrained", "for denoise, upscale, inpaint and enhance"),
    "latent-diffusion": Kind("models.latent.latent_diffusion", "LatentDiffusion.from_pretrained", "for `vqfusion any`"),
    "diffusion-model": Kind("models.latent.diffusion_model", "DiffusionModel.from_pretrained", "used from Python"),
    "vqvae": Kind("tokenizers.vqvae", "VQVAE.from_pretrained", "used from Python"),
    "gaussian-vqvae": Kind("tokenizers.gaussian_vqvae", "GaussianVQVAE.from_pretrained", "used from Python"),
    "tokenizer": Kind("tokenizers.build", "open_tokenizer", "used from Python"),
    "quantizer": Kind("tokenizers.quantizers", "Quantizer.from_pretrained", "used from Python"),
}


def kind_of(folder: str | Path) -> str:
    """The kind of the model in a folder; UserError where it holds none of the table."""
    kind = read_stored(folder).kind
    if kind not in KINDS:
        raise UserError(f"{folder}: holds a {kind}, which this version does not know; known: {', '.join(KINDS)}")
    return kind


def open_model(folder: str | Path, device: str | None = "cpu") -> Any:
    """The model in a folder, of whatever kind its config.json says; a `Note` where its training has not ended."""
    warn_unfinished(Path(folder))
    return KINDS[kind_of(folder)].open(folder, device)
