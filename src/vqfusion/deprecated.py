"""Names of earlier versions: each works for one version more, with a `DeprecationWarning` that says the new one.

Modules that had such names end with `__getattr__`, which asks `old_name`. The table is all that has to be emptied when
a version is over.
"""

import warnings
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import Any, get_args


def old_name(module: str, name: str) -> Any:
    """What `module.name` was, with a warning; AttributeError where there was no such name."""
    if (module, name) not in OLD:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    instead, make = OLD[module, name]
    warn(f"{module}.{name}", instead)
    return make()


def warn(old: str, new: str, stacklevel: int = 4) -> None:
    """A `DeprecationWarning` that names both; `stacklevel` 4 is the line that asked a module for a name."""
    warnings.warn(f"{old} is now {new}; the old name goes with the next version", DeprecationWarning, stacklevel)


def _load_of(*kinds: str) -> Callable[..., Any]:
    def load(name: str = "emoji", device: str | None = None) -> Any:
        return import_module("vqfusion.hub").load(name, device, kinds)

    return load


def _vector_quantizer() -> Callable[..., Any]:
    make = import_module("vqfusion.tokenizers.quantizers").make_quantizer

    @wraps(make)
    def vector_quantizer(codebook_size: int, dim: int, **options: Any) -> Any:
        return make(dim, codebook_size, **options)

    return vector_quantizer


def _kind_of() -> Callable[..., Any]:
    return import_module("vqfusion.models.kinds").kind_of


def _quantizer_names() -> tuple[str, ...]:
    return get_args(import_module("vqfusion.config").QuantizerName)


OLD: dict[tuple[str, str], tuple[str, Callable[[], Any]]] = {
    ("vqfusion", "vector_quantizer"): ("make_quantizer(dim, codebook_size)", _vector_quantizer),
    ("vqfusion.tokenizers.quantizers", "vector_quantizer"): ("make_quantizer(dim, codebook_size)", _vector_quantizer),
    ("vqfusion.hub", "load_system"): ('load(name, kinds=["system"])', lambda: _load_of("system")),
    ("vqfusion.hub", "load_for_slots"): (
        'load(name, kinds=["system", "latent-diffusion"])',
        lambda: _load_of("system", "latent-diffusion"),
    ),
    ("vqfusion.hub", "kind_of"): ("vqfusion.models.kinds.kind_of", _kind_of),
    ("vqfusion.config", "QUANTIZER_NAMES"): ("tuple(vqfusion.QUANTIZERS)", _quantizer_names),
}
