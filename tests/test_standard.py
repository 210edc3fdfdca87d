"""Standard sets: found where they lie, fetched whole or not at all, one line where they are missing."""

import gzip
import hashlib
import io
from zipfile import ZipFile

import numpy as np
import pytest
import soundfile
import torch

from vqfusion.data import open_dataset, standard
from vqfusion.data.brains import thicker
from vqfusion.errors import UserError


def test_a_set_is_found_in_the_folder_that_is_named(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (20, 28, 28), dtype=np.uint8), np.arange(20) % 10
    np.savez(tmp_path / "mnist10k.npz", images=images, labels=labels, test=np.arange(20) >= 17)
    monkeypatch.setenv("VQFUSION_DATA", str(tmp_path))
    digits = standard.mnist10k()
    assert digits.train.shape == (17, 28, 28) and digits.test_labels.tolist() == [7, 8, 9]
    assert np.array_equal(digits.test.numpy(), images[17:])


def test_what_is_missing_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("VQFUSION_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for load in (standard.mnist10k, standard.spoken_digits, lambda: standard.grey_pictures("set12")):
        with pytest.raises(UserError, match="set VQFUSION_DATA") as caught:
            load()
        assert "\n" not in str(caught.value)


def test_a_damaged_download_never_appears(tmp_path):
    source, content = tmp_path / "source.gz", b"pictures"
    source.write_bytes(gzip.compress(content))
    right, path = hashlib.sha256(content).hexdigest(), tmp_path / "cache" / "set.gz"
    with pytest.raises(UserError, match="checksum"):
        standard.fetch(source.as_uri(), path, hashlib.sha256(b"other").hexdigest())
    assert not list(path.parent.iterdir())
    assert gzip.decompress(standard.fetch(source.as_uri(), path, right).read_bytes()) == content
    source.unlink()
    assert standard.fetch(source.as_uri(), path, right) == path  # once fetched, never asked for again
    with pytest.raises(UserError, match="by hand"):
        standard.fetch(source.as_uri(), tmp_path / "other.gz", right)


def test_clean_speech_comes_from_packed_folders_by_their_own_splits(tmp_path, monkeypatch):
    tone = np.sin(np.arange(1600) * 0.3) * 0.25
    clip = io.BytesIO()
    soundfile.write(clip, tone, 16000, format="OGG", subtype="OPUS")
    rows = {
        "speechocean762": ["key\tdyn_db\tspeaker\tsplit", "a/1\t50\t1\ttrain", "a/2\t50\t2\ttest", "a/3\t30\t1\ttrain"],
        "kerstin_de": ["key\tdyn_db\ttext", "b1\t45\tGuten Tag", "b2\t44\tNein"],
    }
    for folder, lines in rows.items():
        (tmp_path / folder).mkdir()
        with ZipFile(tmp_path / folder / f"{folder}.zip", "w") as archive:
            archive.writestr("meta.tsv", "\n".join(lines))
            for line in lines[1:]:
                archive.writestr(line.split("\t")[0] + ".ogg", clip.getvalue())
    monkeypatch.setenv("VQFUSION_DATA", str(tmp_path))
    records = open_dataset("speech").records
    assert [record.key for record in records] == ["speechocean762-a/1", "speechocean762-a/2", "kerstin_de-b1"]
    assert [record.split for record in records[:2]] == ["train", "test"], "noisy recordings are left out"
    assert [record.held_out for record in records[:2]] == ["", "voice"]
    sound = records[0].load("audio")
    assert sound.sample_rate_hz == 16000 and float(sound.data.abs().max()) == pytest.approx(0.9)


def test_thick_slices_are_means_along_one_axis():
    volume = torch.arange(2 * 4 * 6.0).reshape(1, 2, 4, 6)
    assert torch.equal(thicker(volume, 2, 3), volume.reshape(1, 2, 4, 2, 3).mean(-1))
    assert thicker(volume, 1, 3).shape == (1, 2, 1, 6), "what remains is cut off"
    assert torch.equal(thicker(volume, 0, 1), volume)
