"""Table of all kinds of models that can be saved to a folder."""

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
    """One kind of model.

    Attributes:
        module: Module of the class, within the package.
        opener: Function in the module that loads a folder.
        use: What the model is for, for messages.
    """

    module: str
    opener: str
    use: str

    def open(self, folder: str | Path, device: str | None) -> Any:
        """Load the model in a folder; imports its module."""
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
    """Kind of the model in a folder; UserError where the table does not have it."""
    kind = read_stored(folder).kind
    if kind not in KINDS:
        raise UserError(f"{folder}: holds a {kind}, unknown to this version of vqfusion; known: {', '.join(KINDS)}")
    return kind


def open_model(folder: str | Path, device: str | None = "cpu") -> Any:
    """Load the model in a folder, of whatever kind; warns with a `Note` where its training is unfinished."""
    warn_unfinished(Path(folder))
    return KINDS[kind_of(folder)].open(folder, device)
