"""The 400 grey pictures of 180 x 180 pixels that DnCNN was trained on (Zhang et al., 2017)."""

from functools import partial

from vqfusion.data.io.picture import read_picture
from vqfusion.data.record import Dataset, Record
from vqfusion.data.standard import grey_pictures


def open_train400() -> Dataset:
    """Slot `image` `[1, 180, 180]`; the last 40 by name are val. For benchmarks only: there is no licence to ship."""
    files = grey_pictures("train400")
    records = [
        Record(
            file.stem, "val" if index >= len(files) - 40 else "train", sources={"image": partial(read_picture, file, 1)}
        )
        for index, file in enumerate(files)
    ]
    return Dataset("train400", records, licence="academic test pictures without a licence; benchmarks only")
