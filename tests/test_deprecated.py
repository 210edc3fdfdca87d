"""Names of earlier versions: each works, and says what it is called now."""

import subprocess
import sys
from importlib import import_module

import pytest

import vqfusion
from vqfusion import config, deprecated, hub
from vqfusion.errors import UserError
from vqfusion.models.restoration.intervals import Calibration


@pytest.mark.parametrize(("module", "name"), deprecated.OLD)
def test_an_old_name_works_and_warns(module, name):
    with pytest.warns(DeprecationWarning, match=f"{name} is now"):
        assert getattr(import_module(module), name)


def test_old_names_do_what_they_did():
    with pytest.deprecated_call():
        quantizer = vqfusion.vector_quantizer(16, 12)
    assert (quantizer.codebook_size, quantizer.dim) == (16, 12)
    with pytest.deprecated_call():
        assert "fsq" in config.QUANTIZER_NAMES
    with pytest.deprecated_call():
        assert hub.kind_of(hub.ZOO / "photo") == "prior"
    with pytest.deprecated_call():
        load = hub.load_system
    with pytest.raises(UserError, match="is a prior"):
        load("photo")


def test_an_old_name_of_a_method_is_the_method():
    calibration = Calibration(0.9, {"all": 1.0}, {"all": 1}, {"sigma": (0.1, 0.2)})
    with pytest.warns(DeprecationWarning, match=r"Calibration.doubts is now Calibration.warnings"):
        assert calibration.doubts({"sigma": 9.0}) == calibration.warnings({"sigma": 9.0}) != []


OLD_PATHS = """
import sys, warnings
from importlib import import_module
from vqfusion.deprecated import MOVED
for old, new in MOVED.items():
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        assert import_module(old) is import_module(new), old
    said = [w for w in found if issubclass(w.category, DeprecationWarning)]
    assert any(f"{old} is now {new}" in str(w.message) for w in said), old
del sys.modules["vqfusion.diffusion.schedules"], import_module("vqfusion.diffusion").schedules
with warnings.catch_warnings(record=True) as found:
    warnings.simplefilter("always")
    from vqfusion.diffusion import schedules, signal_samplers
assert [w.filename for w in found] == ["<string>"], "the warning names the line that imports"
from vqfusion.diffusion.gaussian.samplers import SAMPLERS
assert signal_samplers.SAMPLERS is SAMPLERS and schedules.__name__ == "vqfusion.diffusion.gaussian.schedules"
assert schedules.__spec__.name == schedules.__name__
"""


def test_modules_that_moved_are_found_where_they_were():
    """In a process of its own, where none of them was imported before."""
    done = subprocess.run([sys.executable, "-c", OLD_PATHS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_other_names_are_not_there():
    for module in (vqfusion, hub, config, vqfusion.tokenizers.quantizers):
        with pytest.raises(AttributeError):
            module.no_such_name  # noqa: B018
