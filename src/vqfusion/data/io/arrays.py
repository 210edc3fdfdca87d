"""NumPy arrays: .npy and .npz, with their types, names and the other arrays of an archive."""

import io
import zipfile
from dataclasses import dataclass, field

import numpy as np

from vqfusion.data.io.decoding import decoding
from vqfusion.data.io.stored import Stored
from vqfusion.errors import UserError

MOST_HEADER = 2**16


@dataclass(frozen=True)
class StoredArray(Stored):
    """Array of a file: its `shape`, its name `key` in an archive, and the `others` of that archive."""

    shape: tuple[int, ...] = ()
    key: str = "data"
    others: dict[str, np.ndarray] = field(default_factory=dict)
    is_archive: bool = False


def load_arrays(data: bytes, name: str, most_bytes: int) -> tuple[str, dict[str, np.ndarray]]:
    """Arrays of a .npy (as `data`) or .npz, and the name of the one to read: `data` or the only one. No pickle.

    Args:
        data: Bytes of the file.
        name: Name of the file in messages.
        most_bytes: Largest size of the unpacked arrays.

    Returns:
        The name, and the arrays by name.

    Raises:
        UserError: No array, not real numbers, or too large; sizes are compared with the data before memory is
            allocated.
    """
    if not data.startswith(b"PK"):
        key, arrays = "data", {"data": _array(data, name)}
    else:
        with decoding(name, "NumPy archive"), zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
            if sum(member.file_size for member in members) > most_bytes:
                raise UserError(f"{name}: is over the limit of {most_bytes >> 20} MiB; cut it into parts")
            arrays = {member.filename[:-4]: _array(archive.read(member), name) for member in members}
        key = "data" if "data" in arrays or len(arrays) != 1 else next(iter(arrays))
    if key not in arrays:
        if not arrays:
            raise UserError(f"{name}: holds no array")
        raise UserError(f"{name}: holds several arrays ({', '.join(arrays)}); call the one to read `data`")
    if arrays[key].dtype.kind not in "biuf":
        raise UserError(f"{name}: holds {arrays[key].dtype}, not real numbers")
    return key, arrays


def saved_arrays(arrays: dict[str, np.ndarray]) -> bytes:
    """Bytes of a .npz."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def saved_array(array: np.ndarray) -> bytes:
    """Bytes of a .npy."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _array(data: bytes, name: str) -> np.ndarray:
    """One array in .npy format; UserError where the header claims more data than there are."""
    with decoding(name, "NumPy array"):
        file = io.BytesIO(data)
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, kind = read(file, max_header_size=MOST_HEADER)
        if not kind.hasobject and int(np.prod(shape, dtype=object)) * kind.itemsize > len(data) - file.tell():
            raise UserError(f"{name}: is broken: {' x '.join(map(str, shape))} {kind} are more than it holds")
        return np.load(io.BytesIO(data), allow_pickle=False)
