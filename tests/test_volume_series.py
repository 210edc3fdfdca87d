"""Volumes and series: files in and out, what is refused, tokenizers that learn, chains of tokenizers alone."""

import gzip
import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
import torch

from vqfusion.config import (
    ChainConfig,
    SeriesTokenizerConfig,
    ShortConfig,
    StageConfig,
    TextVQVAEConfig,
    VolumeTokenizerConfig,
    VQVAEConfig,
    validated,
)
from vqfusion.data import open_dataset, read, write
from vqfusion.data.io.file import modality_of_bytes, modality_of_suffix, stem_of
from vqfusion.errors import UserError
from vqfusion.models.fusion.system import System
from vqfusion.tokenizers.build import build_network
from vqfusion.tokenizers.units import moments, standardised
from vqfusion.train.codec.crops import byte_batches, series_batches, volume_batches
from vqfusion.train.fusion.own_data import expand
from vqfusion.train.fusion.recipe import training_of
from vqfusion.train.fusion.trainer import train
from vqfusion.train.loop.accelerator import make_accelerator
from vqfusion.train.recipes import recipe
from vqfusion.types import Sample, Tokenizer

AFFINE = ((-1.25, 0.0, 0.0, 90.0), (0.0, 1.5, 0.0, -126.0), (0.0, 0.0, 2.0, -72.0), (0.0, 0.0, 0.0, 1.0))
TINY = dict(widths=(8, 8), depths=(0, 1), codebook_size=24, dim=4)
STAGE = StageConfig(steps=40, batch=8, learning_rate=5e-3, warmup_steps=5, precision="fp32")
KINDS = {
    "volume": VolumeTokenizerConfig(crop=8, vqvae=VQVAEConfig(rank=3, channels=1, **TINY)),
    "series": SeriesTokenizerConfig(crop=32, vqvae=VQVAEConfig(rank=1, channels=1, **TINY)),
    "text": TextVQVAEConfig(crop=16, languages=("en",), vqvae=VQVAEConfig(rank=1, **TINY | {"channels": 8})),
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def volume(*shape: int) -> Sample:
    voxels = torch.rand(1, *(shape or (3, 4, 5)), generator=torch.Generator().manual_seed(0)) * 4000 - 1000
    return Sample("volume", voxels, spacing_mm=(2.0, 1.5, 1.25), affine=AFFINE)


def series() -> Sample:
    values = torch.randn(2, 40, generator=torch.Generator().manual_seed(0))
    return Sample("series", values, rate_hz=250.0, channel_names=("left, ear", "µV"))


# volumes


@pytest.mark.parametrize("suffix", ["nii", "nii.gz", "tif", "tiff", "npy", "npz"])
def test_a_volume_comes_back_from_its_file(suffix):
    sample = volume()
    write(sample, f"a.{suffix}")
    back = read(f"a.{suffix}")
    assert back.modality == modality_of_suffix(f"a.{suffix}") == "volume"
    assert torch.equal(back.data, sample.data)
    assert back.spacing_mm == (None if suffix == "npy" else sample.spacing_mm)
    assert back.affine == (sample.affine if suffix in ("nii", "nii.gz", "npz") else None)
    assert Path(f"a.{suffix}").read_bytes() == _again(sample, suffix), "the same bytes every time"
    with pytest.raises(UserError, match="exists already"):
        write(sample, f"a.{suffix}")


def _again(sample: Sample, suffix: str) -> bytes:
    write(sample, f"b.{suffix}")
    return Path(f"b.{suffix}").read_bytes()


def test_nifti_axes_are_those_of_the_world():
    """Voxel (x, y, z) of the file is voxel [z, y, x] of the sample."""
    voxels = np.arange(24, dtype=np.int16).reshape(4, 3, 2)
    nibabel.Nifti1Image(voxels, np.diag([1, 2, 3, 1])).to_filename("a.nii")
    back = read("a.nii")
    assert back.data.shape == (1, 2, 3, 4) and back.spacing_mm == (3.0, 2.0, 1.0)
    assert all(back.data[0, z, y, x] == voxels[x, y, z] for x, y, z in np.ndindex(4, 3, 2))


def test_nifti_of_any_kind():
    image = nibabel.Nifti2Image(np.ones((2, 3, 4, 1), np.uint8), np.diag([500, 500, 800, 1]))
    image.header.set_xyzt_units("micron")
    Path("noname").write_bytes(gzip.compress(image.to_bytes()))
    back = read("noname")
    assert back.data.shape == (1, 4, 3, 2) and back.spacing_mm == pytest.approx((0.8, 0.5, 0.5))
    assert back.affine[2][2] == pytest.approx(0.8)
    scaled = nibabel.Nifti1Image(np.full((2, 2, 2), 3, np.int16), np.eye(4))
    scaled.header.set_slope_inter(2.0, -10.0)
    raw = bytearray(scaled.to_bytes())
    raw[112:120] = np.array([2.0, -10.0], "<f4").tobytes()
    Path("scaled.nii").write_bytes(raw)
    assert (read("scaled.nii").data == 3 * 2 - 10).all()


def test_tiff_spacing_in_micrometres():
    tifffile.imwrite(
        "a.tif",
        np.ones((3, 4, 5), np.uint16),
        imagej=True,
        resolution=(1 / 0.25, 1 / 0.5),
        metadata={"axes": "ZYX", "spacing": 2.0, "unit": "um"},
    )
    assert read("a.tif").spacing_mm == pytest.approx((0.002, 0.0005, 0.00025))
    tifffile.imwrite("b.tif", np.ones((3, 4, 5), np.uint8), photometric="minisblack")
    assert read("b.tif").spacing_mm is None


def _nifti(array: np.ndarray) -> bytes:
    return nibabel.Nifti1Image(array, np.eye(4)).to_bytes()


def _tiff(array: np.ndarray, **options) -> bytes:
    buffer = BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def _npy(array: np.ndarray) -> bytes:
    buffer = BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _holed() -> np.ndarray:
    array = np.zeros((2, 3, 4), np.float32)
    array[1, 2, 3] = np.nan
    return array


BAD_VOLUMES = {
    "picture": (lambda: _nifti(np.ones((2, 2), np.float32)), "has 2 axes"),
    "colour": (lambda: _nifti(np.zeros((2, 2, 2), [("R", "u1"), ("G", "u1"), ("B", "u1")])), "colour"),
    "NaN": (lambda: _nifti(_holed().transpose(2, 1, 0)), r"NaN or infinity, first at voxel \(1, 2, 3\)"),
    "cut": (lambda: _nifti(np.ones((9, 9, 9), np.float32))[:400], "broken"),
    "cut gzip": (lambda: gzip.compress(_nifti(np.random.rand(9, 9, 9)))[:-900], "broken"),
    "gzip of nothing": (lambda: gzip.compress(b"hello" * 100), "broken"),
    "colour pages": (lambda: _tiff(np.ones((4, 5, 6, 3), np.uint8), photometric="rgb"), "colour"),
    "cut TIFF": (lambda: _tiff(np.ones((4, 5, 6), np.uint8), photometric="minisblack")[:60], "broken"),
    "TIFF of nothing": (lambda: b"II*\0\0\0\0\0", "broken"),
    "array of two axes": (lambda: _npy(np.ones((3, 4))), "has 2 axes"),
    "array of objects": (lambda: _npy(np.array([[[None]]])), "broken|not real numbers"),
    "complex array": (lambda: _npy(np.ones((2, 2, 2), complex)), "not real numbers"),
    "no voxels": (lambda: _npy(np.ones((0, 2, 2))), "no voxels"),
    "cut array": (lambda: _npy(np.ones((5, 5, 5)))[:-3], "broken"),
    "infinite": (lambda: _npy(np.full((2, 2, 2), np.inf)), r"first at voxel \(0, 0, 0\)"),
}


@pytest.mark.parametrize("case", BAD_VOLUMES)
def test_a_bad_volume_gets_one_line(case):
    make, words = BAD_VOLUMES[case]
    Path("a.nii").write_bytes(make())
    with pytest.raises(UserError, match=f"^a.nii: .*({words})") as caught:
        read("a.nii", "volume")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_archives_say_which_array_to_read():
    np.savez("a.npz", first=np.ones((2, 2, 2)), second=np.zeros((2, 2, 2)))
    with pytest.raises(UserError, match="call the one to read `data`"):
        read("a.npz", "volume")
    np.savez("b.npz", voxels=np.ones((2, 2, 2), np.uint8))
    assert read("b.npz").data.sum() == 8


@pytest.mark.parametrize(
    "sample, name, words",
    [
        (Sample("volume", torch.full((1, 2, 2, 2), torch.nan)), "a.npy", "NaN"),
        (Sample("volume", torch.zeros(1, 2, 2, 2)), "a.png", "cannot write .png"),
        (Sample("series", torch.full((1, 2), torch.inf)), "a.npy", "infinity"),
        (Sample("series", torch.zeros(1, 2)), "a.edf", "cannot write .edf"),
    ],
)
def test_what_cannot_be_written_gets_one_line(sample, name, words):
    with pytest.raises(UserError, match=words):
        write(sample, name)
    assert not Path(name).exists()


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    import vqfusion.data.io.shape as home

    def missing(name):
        raise ImportError(name)

    write(volume(), "a.nii")
    monkeypatch.setattr(home, "import_module", missing)
    for act in (lambda: read("a.nii"), lambda: write(volume(), "b.tif")):
        with pytest.raises(UserError, match=r'pip install -e "\.\[volume\]"'):
            act()
    write(volume(), "b.npy")


# series


@pytest.mark.parametrize("suffix", ["csv", "npy", "npz"])
def test_a_series_comes_back_from_its_file(suffix):
    sample = series()
    write(sample, f"a.{suffix}")
    back = read(f"a.{suffix}")
    assert back.modality == modality_of_suffix(f"a.{suffix}") == "series"
    assert torch.equal(back.data.float(), sample.data)
    assert (back.rate_hz, back.channel_names) == ((None, None) if suffix == "npy" else (250.0, sample.channel_names))


def test_a_series_without_a_rate_is_counted():
    write(Sample("series", torch.arange(6.0).view(2, 3)), "a.csv")
    assert Path("a.csv").read_text() == "sample,channel_1,channel_2\n0,0,3\n1,1,4\n2,2,5\n"
    assert read("a.csv").rate_hz is None


@pytest.mark.parametrize(
    "text, rate",
    [
        ("time,a\n0,1\n0.5,2\n1,3\n", 2.0),
        ("a;t;b\n1;10;2\n2;30;3\n3;50;4\n", 0.05),
        ("\ufeffTimestamp\ta\n2024-03-31T01:30:00\t1\n2024-03-31T02:30:00\t2\n2024-03-31T03:30:00\t3\n", 1 / 3600),
    ],
)
def test_csv_in_the_usual_dialects(text, rate):
    Path("a.csv").write_text(text)
    assert read("a.csv").rate_hz == pytest.approx(rate)


BAD_TABLES = {
    "empty cell": ("time,a\n0,1\n1,\n2,3\n", "line 3, column 'a': is empty; fill the gap"),
    "word": ("time,a\n0,1\n1,high\n", "line 3, column 'a': 'high' is not a number"),
    "gap": ("time,a\n0,1\n1,2\n\n4,3\n5,3\n6,3\n", "line 5: the time goes on by 3, elsewhere by 1"),
    "backwards": ("time,a\n3,1\n2,2\n1,3\n", "the time goes on by -1"),
    "no time": ("a,b\n1,2\n3,4\n", "no time column"),
    "no header": ("0,1\n1,2\n2,3\n", "no time column"),
    "one row": ("time,a\n0,1\n", "1 rows"),
    "no channel": ("time\n0\n1\n", "0 channels"),
    "ragged": ("time,a\n0,1\n1,2,3\n", "line 3 has 3 cells, the header 2"),
    "NaN": ("time,a\n0,1\n1,nan\n2,3\n", "NaN or infinity in channel 1 at value 2"),
    "only a header": ("time,a\n", "0 rows"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_a_bad_table_gets_one_line(case):
    text, words = BAD_TABLES[case]
    Path("a.csv").write_text(text)
    with pytest.raises(UserError) as caught:
        read("a.csv")
    assert str(caught.value).startswith("a.csv: ") and words in str(caught.value)


def edf(labels: list[str], samples: list[int], records: int = 3, kind: str = "", said: int | None = None) -> bytes:
    """An EDF file by hand: channel i counts up from 100 i, in tenths."""
    count = len(labels)

    def cells(width: int, *values) -> bytes:
        return b"".join(str(value).encode().ljust(width) for value in values)

    front = cells(8, 0) + cells(80, "nobody", "nothing") + cells(8, "01.01.24", "00.00.00", 256 * (count + 1))
    front += cells(44, kind) + cells(8, records if said is None else said, 2) + cells(4, count)
    front += cells(16, *labels) + cells(80, *[""] * count) + cells(8, *["uV"] * count)
    for value in (-3276.8, 3276.7, -32768, 32767):
        front += cells(8, *[value] * count)
    front += cells(80, *[""] * count) + cells(8, *samples) + cells(32, *[""] * count)
    body = b""
    for record in range(records):
        for i, number in enumerate(samples):
            body += (100 * i + record * number + np.arange(number)).astype("<i2").tobytes()
    return front + body


def test_edf_is_read_in_its_units():
    Path("a.edf").write_bytes(edf(["Fp1", "EDF Annotations", "Fp2"], [4, 7, 4], kind="EDF+C"))
    sample = read("a.edf")
    assert sample.modality == "series" and sample.rate_hz == 2.0 and sample.channel_names == ("Fp1", "Fp2")
    assert sample.data[0].tolist() == pytest.approx([i / 10 for i in range(12)], abs=1e-3)
    assert sample.data[1].tolist() == pytest.approx([(200 + i) / 10 for i in range(12)], abs=1e-3)
    assert sample.notes == ("its annotations are not read",)
    Path("b.edf").write_bytes(edf(["Fp1"], [4], said=-1))
    assert read("b.edf").data.shape == (1, 12)


def test_what_another_format_does_not_hold_of_a_volume_or_series_is_told():
    placed = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.diag([1.0, 2, 3, 1]))
    placed.to_filename("a.nii")
    sample = read("a.nii")
    assert write(sample, "b.nii.gz") == ()
    assert write(sample, "b.npy") == ("this format holds no spacing, affine and header; .nii.gz does",)
    assert write(sample, "b.tif") == ("this format holds no affine and header; .nii.gz does",)
    assert write(sample, "b.npz") == ("this format holds no header; .nii.gz does",)
    np.savez("c.npz", data=np.zeros((2, 3, 4)), spacing_mm=[1.0, 2, 3], mask=np.ones(3))
    assert write(read("c.npz"), "d.nii") == ("this format holds no array mask; .npz does",)
    np.save("e.npy", np.zeros((2, 3, 4)))
    assert write(read("e.npy"), "f.nii") == write(read("e.npy"), "f.tif") == ()
    Path("a.csv").write_text("time,a,note\n" + "".join(f"{i},{i % 3},x\n" for i in range(9)))
    lost = "this format holds no rate, channel names, time stamps and columns of text; .csv does"
    assert write(read("a.csv"), "g.npy") == (lost,)
    assert write(read("a.csv"), "g.npz") == ("this format holds no columns of text; .csv does",)
    assert write(read("a.csv"), "g.csv") == ()
    assert write(Sample("series", torch.zeros(1, 9)), "h.npy") == ()


def test_edf_is_written_back_with_its_header_and_only_what_changed():
    whole = edf(["Fp1", "EDF Annotations", "Fp2"], [4, 7, 4], kind="EDF+C")
    Path("a.edf").write_bytes(whole + b"more than its records")
    sample = read("a.edf")
    assert write(sample, "same.edf") == () and Path("same.edf").read_bytes() == whole
    changed = sample.data.clone()
    changed[1, 5] = -7.7
    write(replace(sample, data=changed), "b.edf")
    [place] = [i for i, (old, new) in enumerate(zip(whole, Path("b.edf").read_bytes(), strict=True)) if old != new][::2]
    assert place >= 256 * 4
    torch.testing.assert_close(read("b.edf").data, changed, atol=0.051, rtol=0)
    changed[1, 5] = 1e6  # beyond the physical range of the file
    write(replace(sample, data=changed), "c.edf")
    back = read("c.edf").data
    assert torch.equal(back[0], sample.data[0]) and float(back[1, 5]) == pytest.approx(1e6, rel=1e-4)
    torch.testing.assert_close(back, changed, atol=1e6 / 65535, rtol=0)
    widths = replace(sample, data=changed.abs() * 1e-9, extras=sample.extras.real())
    write(widths, "d.edf")
    torch.testing.assert_close(read("d.edf").data[1], widths.data[1], atol=1e-3 / 65535, rtol=0)


def test_what_another_format_does_not_hold_of_an_edf_is_told(cli):
    Path("a.edf").write_bytes(edf(["Fp1", "Fp2"], [40, 40]))
    code, out, err = cli("denoise", "a.edf", "--sigma", "0.5")
    assert code == 0 and out.strip() == "a.denoise.edf", err
    assert read("a.denoise.edf").rate_hz == read("a.edf").rate_hz == 20
    code, _, err = cli("denoise", "a.edf", "--sigma", "0.5", "-o", "b.csv")
    assert code == 0 and "this format holds no start (" in err and ".edf does" in err
    write(Sample("series", torch.rand(1, 90), rate_hz=1.0), "c.csv")
    code, _, err = cli("denoise", "c.csv", "-o", "c.edf")
    assert code == 2 and "must end in .csv" in err


@pytest.mark.parametrize("shape", [(5, 90), (3, 200)])
def test_an_array_of_two_axes_says_what_it_was_taken_as(shape, cli):
    np.save("a.npy", np.random.default_rng(0).normal(size=shape))
    _, _, err = cli("denoise", "a.npy", "--sigma", "0.5", "-o", "b.npy")
    assert f"taken as a series of {shape[0]} channels of {shape[1]} values" in err and ".png" in err
    np.savez("a.npz", data=np.zeros(shape), rate_hz=2.0)
    np.save("b.npy", np.zeros(shape[1]))
    assert read("a.npz").notes == read("b.npy").notes == ()


@pytest.mark.parametrize(
    "data, words",
    [
        (edf(["a"], [4], kind="EDF+D"), "interruptions"),
        (edf(["a", "b"], [4, 2]), "rates 2, 1 Hz"),
        (edf(["a"], [4], said=9), "cut short: 3 of 9 records"),
        (edf(["a"], [4])[:300], "broken"),
        (edf(["EDF Annotations"], [4]), "rates none"),
    ],
)
def test_a_bad_edf_gets_one_line(data, words):
    Path("a.edf").write_bytes(data)
    with pytest.raises(UserError, match=f"^a.edf: .*{words}"):
        read("a.edf")


def test_names_and_bytes_tell_volumes_from_series():
    assert stem_of("x/brain.nii.gz") == "brain" and stem_of("a.b.csv") == "a.b" and stem_of("plain") == "plain"
    for array, modality in ((np.ones(4), "series"), (np.ones((2, 4)), "series"), (np.ones((2, 3, 4)), "volume")):
        np.save("a.npy", array)
        np.savez("a.npz", rate_hz=np.array(1.0), data=array)
        assert modality_of_suffix("a.npy") == modality_of_suffix("a.npz") == modality
        assert modality_of_bytes(Path("a.npz").read_bytes()) == modality
    assert modality_of_suffix("missing.npy") == "volume"
    assert modality_of_bytes(b"0 apples and pears\n" * 20) is None
    assert modality_of_bytes(b"PK\x03\x04 no archive") is None
    assert modality_of_bytes(gzip.compress(b"text")) is None


# tokenizers


def test_standardising_is_undone():
    for sample in (volume(), series()):
        data = sample.data
        offset, scale = moments(data)
        unit = standardised(data, offset, scale)
        assert torch.allclose(unit.flatten(1).mean(1), torch.zeros(len(data)), atol=1e-5)
        assert torch.allclose(unit.flatten(1).std(1, correction=0), torch.ones(len(data)), atol=1e-5)
    far = Sample("series", 1e6 + torch.tensor([[0.0, 1.0, 2.0, 3.0]]))
    assert standardised(far.data, *moments(far.data))[0].tolist() == pytest.approx(
        [-1.3416, -0.4472, 0.4472, 1.3416], 1e-3
    )


@pytest.mark.parametrize("kind", ["volume", "series"])
def test_units_do_not_change_the_codes(kind):
    torch.manual_seed(0)
    tokenizer = build_network(KINDS[kind]).eval()
    assert isinstance(tokenizer, Tokenizer)
    sample = volume(5, 6, 7) if kind == "volume" else series()
    other = Sample(kind, sample.data * 0.125 + 64)
    a, b = tokenizer.encode(sample), tokenizer.encode(other)
    assert (a.ids == b.ids).float().mean() > 0.98
    made, again = tokenizer.decode(a).data, tokenizer.decode(b).data
    same = (a.ids == b.ids).all()
    assert not same or torch.allclose(again, made * 0.125 + 64, rtol=1e-3, atol=0.5)


def test_channels_of_a_series_do_not_see_each_other():
    torch.manual_seed(0)
    tokenizer = build_network(KINDS["series"]).eval()
    both = tokenizer.encode(series()).ids
    alone = [tokenizer.encode(Sample("series", series().data[i : i + 1])).ids[0] for i in range(2)]
    assert torch.equal(both, torch.stack(alone))


def test_batches_depend_on_the_step_alone_and_are_shared_out():
    volumes = [torch.randn(1, 5, 9, 12), torch.randn(1, 20, 20, 20)]
    for batches, shape in (
        (volume_batches(volumes, 4, 8, seed=1), (4, 1, 8, 8, 8)),
        (series_batches([torch.randn(3, 50), torch.randn(1, 10)], 4, 16, seed=1), (4, 1, 16)),
        (byte_batches(["a", "longer than sixteen bytes", "ß" * 30], 4, 16, seed=1), None),
    ):
        whole = batches(7, 0, 1)
        if shape is None:  # rows of text have a length of their own at each step
            assert len(whole) == 4 and {batches(step, 0, 1).shape[1] for step in range(100)} == set(range(8, 17))
        else:
            assert whole.shape == shape
        assert torch.equal(whole, batches(7, 0, 1)) and not torch.equal(whole, batches(8, 0, 1))
        assert torch.equal(whole, torch.cat([batches(7, rank, 2) for rank in range(2)]))


def chain(kind: str, data: str) -> ChainConfig:
    return ChainConfig(name=kind, data=data, tokenizers={kind: KINDS[kind]}, tokenizer_stages={kind: STAGE})


def test_a_chain_of_tokenizers_alone_trains_saves_encodes_and_is_inspected(cli):
    """`train` of a folder with series to the last verb, by the command."""
    Path("in").mkdir()
    t = torch.arange(200) / 100
    for i in range(12):
        write(Sample("series", torch.stack([(5 * t + i).sin(), t * i]), rate_hz=100.0), f"in/{i}.csv")
    config = chain("series", "in").model_dump(mode="json")
    Path("my.yaml").write_text(
        json.dumps({"name": "mine", **{key: config[key] for key in ("data", "tokenizers", "tokenizer_stages")}})
    )
    code, out, err = cli("train", "my.yaml", "--dry-run", "--json", "--device", "cpu")
    assert code == 0 and [one["name"] for one in json.loads(out)["networks"]] == ["tokenizer series"], err
    code, out, err = cli("train", "my.yaml", "-o", "run", "--device", "cpu", "--json")
    assert code == 0, err
    assert json.loads(out)["slots"] == [] and not Path("run/fusion.safetensors").exists()
    lines = [json.loads(line) for line in Path("run/tokenizer-series/metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["snr_db"] > lines[0]["snr_db"] + 1

    system = System.from_pretrained("run")
    assert system.slots == () and system.device.type == "cpu"
    with pytest.raises(UserError, match="tokenizers only"):
        system.generate({}, "series")
    with pytest.raises(UserError, match="tokenizers only"):
        system.fusion  # noqa: B018
    assert cli("imagine", "rocket", "--model", "run")[0] == 2

    code, out, err = cli("encode", "in/3.csv", "--model", "run", "-o", "y.vqf")
    assert code == 0 and out.startswith("y.vqf: ") and out.endswith(" bits per value\n"), err
    code, out, err = cli("decode", "y.vqf", "--model", "run", "-o", "back.csv")
    assert (code, out, err) == (0, "back.csv\n", "")
    back, original = read("back.csv"), read("in/3.csv")
    assert back.data.shape == original.data.shape and back.rate_hz == 100.0
    assert back.channel_names == original.channel_names
    assert cli("decode", "y.vqf")[2].startswith("vqfusion: y.vqf: was made with model 'mine', which is not here")
    code, out, err = cli("inspect", "run", "--json")
    assert code == 0, err
    [row] = json.loads(out)["tokenizers"]
    assert row["modality"] == "series" and row["items"] >= 1 and Path("run.inspect.html").exists()


@pytest.mark.parametrize("kind, data", [("volume", "solids"), ("text", "emoji")])
def test_a_tokenizer_learns(kind, data, monkeypatch):
    config = chain(kind, data)
    monkeypatch.setattr("vqfusion.data.solids.COUNT", 24)
    monkeypatch.setattr("vqfusion.train.codec.entropy.MOST_SIGNALS", 8)
    monkeypatch.setattr("vqfusion.train.codec.entropy.MOST_TEXTS", 200)
    train(config, Path("run"), make_accelerator("cpu"))
    lines = [json.loads(line) for line in Path(f"run/tokenizer-{kind}/metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < 0.95 * lines[0]["loss"]
    assert Path(f"run/entropy-{kind}.safetensors").exists()
    written = Path(f"run/entropy-{kind}.safetensors").read_bytes()
    with monkeypatch.context() as once:
        once.delattr("vqfusion.train.codec.entropy.fit_entropy_model")
        again = train(config, Path("run"), make_accelerator("cpu"))
    assert Path(f"run/entropy-{kind}.safetensors").read_bytes() == written
    assert (
        again.tokenizers.by_name[kind].fingerprint()
        == System.from_pretrained("run").tokenizers.by_name[kind].fingerprint()
    )


# data sets and recipes


@pytest.mark.parametrize("name, slot", [("solids", "volume"), ("waves", "series")])
def test_made_up_sets_are_the_same_every_time(name, slot):
    dataset = open_dataset(name)
    assert {record.split for record in dataset.records} == {"train", "val", "test"}
    for record in dataset.records[:6]:
        sample = record.load(slot)
        assert sample.modality == slot and sample.data.isfinite().all() and sample.data.std() > 0
        assert torch.equal(sample.data, record.load(slot).data)


def test_folders_and_manifests_hold_volumes_and_series():
    write(volume(), "a.nii.gz"), write(series(), "a.csv"), np.save("b.npy", np.ones((2, 3, 4)))
    Path("my.jsonl").write_text('{"volume": "a.nii.gz", "label": "head"}\n{"series": "a.csv"}\n')
    folder, manifest = open_dataset("."), open_dataset("my.jsonl")
    assert {record.key: set(record.slots) for record in folder.records} == {"a": {"volume", "series"}, "b": {"volume"}}
    assert torch.equal(folder.records[0].load("volume").data, volume().data)
    assert [set(record.slots) for record in manifest.records] == [{"volume", "label"}, {"series"}]
    short = expand(ShortConfig(name="x", data=".", size="tiny"), folder)
    assert set(short.tokenizers) == {"volume", "series"} and not short.fusion.slots and not short.draws


@pytest.mark.parametrize("name", ["volumes", "series", "text-codes"])
def test_recipes_of_tokenizers_alone(name):
    config = recipe(name)
    assert not config.fusion.slots and set(config.tokenizer_stages) == set(config.tokenizers)
    assert validated(ChainConfig, config.model_dump(mode="json"), name) == config
    assert training_of({"name": "x", "data": "waves", "tokenizers": {"series": {"kind": "series"}}}, Path("x.yaml"))
    networks = [build_network(one) for one in config.tokenizers.values()]
    assert all(isinstance(network, Tokenizer) for network in networks)
