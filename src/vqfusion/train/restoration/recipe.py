"""Recipes of priors: what they learn from, at which cost; and the short YAML for one's own data."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from vqfusion.config import PriorConfig, PriorTrainingConfig, StageConfig, validated
from vqfusion.data import Dataset, open_dataset
from vqfusion.errors import UserError
from vqfusion.modalities import MODALITIES
from vqfusion.train.fusion.own_data import beside

STAGE = StageConfig(
    steps=5000, batch=12, learning_rate=1.5e-3, warmup_steps=200, weight_decay=0.0, betas=(0.9, 0.99), ema_decay=0.999
)


def grey_prior() -> PriorTrainingConfig:
    """Grey pictures, from 360 of the 400 pictures of the literature: for benchmarks, not shipped.

    Cost and scores are in docs/zoo/priors.md.
    """
    return PriorTrainingConfig(name="grey-prior", data="train400", stage=STAGE.model_copy(update={"steps": 7500}))


def photo_prior() -> PriorTrainingConfig:
    """Photographs in colour and grey, from 172 openly licensed ones; ships as `photo`.

    Cost and scores are in docs/zoo/priors.md.
    """
    return PriorTrainingConfig(
        name="photo-prior",
        data="photos",
        prior=PriorConfig(channels=3, leak=0.03),
        stage=STAGE.model_copy(update={"steps": 14000, "optimizer": "muon", "learning_rate": 5e-4}),
        sizes=(512, 768, 1100, 1600),
        candidates=3,
        error_slope=0.0065,
        late_crop=96,
        grey=0.25,
        holes=0.12,
        uneven=0.06,
        camera=0.08,
    )


def photo_small() -> PriorTrainingConfig:
    """A prior of photographs of 1.8 MiB and 0.4 times the arithmetic of `photo`, from whose answers it learns."""
    base = photo_prior()
    return base.model_copy(
        update={
            "name": "photo-small",
            "prior": PriorConfig(channels=3, leak=0.03, widths=(40, 64, 80), depths=(2, 2, 2)),
            "stage": base.stage.model_copy(update={"steps": 12000, "learning_rate": 1e-3}),
            "distill": "photo",
        }
    )


def volume_prior() -> PriorTrainingConfig:
    """Magnetic resonance volumes of heads, also with thick slices and in other contrasts; ships as `volume`.

    Cost and scores: docs/zoo/priors.md.
    """
    return PriorTrainingConfig(
        name="volume-prior",
        data="brains",
        prior=PriorConfig(modality="volume", widths=(32, 64, 96), depths=(2, 2, 2), leak=0.03),
        stage=STAGE.model_copy(update={"steps": 6000, "batch": 4, "optimizer": "muon", "learning_rate": 1e-3}),
        crop=32,
        focus=(0.02, 0.25),
        error_slope=0.008,
        candidates=2,
        holes=0.1,
        uneven=0.06,
        contrast=0.4,
    )


def sound_prior() -> PriorTrainingConfig:
    """Speech at 16 kHz, from clean recordings of real people; ships as `sound`.

    Cost and scores: docs/zoo/priors.md.
    """
    return PriorTrainingConfig(
        name="sound-prior",
        data="speech",
        prior=PriorConfig(
            modality="audio",
            value_range=(-1.0, 1.0),
            sample_rate_hz=16000,
            widths=(96, 128, 192),
            depths=(2, 2, 2),
            fold=8,
            leak=0.03,
        ),
        stage=STAGE.model_copy(update={"steps": 8000, "batch": 12, "optimizer": "muon", "learning_rate": 1e-3}),
        crop=4096,
        focus=(0.002, 0.1),
        error_slope=0.004,
        candidates=2,
        holes=0.1,
        uneven=0.06,
    )


def series_prior() -> PriorTrainingConfig:
    """Single channels of sensors, from ten stations of air quality and an electrocardiogram; ships as `series`.

    Cost and scores: docs/zoo/priors.md.
    """
    return PriorTrainingConfig(
        name="series-prior",
        data="sensors",
        prior=PriorConfig(
            modality="series",
            value_range=(-1.0, 1.0),
            sigma_range=(0.001, 0.5),
            widths=(48, 72, 104, 128),
            depths=(1, 2, 2, 2),
            leak=0.03,
        ),
        stage=STAGE.model_copy(update={"steps": 3500, "batch": 16, "warmup_steps": 100}),
        crop=512,
        focus=(0.002, 0.1),
        error_slope=0.01,
        holes=0.6,
        uneven=0.1,
    )


RECIPES: dict[str, Callable[[], PriorTrainingConfig]] = {
    "grey-prior": grey_prior,
    "photo-prior": photo_prior,
    "photo-small": photo_small,
    "volume-prior": volume_prior,
    "sound-prior": sound_prior,
    "series-prior": series_prior,
}


THIN = 16  # volumes of fewer slices are learned slice by slice
NOISY_STAGE = {"steps": 2000, "optimizer": "muon", "learning_rate": 1e-3, "warmup_steps": 100, "ema_decay": 0.995}
NOISY = {  # by rank: widths and depths of the network, side and number of the crops
    1: ((48, 64, 96), (2, 2, 2), 4096, 12),
    2: ((32, 64, 96), (2, 2, 2), 64, 8),
    3: ((24, 48, 64), (1, 2, 2), 32, 4),
}


def training_of(data: dict[str, Any], path: Path, opened: Callable[..., Dataset] = open_dataset) -> PriorTrainingConfig:
    """The training of a YAML file with a section `prior`; a relative `data` path is taken from the file's folder.

    What is not said is as in the recipe of the same modality, but for `data`; under `stage` single values may be
    given. Grey pictures in equal channels and what a camera does are of colour alone, crops of one's own size stay at
    it, and one's own data have the contrast they have.

    Args:
        data: Content of the file.
        path: The file.
        opened: Opens the data, of which the kind of noise is found where they are not clean.

    Raises:
        UserError: The file is not right.
    """
    section = data["prior"]
    if isinstance(section, dict) and section.get("clean") is False:
        return _noisy_training_of(data, path, opened)
    modality = str(section.get("modality", "image")) if isinstance(section, dict) else "image"
    row = MODALITIES.get(modality)
    recipe = (row and row.prior_recipe) or "photo-prior"
    base = RECIPES[recipe]().model_dump(mode="json", exclude={"data", "name"})
    base |= {"contrast": 0.0}
    if isinstance(section, dict) and section.get("channels", 3) != 3:
        base |= {"grey": 0.0, "camera": 0.0}
    if "crop" in data:
        base |= {"late_crop": None}
    merged = base | data
    for key in ("prior", "stage"):
        if isinstance(data.get(key), dict):
            merged[key] = base[key] | data[key]
    training = validated(PriorTrainingConfig, merged, str(path))
    return training.model_copy(update={"data": beside(path, training.data)})


def _noisy_training_of(data: dict[str, Any], path: Path, opened: Callable[..., Dataset]) -> PriorTrainingConfig:
    """The training without clean data of a YAML file; modality, channels and sample rate are those of the data."""
    if not isinstance(data.get("data"), str):
        raise UserError(f"{path}: data: name the folder of the noisy files")
    place = beside(path, data["data"])
    section = _of_the_data(dict(data["prior"]), opened(place))
    row = MODALITIES.get(str(section["modality"]))
    if row is None or not row.rank:
        return validated(PriorTrainingConfig, data, str(path))  # says what is wrong
    widths, depths, crop, batch = NOISY[row.rank]
    recipe = RECIPES[row.prior_recipe or "photo-prior"]().prior
    stage = STAGE.model_copy(update=NOISY_STAGE | {"batch": batch}).model_dump(mode="json")
    prior = {"widths": widths, "depths": depths, "fold": recipe.fold, "value_range": recipe.value_range, "leak": 0.03}
    if row.own_units:
        prior |= {"value_range": (0.0, 1.0), "fold": 2}
    merged = {"crop": crop} | data | {"data": place, "prior": prior | section}
    if isinstance(data.get("stage", {}), dict):
        merged["stage"] = stage | data.get("stage", {})
    return validated(PriorTrainingConfig, merged, str(path))


def _of_the_data(section: dict[str, Any], data: Dataset) -> dict[str, Any]:
    """A section `prior` with what it leaves open filled in from the first file."""
    slots = [slot for slot in data.slots() if slot in MODALITIES and MODALITIES[slot].rank]
    asked = section.get("modality")
    slot = asked if asked in slots else next((one for one in slots if MODALITIES[one].rank == 3), None)
    if asked is None:
        if len(slots) != 1:
            raise UserError(f"data set {data.name!r} holds {', '.join(slots) or 'no signals'}: say prior.modality")
        slot = slots[0]
    if slot is None:
        return section
    sample = data.select(slots=(slot,))[0].load(slot)
    kind = MODALITIES[slot]
    flat = kind.rank == 3 and sample.data.shape[1] < THIN
    modality = asked or ("image" if flat else slot)
    grey = kind.pictured and bool((sample.data == sample.data[:1]).all())
    channels = 1 if grey or kind.own_units else int(sample.data.shape[0])
    found: dict[str, Any] = {"modality": modality, "channels": channels}
    if kind.heard:
        found["sample_rate_hz"] = sample.sample_rate_hz
    return found | section
