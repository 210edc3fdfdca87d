"""Files are written whole or not at all, over nothing that is to stay, and only where they were asked for."""

import os
import stat
import subprocess
import sys
import threading

import pytest

from vqfusion import files
from vqfusion.errors import UserError
from vqfusion.files import new_file, plain_name, remove_unfinished, write_bytes


def test_a_file_is_written_and_nothing_else(tmp_path):
    write_bytes(tmp_path / "new" / "a.bin", b"one")
    write_bytes(tmp_path / "new" / "a.bin", b"two")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.bin"]
    assert (tmp_path / "new" / "a.bin").read_bytes() == b"two"


def test_permissions_are_those_of_any_new_file_and_are_kept(tmp_path):
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    write_bytes(tmp_path / "a", b"one")
    assert (tmp_path / "a").stat().st_mode == plain.stat().st_mode
    (tmp_path / "a").chmod(0o600)
    write_bytes(tmp_path / "a", b"two")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


def test_an_error_leaves_the_old_file_and_no_other(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), new_file(tmp_path / "a") as part:
        part.write_bytes(b"half")
        1 / 0  # noqa: B018
    assert (tmp_path / "a").read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("links", [True, False], ids=["with hard links", "without"])
def test_a_file_that_came_while_the_work_was_done_stays(tmp_path, monkeypatch, links):
    if not links:

        def no_link(*_, **__):
            raise OSError(1, "Operation not permitted")

        monkeypatch.setattr(files.os, "link", no_link)
    with pytest.raises(UserError, match="exists already"), new_file(tmp_path / "a", overwrite=False) as part:
        part.write_bytes(b"mine")
        (tmp_path / "a").write_bytes(b"theirs")
    assert (tmp_path / "a").read_bytes() == b"theirs" and len(list(tmp_path.iterdir())) == 1
    write_bytes(tmp_path / "b", b"first", overwrite=False)
    assert (tmp_path / "b").read_bytes() == b"first"


def test_of_two_that_write_one_name_exactly_one_succeeds(tmp_path):
    outcomes = []

    def write(number):
        try:
            write_bytes(tmp_path / "a", bytes([number]), overwrite=False)
            outcomes.append(number)
        except UserError:
            pass

    threads = [threading.Thread(target=write, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 1 and (tmp_path / "a").read_bytes() == bytes(outcomes)


def test_links_are_replaced_and_not_followed(tmp_path):
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "a").symlink_to(tmp_path / "precious")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    write_bytes(tmp_path / "a", b"new")
    assert (tmp_path / "precious").read_bytes() == b"precious" and (tmp_path / "a").read_bytes() == b"new"
    with pytest.raises(UserError, match="exists already"):
        write_bytes(tmp_path / "dangling", b"new", overwrite=False)
    assert not (tmp_path / "nowhere").exists()


def test_what_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file" / "a", tmp_path / ("x" * 300), tmp_path):
        with pytest.raises(UserError, match="cannot be (written|made)") as caught:
            write_bytes(path, b"data")
        assert "\n" not in str(caught.value)
    write_bytes(tmp_path / ("x" * 250), b"data")  # the name beside it must not be longer


def test_a_killed_writer_leaves_the_old_file_and_what_it_left_is_removed(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    code = (
        "import os, signal, sys\nfrom vqfusion.files import new_file\n"
        "with new_file(sys.argv[1]) as part:\n    part.write_bytes(b'half')\n    os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=False)
    assert done.returncode == -9 and (tmp_path / "a").read_bytes() == b"old" and len(os.listdir(tmp_path)) == 2
    remove_unfinished(tmp_path)
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "a\\b", "..", ".hidden", "", " ", "a ", "a\nb", "nul", "COM1.txt", "x" * 101]
)
def test_names_that_lead_elsewhere_are_refused(name):
    with pytest.raises(ValueError, match="no plain name"):
        plain_name(name)


@pytest.mark.parametrize("name", ["image", "my-run_2.1", "voz española", "字", "a b", "image@16"])
def test_names_that_people_use_are_taken(name):
    assert plain_name(name) == name


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="permissions of POSIX systems")
def test_programs_are_kept_where_nobody_else_can_put_any(tmp_path):
    folder = files.own_folder(tmp_path / "cache")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o777)
    with pytest.raises(UserError, match="everybody may write"):
        files.own_folder(folder)
    folder.chmod(0o700)
    tmp_path.chmod(0o777)
    with pytest.raises(UserError, match="everybody may write"):
        files.own_folder(folder)
    tmp_path.chmod(0o1777)
    assert files.own_folder(folder) == folder


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can give files away")
def test_programs_are_not_taken_from_somebody_elses_folder(tmp_path):
    folder = files.own_folder(tmp_path / "cache")
    os.chown(folder, 12345, 12345)
    with pytest.raises(UserError, match="belongs to another user"):
        files.own_folder(folder)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("ShortConfig", {"name": "../../escaped", "data": "digits"}),
        ("PriorTrainingConfig", {"name": "/tmp/escaped", "data": "digits"}),
        ("LatentTrainingConfig", {"name": "a\\b", "data": "digits"}),
        ("ChainConfig", {"name": "x", "tokenizers": {"../victim": {"kind": "text"}}}),
        ("ChainConfig", {"name": "x", "tokenizer_stages": {"/etc/victim": {}}}),
    ],
)
def test_no_name_in_a_config_leads_out_of_its_folder(kind, changes):
    from vqfusion import config

    with pytest.raises(UserError, match="no plain name"):
        config.validated(getattr(config, kind), changes, "x.yaml")


def test_every_shipped_config_is_taken():
    from vqfusion.config import ChainConfig, validated
    from vqfusion.hub import ZOO
    from vqfusion.nn.weights import load_json

    stored = load_json(ZOO / "emoji" / "config.json")
    assert "length:text" in validated(ChainConfig, stored["chain"], "emoji").tokenizers
