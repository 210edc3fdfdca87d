"""Training configs: optimisation settings of one network, and the training of priors and of latent diffusion."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from vqfusion.config.base import (
    BelowOne,
    Config,
    Count,
    NotNegative,
    PlainName,
    Positive,
    Seed,
    Share,
    Whole,
    later,
)
from vqfusion.config.models import LatentDiffusionConfig, PriorConfig
from vqfusion.limits import MEMORY


class StageConfig(Config):
    """How one network is trained: linear warm-up, cosine decay to zero, exponential moving average of the weights.

    Attributes:
        optimizer: "adamw", or "muon" (Jordan et al., 2024) for the matrices of linear layers and the kernels of
            restoration networks, and AdamW for the rest.
        steps: Optimizer steps.
        batch: Batch size.
        learning_rate: Peak learning rate.
        warmup_steps: Steps of the linear warm-up.
        weight_decay: Decoupled weight decay.
        betas: Decay rates of the two moments of AdamW.
        clip_norm: Largest norm of the gradient.
        ema_decay: Decay of the moving average of the weights.
        precision: "fp32", "bf16" (autocast), or "auto": of trainings of over a minute the first second tries float32,
            bfloat16 where the device has it, and both with channels last, and takes the fastest.
        checkpoint_every_s: Seconds between checkpoints.
        draws_per_step: Draws from the training mix in each step.
        minutes: Wall time of the stage, in which its schedule ends; then `steps` is the most that it takes. None trains
            all steps.
        validations: Number of times, at equal parts of the training, that a network is validated; the best weights are
            kept.
        patience: Number of validations without a better one after which it stops; 0 never does.
        snapshots: Number of snapshots of power averages, from which any other averaging length can be reconstructed
            after training (`train.loop.power_average`); 0 writes none.
    """

    optimizer: Literal["adamw", "muon"] = "adamw"
    steps: Whole = 2000
    batch: Count = 32
    learning_rate: Annotated[float, Field(gt=0, le=1e3)] = 1e-3
    warmup_steps: Whole = 100
    weight_decay: NotNegative = 0.01
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.95)
    clip_norm: NotNegative = 1.0
    ema_decay: Share = 0.999
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    checkpoint_every_s: NotNegative = 60.0
    draws_per_step: Count = 4
    snapshots: Whole = later(0)
    minutes: Positive | None = later(None)
    validations: Whole = later(0)
    patience: Whole = later(0)


def check_batch(where: str, stage: StageConfig, values: int) -> None:
    """Raise UserError where a batch of signals with this many values exceeds the memory."""
    MEMORY.require(4 * stage.batch * values, f"{where}: a batch of {stage.batch}")


class PriorTrainingConfig(Config):
    """How a restoration prior is trained: random crops with added noise or other damage.

    The squared error at noise level sigma is divided by the square root of the error to be expected there, 1 / (1 /
    sigma^2 + 1 / (error_slope sigma)), so that errors at all levels have gradients of equal size.

    Attributes:
        name: Name of the model.
        data: Folder, manifest, or name of a built-in data set.
        seed: Random seed.
        prior: Network and data range.
        stage: Optimisation settings.
        crop: Side of a training crop in pixels, samples or voxels.
        focus: Range of sigma from which three quarters of the noise levels are drawn uniformly; the rest is drawn
            log-uniformly from the `sigma_range` of the prior.
        blind: Fraction of the items that are trained without the noise level as input.
        error_slope: Slope of the expected error for large sigma.
        sizes: Larger pictures are also used reduced, with one of these lengths in pixels of the longer side; empty
            keeps all sizes.
        candidates: Number of crops from random signals of which the one with the most detail is taken.
        late_crop: Side of a crop in the last quarter of the steps, with a smaller batch; None for `crop`.
        grey: Fraction of the items that are grey pictures in equal channels with the same noise in all of them.
        holes: Fraction of the items with missing values.
        uneven: Fraction of the items with a noise level that varies with the position.
        camera: Fraction of the items with simulated damage of cameras and files; their level is never an input.
        distill: Name or folder of a prior whose answers are learned in place of the clean data.
        method: How it learns where `prior.clean` is false; "auto" chooses by the data, and the log says why.
    """

    name: PlainName
    data: str
    seed: Seed = 0
    prior: PriorConfig = PriorConfig()
    stage: StageConfig = StageConfig(steps=4000, batch=12, weight_decay=0.0, betas=(0.9, 0.99))
    crop: Count = 64
    focus: tuple[Positive, Positive] = (5 / 255, 60 / 255)
    blind: Share = 0.5
    error_slope: Positive = 0.011
    sizes: tuple[Count, ...] = ()
    candidates: Count = 1
    late_crop: Count | None = later(None)
    grey: Share = later(0.0)
    holes: Share = later(0.0)
    uneven: Share = later(0.0)
    camera: Share = later(0.0)
    contrast: Share = later(0.0)
    distill: str | None = later(None)
    method: Literal["auto", "recorrupted", "neighbours", "pairs", "blind_spot"] = later("auto")

    @model_validator(mode="after")
    def _damages_that_there_can_be(self) -> "PriorTrainingConfig":
        if self.holes + self.uneven + self.camera > 1:
            raise ValueError("holes, uneven and camera are shares of the items: together at most 1")
        if (self.grey or self.camera) and (self.prior.rank, self.prior.channels) != (2, 3):
            raise ValueError("grey and camera are for priors of pictures with 3 channels: set them to 0")
        if not self.prior.clean and (self.grey or self.holes or self.uneven or self.camera or self.contrast):
            raise ValueError("grey, holes, uneven, camera and contrast simulate damage of clean data: leave them out")
        if not self.prior.clean and self.distill:
            raise ValueError("distill is for clean data, whose noise is added: leave it out")
        if self.prior.clean and self.method != "auto":
            raise ValueError(f"method {self.method} is for noisy data: write prior: {{clean: false}}")
        return self

    @model_validator(mode="after")
    def _crop_fits_the_network(self) -> "PriorTrainingConfig":
        for name, crop in (("crop", self.crop), ("late_crop", self.late_crop or self.crop)):
            if crop % self.prior.multiple:
                raise ValueError(f"{name} {crop} is not a multiple of {self.prior.multiple}, as the network needs it")
        return self

    @model_validator(mode="after")
    def _batch_fits_in_memory(self) -> "PriorTrainingConfig":
        check_batch("stage", self.stage, self.prior.channels * self.crop**self.prior.rank)
        return self


class LatentTrainingConfig(Config):
    """How a latent diffusion model is trained from raw data: first the tokenizer, then the denoiser of its latents.

    Attributes:
        name: Name of the model.
        data: Folder, manifest, or name of a built-in data set.
        seed: Random seed.
        image_size: Pictures are resized to this many pixels a side.
        latent: The model.
        tokenizer_stage: Optimisation settings of the tokenizer.
        stage: Optimisation settings of the denoiser.
        label: Slot that holds the class of an item; None trains without classes.
        drop_label: Fraction of the items trained without their class, for classifier-free guidance.
    """

    name: PlainName
    data: str
    seed: Seed = 0
    image_size: Count = 32
    latent: LatentDiffusionConfig = LatentDiffusionConfig()
    tokenizer_stage: StageConfig = StageConfig(steps=1000)
    stage: StageConfig = StageConfig(steps=2000, batch=64, learning_rate=2e-3, weight_decay=0.0, betas=(0.9, 0.99))
    label: str | None = None
    drop_label: Share = 0.1

    @model_validator(mode="after")
    def _batch_fits_in_memory(self) -> "LatentTrainingConfig":
        check_batch("tokenizer_stage", self.tokenizer_stage, self.image_size**2)
        check_batch("stage", self.stage, self.image_size**2)
        return self
