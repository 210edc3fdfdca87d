"""The config of a training, by the name of its recipe or from a YAML file."""

from collections.abc import Callable
from pathlib import Path

from vqfusion.config import ChainConfig, LatentTrainingConfig, PriorTrainingConfig, load_yaml
from vqfusion.config.chain import UNLIMITED
from vqfusion.data import Dataset, open_dataset
from vqfusion.errors import UserError
from vqfusion.train.fusion import recipe as fusion
from vqfusion.train.latent import recipe as latent
from vqfusion.train.restoration import recipe as restoration

KINDS = (fusion, restoration, latent)


AnyTraining = ChainConfig | PriorTrainingConfig | LatentTrainingConfig


def changed(
    config: AnyTraining, seed: int | None = None, minutes: float | None = None, steps: int | None = None
) -> AnyTraining:
    """The config with what is given in place of its own.

    Args:
        config: A config of any kind.
        seed: Random seed.
        minutes: Wall time of the whole training of a chain; without `steps` nothing else ends it.
        steps: Steps of the model, after its tokenizers.

    Raises:
        UserError: The time is not above 0, or is given to a training that has no schedule for it.
    """
    if seed is not None:
        config = config.model_copy(update={"seed": seed})
    name = "fusion_stage" if isinstance(config, ChainConfig) else "stage"
    if minutes is not None:
        if not isinstance(config, ChainConfig) or not config.fusion.slots:
            raise UserError(
                "minutes are for models over slots (a YAML file without `prior` and `latent`): give --steps"
            )
        if not 0 < minutes < float("inf"):
            raise UserError(f"{minutes:g} minutes is no time to train; give more than 0")
        config = config.model_copy(update={"minutes": minutes})
        steps = UNLIMITED if steps is None else steps
    if steps is not None:
        stage = getattr(config, name).model_copy(update={"steps": steps})
        config = config.model_copy(update={name: stage})
    return config


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
