"""Codes that fall out of use in training are told once, with the mend."""

import warnings

import pytest
import torch

from vqfusion.errors import Note
from vqfusion.models.latent.diffusion_model import DiffusionModel
from vqfusion.nn.conv import VQVAEDecoder, VQVAEEncoder
from vqfusion.tokenizers.quantizers import ResidualVectorQuantizer, VectorQuantizer
from vqfusion.tokenizers.quantizers.watch import watch_usage


def seen(quantizer, vectors, batches=300):
    """The notes of a training on the same vectors again and again."""
    handles = watch_usage(quantizer)
    assert len(handles) == 1, "parts of a quantizer are not watched by themselves"
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always", Note)
        for _ in range(batches):
            quantizer(vectors)
            quantizer.update()
    return [str(note.message) for note in notes if issubclass(note.category, Note)]


def test_a_collapsed_codebook_is_told_once_with_the_mend():
    notes = seen(VectorQuantizer(dim=4, codebook_size=64).train(), torch.ones(8, 32, 4))
    assert len(notes) == 1 and "about 1 of 64 codes are in use after 200 batches" in notes[0]
    assert "lower the learning rate" in notes[0] and "kmeans_init=True" in notes[0]
    assert not seen(VectorQuantizer(dim=4, codebook_size=64).eval(), torch.ones(8, 32, 4))


def test_codes_in_use_are_not_told():
    vectors = torch.randn(8, 32, 4, generator=torch.Generator().manual_seed(0))
    assert not seen(VectorQuantizer(dim=4, codebook_size=64).train(), vectors)
    assert not seen(ResidualVectorQuantizer(dim=4, codebook_size=16, num_quantizers=2).train(), vectors, 210)


def test_a_diffusion_model_watches_its_codes():
    shape = dict(dim=4, widths=(4,), depths=(1,), rank=1)
    model = DiffusionModel(VQVAEEncoder(1, **shape), VQVAEDecoder(1, **shape), width=4)
    model.quantizer.train()
    with pytest.warns(Note, match="of 512 codes are in use"):
        for _ in range(200):
            model.quantizer(torch.ones(4, 4, 16))
            model.quantizer.update()
