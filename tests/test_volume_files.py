"""Volumes in files: type, header, axes and sizes stay as they were; what is damaged is one line."""

import gzip
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
import torch

from vqfusion.config import ChainConfig, FusionConfig, PriorConfig, VolumeTokenizerConfig, VQVAEConfig
from vqfusion.data import read, write
from vqfusion.errors import UserError
from vqfusion.models.codec.codec import Codec
from vqfusion.models.codec.vqf import VqfFile, VqfHeader
from vqfusion.models.fusion.slot_tokenizers import SlotTokenizers
from vqfusion.models.restoration.prior import Prior
from vqfusion.tokenizers.build import build_network
from vqfusion.types import Sample

NETWORK = VQVAEConfig(rank=3, channels=1, widths=(8, 8), depths=(0, 1), codebook_size=24, dim=4)
TOKENIZER = VolumeTokenizerConfig(crop=8, vqvae=NETWORK)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def prior(tmp_path_factory) -> str:
    torch.manual_seed(0)
    made = Prior(PriorConfig(modality="volume", widths=(4, 6), depths=(1, 1))).eval()
    folder = tmp_path_factory.mktemp("prior")
    made.save_pretrained(folder)
    return str(folder)


AFFINE = np.array([[0, -2, 0, 10], [1.5, 0, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1]], float)


def nifti(voxels: np.ndarray, path: str = "a.nii", slope: float | None = None, big: bool = False) -> bytes:
    """A file with everything in its header that could be lost."""
    kind = nibabel.Nifti2Header if path.startswith("two") else nibabel.Nifti1Header
    header = kind(endianness=">" if big else "<")
    header.set_data_dtype(voxels.dtype.newbyteorder(">" if big else "<"))
    header.set_data_shape(voxels.shape)
    header.set_zooms((1.5, 2, 3, *[0.8] * (voxels.ndim - 3)))
    header.set_sform(AFFINE, "mni"), header.set_qform(AFFINE, "scanner")
    header.set_xyzt_units("mm", "sec")
    header["descrip"], header["cal_max"], header["intent_name"] = b"made here", 900, b"what"
    header["scl_slope"], header["scl_inter"] = (slope, -1024) if slope else (0, 0)
    extension = nibabel.nifti1.Nifti1Extension("comment", b"who was it")
    front = BytesIO()
    header["vox_offset"] = kind.sizeof_hdr + 4 + extension.get_sizeondisk()
    front.write(header.binaryblock + b"\x01\0\0\0")
    extension.write_to(front, big)
    made = front.getvalue() + voxels.astype(header.get_data_dtype()).tobytes(order="F")
    Path(path).write_bytes(gzip.compress(made) if path.endswith("gz") else made)
    return made


def content(path: str) -> bytes:
    data = Path(path).read_bytes()
    return gzip.decompress(data) if path.endswith("gz") else data


@pytest.mark.parametrize("path", ["a.nii", "a.nii.gz", "two.nii"])
@pytest.mark.parametrize("kind", ["i2", "u1", "f4", "f8", "i4"])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("slope", [None, 0.5])
def test_nifti_comes_back_as_it_stood(path, kind, big, slope):
    voxels = np.random.default_rng(0).integers(0, 200, (4, 5, 6)).astype(kind)
    front = nifti(voxels, path, slope, big)
    sample = read(path)
    expected = voxels * (slope or 1.0) + (-1024 if slope else 0)
    assert np.array_equal(sample.data[0].numpy().transpose(2, 1, 0), expected)
    write(sample, f"{path[:-3]}.same.{path.split('.', 1)[1]}"), write(sample, "same.nii")
    assert content("same.nii") == front, "nothing has changed"
    data = sample.data.clone()
    data[0, 2, 1, 3] += 3.3
    data[0, 0, 0, 0] = 1e7
    write(replace(sample, data=data), "other.nii")
    made, is_whole = nibabel.load("other.nii"), kind[0] in "iu"
    there = np.asarray(made.dataobj)
    assert made.get_data_dtype() == np.dtype(kind).newbyteorder(">" if big else "<")
    assert content("other.nii")[: len(front) - voxels.nbytes] == front[: len(front) - voxels.nbytes]
    wrong = np.argwhere(there != expected)
    assert {tuple(place) for place in wrong.tolist()} == {(3, 1, 2), (0, 0, 0)}
    assert abs(there[3, 1, 2] - expected[3, 1, 2] - 3.3) <= (0.51 * (slope or 1.0) if is_whole else 1e-3)
    top = np.iinfo(kind).max * (slope or 1.0) - (1024 if slope else 0) if is_whole else 1e7
    assert there[0, 0, 0] == pytest.approx(min(1e7, top), abs=0.5), "clipped to the type, never wrapped"


