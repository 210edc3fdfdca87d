"""195 openly licensed photographs, most from three Debian packages: what the shipped photo prior learned from."""

import os
import struct
import zlib
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

from vqfusion.data.io.picture import read_picture
from vqfusion.data.record import Dataset, Record
from vqfusion.errors import UserError
from vqfusion.types import Sample

SOURCES = Path(__file__).parent.parent / "zoo" / "photo" / "sources.tsv"
RESOURCES = "gcompris-qt/rcc"


def open_photos() -> Dataset:
    """Slot `image` `[3, H, W]`; the key is the name of the file, the split is by photograph.

    Files, authors and licences (CC0, CC BY, CC BY-SA, public domain) are the rows of `zoo/photo/sources.tsv`. The
    packages lomiri-wallpapers-16.04, lomiri-wallpapers-20.04 and gcompris-qt-data are looked for where they are
    installed, in /usr/share, and unpacked in `$VQFUSION_DATA/debian/NAME`. Those of photos_cc0 are in
    `$VQFUSION_DATA/photos_cc0`, at most 1.5 megapixels each. UserError names what is missing.
    """
    records = []
    for line in SOURCES.read_text(encoding="utf-8").splitlines()[1:]:
        split, package, file, *_ = line.split("\t")
        if package == "gcompris-qt-data":
            source = partial(_from_resource, package, file)
        elif package == "photos_cc0":
            source = partial(_from_folder, file)
        else:
            source = partial(_from_file, package, file)
        records.append(Record(Path(file).stem, split, sources={"image": source}))
    return Dataset("photos", records, licence="CC0, CC BY, CC BY-SA or public domain; each in zoo/photo/sources.tsv")


def _from_file(package: str, file: str) -> Sample:
    return read_picture(shared_folder(package) / file, channels=3)


def _from_folder(file: str) -> Sample:
    folder = data_root() / "photos_cc0"
    if not folder.is_dir():
        raise UserError(
            f"{folder} is missing: put the files of the package photos_cc0 there, as zoo/photo/sources.tsv "
            "names them, from their sources, and set VQFUSION_DATA to the folder around it"
        )
    return read_picture(folder / file, channels=3)


def _from_resource(package: str, file: str) -> Sample:
    activity = file.split("/")[3]
    archive = shared_folder(package) / RESOURCES / f"{activity}.rcc"
    return read_picture(_resources(archive)[file], channels=3)


def data_root() -> Path:
    """Folder of data sets that are not installed: `$VQFUSION_DATA`."""
    return Path(os.environ.get("VQFUSION_DATA", "../shared/data"))


def shared_folder(package: str) -> Path:
    """`usr/share` of a Debian package that is installed, or unpacked with `dpkg -x` in `$VQFUSION_DATA/debian`."""
    root = data_root() / "debian" / package / "usr/share"
    if root.is_dir():
        return root
    if Path(f"/usr/share/doc/{package}").is_dir():
        return Path("/usr/share")
    raise UserError(
        f"the Debian package {package} is missing: install it, or `apt-get download {package}` and "
        f"`dpkg -x {package}_*.deb DIR/debian/{package}`, and set VQFUSION_DATA to DIR"
    )


@cache
def _resources(archive: Path) -> dict[str, bytes]:
    """Files of a Qt resource archive by path."""
    try:
        return dict(read_resources(archive.read_bytes()))
    except OSError as error:
        raise UserError(f"{archive}: cannot be read ({error.strerror})") from None


def read_resources(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Path and content of each file in a Qt binary resource (.rcc), of which the entries are stored or deflated.

    The header points to a tree of nodes, to names and to contents; a node is a folder (flag 2) with a run of
    children, or a file, which flag 1 says is compressed. Raises UserError for other data.
    """
    if data[:4] != b"qres":
        raise UserError("not a Qt resource file")
    version, tree, contents, names = struct.unpack(">IIII", data[4:20])
    size = 14 if version < 2 else 22

    def walk(index: int, path: str) -> Iterator[tuple[str, bytes]]:
        node = tree + index * size
        name_at, flags, first, second = struct.unpack(">IHII", data[node : node + 14])
        if index:
            length = struct.unpack(">H", data[names + name_at : names + name_at + 2])[0]
            start = names + name_at + 6
            path = f"{path}/{data[start : start + 2 * length].decode('utf-16-be')}".lstrip("/")
        if flags & 2:
            for child in range(second, second + first):
                yield from walk(child, path)
            return
        place = contents + second
        length = struct.unpack(">I", data[place : place + 4])[0]
        content = data[place + 4 : place + 4 + length]
        if flags & 4:
            raise UserError(f"{path}: compressed with Zstandard, which is not read here")
        yield path, zlib.decompress(content[4:]) if flags & 1 else content

    return walk(0, "")
