"""What the tokenizer of photographs learns from, and what it begins from."""

from collections.abc import Sequence

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn import functional as F

from vqfusion.data import Dataset
from vqfusion.errors import UserError
from vqfusion.tokenizers.photo import PhotoTokenizer
from vqfusion.tokenizers.transform.networks import CELL
from vqfusion.train.codec.crops import random_box
from vqfusion.train.loop.steps import Batches, batches_of
from vqfusion.train.restoration.data import as_bytes, reduced

SIZES = (512, 768, 1100, 1600)  # longer sides to which photographs are reduced, beside their own
BEGINNING = 100  # batches whose principal components are the first transform


def load_photographs(dataset: Dataset, crop: int, split: str = "train") -> list[UInt8[Tensor, "3 H W"]]:
    """Photographs of a split in several sizes, those with sides of at least `crop` pixels."""
    records = dataset.select(split=split, slots=("image",))
    pictures = [one for record in records for one in reduced(as_bytes(record.load("image").data, 3), SIZES)]
    large = [one for one in pictures if min(one.shape[1:]) >= crop]
    if not large:
        raise UserError(f"data set {dataset.name!r} has no pictures of {crop} x {crop} pixels in its {split} split")
    return large


def photo_batches(pictures: Sequence[UInt8[Tensor, "3 H W"]], crop: int, batch: int, seed: int) -> Batches:
    """Batches `[batch, 4, crop, crop]`: random crops, mirrored and turned at random, and a channel of random numbers.

    Larger pictures are drawn more often, by the square root of their pixels.

    Args:
        pictures: Pictures as uint8.
        crop: Side of a crop.
        batch: Batch size.
        seed: Random seed.

    Returns:
        Function from the step to a batch for `PhotoTokenizer.loss`.
    """
    weights = torch.tensor([float(one[0].numel()) ** 0.5 for one in pictures])

    def draw(generator: torch.Generator) -> Tensor:
        chosen = pictures[int(torch.multinomial(weights, 1, generator=generator))]
        box = random_box(chosen, (crop, crop), generator)
        mirrored, upside_down, turned = torch.rand(3, generator=generator).tolist()
        box = box.flip(2) if mirrored < 0.5 else box
        box = box.flip(1) if upside_down < 0.2 else box
        box = box.transpose(1, 2) if turned < 0.2 else box
        return torch.cat([box, torch.rand(1, crop, crop, generator=generator)])

    return batches_of(draw, batch, seed)


@torch.no_grad()
def begin_linear(network: PhotoTokenizer, batches: Batches) -> None:
    """Set the transform to the principal components of blocks, and the first scales to those of their latents."""
    moments, count = torch.zeros(3 * CELL**2, 3 * CELL**2, dtype=torch.float64), 0
    for step in range(BEGINNING):
        pictures = network.prepare(batches(step, 0, 1)[:, :3])
        for one in (pictures, pictures.flip(3), pictures.flip(2), pictures.flip(2, 3)):
            blocks = F.pixel_unshuffle(one, CELL).movedim(1, -1).flatten(0, 2)
            moments += (blocks.T @ blocks).double()
            count += len(blocks)
    variances, vectors = torch.linalg.eigh(moments / count)
    dim = network.config.dim
    basis = vectors.flip(1)[:, :dim].T.float()
    largest = basis.gather(1, basis.abs().argmax(dim=1, keepdim=True))
    network.begin(basis * largest.sign(), variances.flip(0)[:dim].clamp(min=0).sqrt().float())
