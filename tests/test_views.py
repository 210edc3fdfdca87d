"""Views in the training of Fusion: those that a record holds stay, others are made, and unknown ones are refused."""

import pytest
import torch

from vqfusion.config import DrawConfig, ShortConfig
from vqfusion.data import Dataset, Record
from vqfusion.errors import UserError
from vqfusion.models.fusion.slot_tokenizers import SlotTokenizers
from vqfusion.tokenizers import build_network
from vqfusion.train.fusion.data import check
from vqfusion.train.fusion.own_data import expand
from vqfusion.train.fusion.views import tokenize_records
from vqfusion.types import Sample

COLOURS = [torch.rand(3, 20, 24, generator=torch.Generator().manual_seed(i)) for i in range(3)]


def pictures(*views: str) -> Dataset:
    """Pictures in colour, with views of them that a file would hold: here the mean of the colours."""
    records = []
    for i, colours in enumerate(COLOURS):
        grey = Sample("image", colours.mean(0, keepdim=True).expand(3, -1, -1))
        held = {f"image@{view}": (lambda grey=grey: grey) for view in views}
        records.append(Record(str(i), "train", sources={"image": (lambda one=colours: Sample("image", one)), **held}))
    return Dataset("pictures", records)


@pytest.mark.parametrize("view", ["grey", "noisy", "8"])
def test_a_view_that_a_record_holds_is_taken_as_it_is(view):
    dataset, name = pictures(view), f"image@{view}"
    chain = expand(ShortConfig(name="x", data="x", size="tiny", image_size=16), dataset)
    chain = chain.model_copy(update={"views_per_sample": 3})
    tokenizer = build_network(chain.tokenizers["image"]).eval()
    records = tokenize_records(dataset, SlotTokenizers(chain, {"image": tokenizer}), chain)
    slots = SlotTokenizers(chain, {"image": tokenizer})
    for record, loaded in zip(records, dataset.records, strict=True):
        assert torch.equal(record.variants[0][name], slots.encode(name, loaded.load(name)))
        assert len(record.variants) == 1 and not torch.equal(record.variants[0][name], record.variants[0]["image"])


def test_views_without_a_file_are_made_or_refused():
    chain = expand(ShortConfig(name="x", data="x", size="tiny", image_size=16), pictures("grey"))
    draws = (DrawConfig(given=("image@grey",), target=("image",)),)
    with pytest.raises(UserError, match="image@grey"):
        check(chain.model_copy(update={"draws": draws}), pictures())
    chain = expand(ShortConfig(name="x", data="x", size="tiny", image_size=16), pictures("noisy"))
    check(chain, pictures())