def test_a_series_of_volumes_is_restored_one_by_one(cli, prior):
    voxels = np.random.default_rng(0).normal(500, 30, (6, 7, 8, 3)).astype(np.int16)
    front = nifti(voxels, "a.nii")
    assert read("a.nii").data.shape == (3, 8, 7, 6)
    assert cli("denoise", "a.nii", "--sigma", "30", "--model", prior, "-o", "b.nii")[0] == 0
    made = nibabel.load("b.nii")
    assert made.shape == voxels.shape and content("b.nii")[: -voxels.nbytes] == front[: -voxels.nbytes]
    nifti(voxels[..., 1], "one.nii")
    assert cli("denoise", "one.nii", "--sigma", "30", "--model", prior, "-o", "c.nii")[0] == 0
    alone = np.asarray(nibabel.load("c.nii").dataobj).astype(int)
    assert np.abs(alone - np.asarray(made.dataobj)[..., 1]).max() <= 1, "a volume alone is restored as in its series"


def test_an_enlarged_volume_keeps_its_header_but_for_the_size(cli, prior):
    nifti(np.random.default_rng(0).normal(500, 30, (6, 7, 8)).astype(np.int16), "a.nii.gz")
    assert cli("upscale", "a.nii.gz", "--steps", "1", "--model", prior, "-o", "b.nii.gz")[0] == 0
    before, after = nibabel.load("a.nii.gz"), nibabel.load("b.nii.gz")
    assert after.shape == (12, 14, 16) and after.get_data_dtype() == np.int16
    np.testing.assert_allclose(after.header.get_zooms(), (0.75, 1, 1.5))
    for get in ("get_sform", "get_qform"):
        (affine, code), (old, wanted) = getattr(after.header, get)(coded=True), getattr(before.header, get)(coded=True)
        assert code == wanted
        np.testing.assert_allclose(affine @ [-0.5, -0.5, -0.5, 1], old @ [-0.5, -0.5, -0.5, 1], atol=1e-4)
    assert after.header["descrip"] == before.header["descrip"] and len(after.header.extensions) == 1


def test_inpainting_keeps_labels_and_voxels_outside_the_mask(cli, prior):
    labels = np.random.default_rng(0).integers(0, 60000, (6, 7, 8)).astype(np.uint16)
    nifti(labels, "a.nii")
    mask = np.zeros((8, 7, 6), np.uint8)
    mask[3:5, 2:4, 1:3] = 1
    np.save("mask.npy", mask)
    asked = ("--mask", "mask.npy", "--steps", "2", "--model", prior)
    assert cli("inpaint", "a.nii", *asked, "-o", "b.nii")[0] == 0
    made = np.asarray(nibabel.load("b.nii").dataobj)
    assert made.dtype == np.uint16 and (made == labels)[mask.transpose(2, 1, 0) == 0].all()
    assert cli("inpaint", "a.nii", *asked, "--interval", "0.9", "-o", "c.nii")[0] == 0
    width = nibabel.load("c-uncertainty.nii")
    assert width.get_data_dtype() == np.float32, "a width is no count"
    assert (np.asarray(width.dataobj)[mask.transpose(2, 1, 0) == 0] == 0).all()


def test_unknown_stays_unknown():
    np.save("a.npy", np.ones((3, 4, 5), np.int16))
    sample = read("a.npy")
    write(sample, "a.nii"), write(sample, "a.tif"), write(Sample("volume", torch.ones(1, 3, 4, 5)), "b.tif")
    header = nibabel.load("a.nii").header
    assert header.get_data_dtype() == np.int16 and header.get_xyzt_units() == ("unknown", "unknown")
    assert int(header["sform_code"]) == int(header["qform_code"]) == 0
    for name in ("a.nii", "a.tif", "b.tif"):
        again = read(name)
        assert again.spacing_mm is None and again.affine is None
    with tifffile.TiffFile("b.tif") as file:
        assert "spacing" not in file.imagej_metadata and "unit" not in file.imagej_metadata
    assert tifffile.imread("a.tif").dtype == np.int16


