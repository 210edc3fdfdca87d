"""The config of a training, by the name of its recipe or from a YAML file."""

from collections.abc import Callable
from pathlib import Path

from vqfusion.config import ChainConfig, LatentTrainingConfig, PriorTrainingConfig, load_yaml
from vqfusion.data import Dataset, open_dataset
from vqfusion.errors import UserError
from vqfusion.train.fusion import recipe as fusion
from vqfusion.train.latent import recipe as latent
from vqfusion.train.restoration import recipe as restoration

KINDS = (fusion, restoration, latent)


def recipe(
    name: str, opened: Callable[..., Dataset] = open_dataset
) -> ChainConfig | PriorTrainingConfig | LatentTrainingConfig:
    """The config of a named recipe or of a YAML file.

    Args:
        name: The name, or the path of a file, which has a section `prior` where a prior is to be trained, and `latent`
            where a diffusion of latents is.
        opened: Opens the data that a file names.

    Raises:
        UserError: There is no such recipe, or the file is not right.
    """
    for kind in KINDS:
        if name in kind.RECIPES:
            return kind.RECIPES[name]()
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        data = load_yaml(path)
        if "latent" in data:
            return latent.training_of(data, path)
        kind = restoration if "prior" in data else fusion
        return kind.training_of(data, path, opened)
    known = ", ".join(one for kind in KINDS for one in kind.RECIPES)
    raise UserError(f"no recipe {name!r}: give one of {known}, or a file that ends in .yaml")
