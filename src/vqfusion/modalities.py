"""The table of modalities: one row each, and everything that is looked up by the name of a modality.

A new modality needs a row here, a reader and writer in `data/io/`, and a tokenizer. Rows hold no tensors, so that the
command line can use them without loading torch; functions are named as "module:name" and imported when first called.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal


@dataclass(frozen=True)
class Modality:
    """One kind of data.

    Attributes:
        name: Name in configs, files and the API.
        noun: Singular with its article, for messages.
        plural: Plural, for messages.
        unit: What one value is called in rates such as bits per pixel.
        rank: Number of axes beside channels; 0 for text and labels.
        suffixes: Suffixes of the files that `reader` reads.
        written: Suffixes of the files that `writer` writes; results of tasks may have others.
        only_back: Suffixes that are written only from a file of the same format, whose header they need.
        reader: Function from the bytes of a file to a `Sample`, as "module:name".
        writer: Function that writes a `Sample`, as "module:name".
        tokenizer: Tokenizer class, as "module:name".
        measure: Function that measures a `Sample` for `data check`, as "module:name"; "" where there is none.
        same_from: Likeness of the signatures of two samples from which they count as nearly the same.
        keeps: Whether the reader takes `keep=True`, to keep what is needed to write the file back unchanged.
        own_units: Whether values may be in any unit; otherwise their range is fixed.
        in_words: Whether samples may be typed on the command line; such a modality has one slot per language.
        codec: Shipped model that encodes this modality to codes.
        prior: Shipped model that restores this modality.
        plane_prior: Shipped model that restores a sample of a single plane.
        prior_recipe: Recipe that trains such a model.
    """

    name: str
    noun: str
    plural: str
    unit: str
    rank: int
    suffixes: tuple[str, ...]
    written: tuple[str, ...]
    reader: str
    writer: str
    tokenizer: str
    only_back: tuple[str, ...] = ()
    measure: str = ""
    same_from: float = 1.0
    keeps: bool = False
    own_units: bool = False
    in_words: bool = False
    codec: str = "emoji"
    prior: str | None = None
    plane_prior: str | None = None
    prior_recipe: str | None = None

    @property
    def bare(self) -> str:
        """The noun without its article."""
        return self.noun.partition(" ")[2]

    @property
    def pictured(self) -> bool:
        """Whether samples can be displayed as they are: two axes, values in [0, 1]."""
        return self.rank == 2 and not self.own_units

    @property
    def heard(self) -> bool:
        """Whether samples can be played as they are: one axis, values in [-1, 1]."""
        return self.rank == 1 and not self.own_units

    @property
    def by_channel(self) -> bool:
        """Whether each channel is a separate signal with its own unit."""
        return self.rank == 1 and self.own_units

    @property
    def listed(self) -> bool:
        """Whether a sample is one name from a closed list."""
        return not (self.rank or self.in_words)

    def read(self, data: bytes, keep: bool = False) -> Any:
        """Read the `Sample` from the bytes of a file; `keep` as in `data.io.read`."""
        return imported(self.reader)(data, **({"keep": True} if keep and self.keeps else {}))

    def measured(self, sample: Any) -> Any:
        """Measurements of a `Sample`: `data.audit.item.Measured`."""
        return imported(self.measure)(sample)

    def write(self, sample: Any, path: Any, force: bool) -> tuple[str, ...]:
        """Write a `Sample` in the format that the suffix of `path` names; `force` overwrites.

        Returns a line for each thing that the format does not hold.
        """
        return imported(self.writer)(sample, path, force) or ()


def imported(place: str) -> Callable[..., Any]:
    """Import the function or class that "module:name" names."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