UM = {f"PhysicalSize{axis}": 0.3 if axis == "Z" else 0.1 for axis in "XYZ"}
UM |= {f"PhysicalSize{axis}Unit": "µm" for axis in "XYZ"}
TIFFS = {
    "OME": dict(ome=True, metadata={"axes": "ZYX"} | UM),
    "OME, times and channels": dict(ome=True, metadata={"axes": "TCZYX", "TimeIncrement": 0.5} | UM),
    "plain": dict(resolution=(1e5, 1e5), resolutionunit="CENTIMETER", photometric="minisblack", metadata=None),
    "plain, big-endian, deflated": dict(byteorder=">", compression="zlib", photometric="minisblack", description="me"),
    "times": dict(imagej=True, resolution=(10, 10), metadata={"axes": "TYX", "finterval": 0.5, "unit": "um"}),
    "channels": dict(imagej=True, metadata={"axes": "CYX"}),
    "ImageJ": dict(imagej=True, resolution=(5, 4), metadata={"axes": "ZYX", "spacing": 2.5, "unit": "um", "Info": "x"}),
    "times of stacks": dict(imagej=True, metadata={"axes": "TZYX", "finterval": 2.0}),
    "own tag": dict(photometric="minisblack", extratags=[(65000, 2, None, "own", True)], software="mine"),
}  # fmt: skip


def said(path: str) -> dict:
    with tifffile.TiffFile(path) as file:
        tags, page = file.pages.first.tags, file.pages.first
        names = ("XResolution", "YResolution", "ResolutionUnit", "Software", "ImageDescription", "Compression", 65000)
        own = {name: tags.valueof(name) for name in names}
        axes, shape = file.series[0].axes.replace("Q", "I"), file.series[0].shape
        own |= {"axes": axes, "shape": shape, "type": page.dtype, "order": file.byteorder}
        return own | {"ome": file.ome_metadata, "imagej": file.imagej_metadata}


@pytest.mark.parametrize("case", TIFFS)
@pytest.mark.parametrize("kind", ["u2", "u1", "f4"])
def test_tiff_comes_back_as_it_stood(case, kind):
    axes = TIFFS[case].get("metadata") and TIFFS[case]["metadata"].get("axes") or "ZYX"
    sizes = {"T": 2, "C": 2, "Z": 3, "Y": 20, "X": 24}
    shape = tuple(sizes[axis] for axis in axes)
    voxels = np.random.default_rng(0).integers(0, 200, shape).astype(kind)
    tifffile.imwrite("a.tif", voxels, **TIFFS[case])
    sample = read("a.tif")
    frames = int(np.prod([sizes[axis] for axis in axes if axis in "TC"]))
    assert sample.data.shape == (frames, sizes["Z"] if "Z" in axes else 1, 20, 24)
    fine = (0.3e-3, 0.1e-3, 0.1e-3)
    um = {"OME": fine, "OME, times and channels": fine, "ImageJ": (2.5e-3, 0.25e-3, 0.2e-3)}
    assert sample.spacing_mm == (pytest.approx(um[case]) if case in um else None)
    write(replace(sample, data=sample.data + 1.25), "b.tif")
    assert said("b.tif") == said("a.tif")
    assert np.array_equal(tifffile.imread("b.tif"), voxels + (1.25 if kind == "f4" else np.array(1, kind)))


def test_channels_and_times_are_no_depth(cli, prior):
    rng = np.random.default_rng(0)
    two = np.stack([rng.normal(3000, 900, (24, 24)), rng.normal(300, 60, (24, 24))]).clip(0).astype(np.uint16)
    tifffile.imwrite("two.tif", two, imagej=True, metadata={"axes": "CYX"})
    tifffile.imwrite("one.tif", two[::-1], imagej=True, metadata={"axes": "CYX"})
    for name in ("one", "two"):
        assert cli("denoise", f"{name}.tif", "--sigma", "60", "--model", prior, "-o", f"{name}-made.tif")[0] == 0
    made, turned = (tifffile.imread(f"{name}-made.tif").astype(int) for name in ("two", "one"))
    assert np.abs(made[1] - turned[0]).max() <= 1, "a channel does not depend on the place or values of another"
    code, _, err = cli("upscale", "two.tif", "--model", prior, "-o", "large.tif")
    assert code == 2 and "single plane" in err


def test_images_beside_the_first_are_named():
    with tifffile.TiffWriter("a.tif") as file:
        file.write(np.ones((3, 20, 24), np.uint8), photometric="minisblack")
        file.write(np.ones((10, 12), np.uint8), photometric="minisblack")
    assert read("a.tif").notes == ("its first stack is read; 1 other image is left out",)


