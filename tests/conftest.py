"""One thread per worker, no network, and the shipped model loaded at most once per worker."""

import os

os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1")

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def system():
    """The model that ships with the package."""
    import vqfusion

    return vqfusion.load("emoji")


@pytest.fixture(scope="session")
def prior(tmp_path_factory):
    """Folder of a tiny prior of pictures, which has learned nothing."""
    from vqfusion.config import PriorConfig
    from vqfusion.models.restoration.prior import Prior

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny")
    Prior(PriorConfig(widths=(4, 4), depths=(1, 1), sigma_range=(0.01, 1.0))).eval().save_pretrained(folder)
    return str(folder)


@pytest.fixture
def cli(capsys, tmp_path, monkeypatch):
    """Run the command in this process, in a fresh folder: `code, out, err = cli("describe", "x.png")`."""
    from vqfusion.cli import main

    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