_ROWS = (
    Modality(
        name="image",
        noun="a picture",
        plural="pictures",
        unit="pixel",
        rank=2,
        suffixes=(".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif", ".jp2", ".ppm", ".pgm"),
        written=(".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".avif", ".jp2", ".ppm"),
        reader="vqfusion.data.io.picture:read_picture",
        writer="vqfusion.data.io.picture:write_picture",
        tokenizer="vqfusion.tokenizers.image:ImageTokenizer",
        measure="vqfusion.data.audit.measures.picture:measure_picture",
        same_from=0.93,
        keeps=True,
        codec="photo-codec",
        prior="photo",
        prior_recipe="photo-prior",
    ),
    Modality(
        name="audio",
        noun="a sound",
        plural="sounds",
        unit="sample",
        rank=1,
        suffixes=(".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".w64", ".au", ".caf"),
        written=(".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".w64", ".au", ".caf"),
        reader="vqfusion.data.io.sound:read_sound",
        writer="vqfusion.data.io.sound:write_sound",
        tokenizer="vqfusion.tokenizers.audio:AudioTokenizer",
        measure="vqfusion.data.audit.measures.sound:measure_sound",
        same_from=0.88,
        keeps=True,
        prior="sound",
        prior_recipe="sound-prior",
    ),
    Modality(
        name="text",
        noun="a text",
        plural="texts",
        unit="character",
        rank=0,
        suffixes=(".txt",),
        written=(".txt",),
        reader="vqfusion.data.io.text:read_text",
        writer="vqfusion.data.io.text:write_text",
        tokenizer="vqfusion.tokenizers.text:TextTokenizer",
        measure="vqfusion.data.audit.measures.text:measure_text",
        same_from=0.9,
        in_words=True,
    ),
    Modality(  # the name of a class; the result of a task is a distribution over names, written as JSON
        name="label",
        noun="a label",
        plural="labels",
        unit="name",
        rank=0,
        suffixes=(),
        written=(".json",),
        reader="vqfusion.data.io.text:read_text",
        writer="vqfusion.data.io.text:write_text",
        tokenizer="vqfusion.tokenizers.label:LabelTokenizer",
    ),
    Modality(
        name="volume",
        noun="a volume",
        plural="volumes",
        unit="voxel",
        rank=3,
        suffixes=(".nii.gz", ".nii", ".tif", ".tiff", ".npy", ".npz"),
        written=(".nii.gz", ".nii", ".tif", ".tiff", ".npy", ".npz"),
        reader="vqfusion.data.io.volume:read_volume",
        writer="vqfusion.data.io.volume:write_volume",
        tokenizer="vqfusion.tokenizers.volume:VolumeTokenizer",
        measure="vqfusion.data.audit.measures.array:measure_array",
        same_from=0.99,
        keeps=True,
        own_units=True,
        prior="volume",
        plane_prior="photo",
        prior_recipe="volume-prior",
    ),
    Modality(
        name="series",
        noun="a series",
        plural="series",
        unit="value",
        rank=1,
        suffixes=(".csv", ".edf", ".npy", ".npz"),
        written=(".csv", ".npy", ".npz"),
        only_back=(".edf",),
        reader="vqfusion.data.io.series:read_series",
        writer="vqfusion.data.io.series:write_series",
        tokenizer="vqfusion.tokenizers.series:SeriesTokenizer",
        measure="vqfusion.data.audit.measures.array:measure_array",
        same_from=0.99,
        keeps=True,
        own_units=True,
        prior="series",
        prior_recipe="series-prior",
    ),
)

MODALITIES = {row.name: row for row in _ROWS}
SIGNALS = tuple(row.name for row in _ROWS if row.rank)  # sampled along axes: all but text and labels
PRINTED = tuple(row.name for row in _ROWS if not row.rank)  # printed where no output file is named
FILES = tuple(row.name for row in _ROWS if row.suffixes)  # read from files

if TYPE_CHECKING:
    SignalName = str
    FileName = str
else:  # pydantic checks these when it reads configs and headers
    SignalName, FileName = Literal[SIGNALS], Literal[FILES]


def suffixes_of(names: tuple[str, ...]) -> str:
    """Suffixes of several modalities as a list for messages, without duplicates."""
    return ", ".join(dict.fromkeys(suffix for name in names for suffix in MODALITIES[name].suffixes))


def in_words(name: str) -> bool:
    """Whether this is a modality of written text; False for other slots, such as lengths."""
    return name in MODALITIES and MODALITIES[name].in_words


def is_listed(name: str) -> bool:
    """Whether this is a modality whose samples are names from a closed list."""
    return name in MODALITIES and MODALITIES[name].listed