@pytest.mark.parametrize("kind", ["<i2", ">f8", "|u1", "<f2", "|b1"])
def test_arrays_of_volumes_keep_their_type(kind):
    voxels = np.random.default_rng(0).integers(0, 2, (3, 4, 5)).astype(kind)
    np.save("a.npy", voxels), np.savez("a.npz", scan=voxels)
    np.savez("b.npz", data=voxels, spacing_mm=[1, 2, 3], who="me")
    for name, key in (("a.npy", None), ("a.npz", "scan"), ("b.npz", "data")):
        sample = read(name, "volume")
        write(replace(sample, data=sample.data.clone()), f"made-{name}")
        made = np.load(f"made-{name}")
        assert key is None or made.files == np.load(name).files
        made = made if key is None else made[key]
        assert made.dtype.str == np.dtype(kind).str and np.array_equal(made, voxels)


def _header(**fields) -> bytes:
    data = bytearray(nifti(np.ones((3, 4, 5), np.float32)))
    view = np.frombuffer(data, nibabel.Nifti1Header.template_dtype, 1)
    for key, value in fields.items():
        view[key] = value
    return bytes(data)


def _tiff(**options) -> bytes:
    buffer = BytesIO()
    tifffile.imwrite(buffer, np.arange(240, dtype=np.uint8).reshape(4, 6, 10), photometric="minisblack", **options)
    return buffer.getvalue()


def _without(data: bytes, at: int) -> bytes:
    return data[:at] + b"\xff\xff\xff\xff" + data[at + 4 :]


BAD = {
    "five bytes": lambda: b"\x5c\x01\0\0\0",
    "infinite offset": lambda: _header(vox_offset=np.inf),
    "offset beyond the end": lambda: _header(vox_offset=1e9),
    "infinite affine": lambda: _header(srow_x=np.inf),
    "infinite scale": lambda: _header(scl_slope=np.inf, scl_inter=0),
    "no number as scale": lambda: _header(scl_slope=np.nan, scl_inter=np.nan),
    "no number as intercept": lambda: _header(scl_slope=2, scl_inter=np.nan),
    "infinite intercept": lambda: _header(scl_slope=1, scl_inter=-np.inf),
    "no finite zooms": lambda: _header(pixdim=np.nan, sform_code=0, qform_code=0),
    "a huge shape": lambda: _header(dim=[3, 32767, 32767, 32767, 1, 1, 1, 1]),
    "many volumes": lambda: _header(dim=[4, 3, 4, 5, 32767, 1, 1, 1]),
    "negative size": lambda: _header(dim=[3, -3, 4, 5, 1, 1, 1, 1]),
    "complex": lambda: _header(datatype=32, bitpix=64),
    "a pair": lambda: _header(magic=b"ni1"),
    "gzip of a part": lambda: gzip.compress(_header()[:400]),
    **{f"TIFF damaged at {at}": lambda at=at: _without(_tiff(), at) for at in range(8, 160, 12)},
}


@pytest.mark.parametrize("case", BAD)
def test_damaged_volumes_are_one_line_or_read(case):
    Path("a.nii").write_bytes(BAD[case]())
    try:
        assert read("a.nii", "volume").data.isfinite().all() and "TIFF" in case
    except UserError as error:
        assert str(error).startswith("a.nii: ") and "\n" not in str(error) and len(str(error)) < 300


def test_complex_arrays_are_refused():
    np.save("a.npy", np.ones((2, 3, 4), complex))
    with pytest.raises(UserError, match=r"^a\.npy: holds complex128, not real numbers"):
        read("a.npy", "volume")


@pytest.mark.parametrize("kind", ["<i2", ">u2", "<f4"])
def test_codes_know_the_type_of_the_voxels(kind):
    chain = ChainConfig(name="v", data="solids", tokenizers={"volume": TOKENIZER}, fusion=FusionConfig(), draws=())
    torch.manual_seed(0)
    codec = Codec(SlotTokenizers(chain, {"volume": build_network(TOKENIZER).eval()}))
    np.save("a.npy", np.random.default_rng(0).normal(900, 90, (8, 8, 8)).astype(kind))
    file = VqfFile.from_bytes(codec.encode(read("a.npy")).to_bytes())
    write(codec.decode(file), "b.npy"), write(codec.decode(file), "b.nii")
    assert np.load("b.npy").dtype.str == kind
    assert nibabel.load("b.nii").get_data_dtype() == np.dtype(kind).newbyteorder("=")
    with pytest.raises(ValueError, match="dtype"):
        VqfHeader(**(file.header.model_dump() | {"dtype": "<V9999999"}))
