"""Names of earlier versions: each works, and says what it is called now."""

from importlib import import_module

import pytest

import vqfusion
from vqfusion import config, deprecated, hub
from vqfusion.errors import UserError


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


def test_other_names_are_not_there():
    for module in (vqfusion, hub, config, vqfusion.tokenizers.quantizers):
        with pytest.raises(AttributeError):
            module.no_such_name  # noqa: B018
