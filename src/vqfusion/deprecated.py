"""Names of earlier versions: each works for one more version, with a `DeprecationWarning` that gives the new name.

Modules that had such names end with `__getattr__`, which calls `old_name`; modules that moved are found by
`MovedModules`. When a version is over, only the tables here need to be emptied.
"""

import sys
import warnings
from collections.abc import Callable
from functools import partial, wraps
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, get_args


def old_name(module: str, name: str) -> Any:
    """Object that `module.name` was, with a warning; AttributeError where there was no such name."""
    if (module, name) not in OLD:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    instead, make = OLD[module, name]
    warn(f"{module}.{name}", instead)
    return make()


def warn(old: str, new: str, stacklevel: int = 4) -> None:
    """Give a `DeprecationWarning` with both names; `stacklevel` 4 is the line that accessed a module attribute."""
    warnings.warn(f"{old} is now {new}; the old name goes with the next version", DeprecationWarning, stacklevel)


class OldMethod:
    """Old name of a method, in the class that has it: `doubts = OldMethod("warnings")`."""

    def __init__(self, new: str):
        self.new = new

    def __set_name__(self, owner: type, name: str) -> None:
        self.owner, self.old = owner.__name__, name

    def __get__(self, instance: Any, owner: type) -> Any:
        warn(f"{self.owner}.{self.old}", f"{self.owner}.{self.new}", stacklevel=3)
        return getattr(owner if instance is None else instance, self.new)


class MovedModules(MetaPathFinder, Loader):
    """Import finder that returns a moved module under its old name; it is one module, twice in `sys.modules`."""

    @classmethod
    def install(cls) -> None:
        """Append the finder, so that it is asked after all others."""
        if not any(isinstance(finder, cls) for finder in sys.meta_path):
            sys.meta_path.append(cls())

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        """Spec of a module in `MOVED`; None for other names."""
        return ModuleSpec(fullname, self) if fullname in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        """Import the module under its new name, with a warning."""
        old = module.__name__
        warn(old, MOVED[old], stacklevel=3)
        sys.modules[old] = import_module(MOVED[old])


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
    ("vqfusion.tokenizers", "vector_quantizer"): ("make_quantizer(dim, codebook_size)", _vector_quantizer),
    ("vqfusion.hub", "load_system"): ('load(name, kinds=["system"])', lambda: _load_of("system")),
    ("vqfusion.hub", "load_for_slots"): (
        'load(name, kinds=["system", "latent-diffusion"])',
        lambda: _load_of("system", "latent-diffusion"),
    ),
    ("vqfusion.hub", "kind_of"): ("vqfusion.models.kinds.kind_of", _kind_of),
    ("vqfusion.config", "QUANTIZER_NAMES"): ("tuple(vqfusion.QUANTIZERS)", _quantizer_names),
}

# modules that became packages: what they held is in a module of the package
BECAME_PACKAGES = {
    "vqfusion.diffusion.gaussian": ("path", ("KINDS", "scale")),
    "vqfusion.diffusion.masked": (
        "path",
        ("stratified_times", "sampler_times", "sampler_density"),
    ),
    "vqfusion.diffusion.posterior": (
        "question",
        (
            "CountedPrior",
            "ancestral",
            "gaussian_prior",
            "noise_levels",
            "share_of_noise",
            "sloped",
            "step_down",
            "step_noises",
        ),
    ),
    "vqfusion.models.fusion": ("fusion", ("FusionBatch", "SlotTokens", "module_key")),
}


def _part(module: str, name: str) -> Any:
    return getattr(import_module(module), name)


OLD |= {
    (package, name): (f"{package}.{module}.{name}", partial(_part, f"{package}.{module}", name))
    for package, (module, names) in BECAME_PACKAGES.items()
    for name in names
}

_MOVED = {
    "diffusion.denoiser": "diffusion.gaussian.denoiser",
    "diffusion.flow": "diffusion.gaussian.flow",
    "diffusion.grids": "diffusion.gaussian.grids",
    "diffusion.guidance": "diffusion.masked.guidance",
    "diffusion.likelihood": "diffusion.masked.likelihood",
    "diffusion.noise_level": "diffusion.gaussian.noise_level",
    "diffusion.posterior_gradient": "diffusion.posterior.gradient",
    "diffusion.posterior_null_space": "diffusion.posterior.null_space",
    "diffusion.posterior_proximal": "diffusion.posterior.proximal",
    "diffusion.samplers": "diffusion.masked.samplers",
    "diffusion.schedules": "diffusion.gaussian.schedules",
    "diffusion.signal_guidance": "diffusion.gaussian.guidance",
    "diffusion.signal_likelihood": "diffusion.gaussian.likelihood",
    "diffusion.signal_samplers": "diffusion.gaussian.samplers",
    "diffusion.times": "diffusion.gaussian.times",
    "diffusion.weightings": "diffusion.gaussian.weightings",
    "models.any_size": "models.restoration.any_size",
    "models.autoregressive": "models.restoration.autoregressive",
    "models.channel_noise": "models.restoration.channel_noise",
    "models.diffusion_model": "models.latent.diffusion_model",
    "models.diffusion_parts": "models.latent.diffusion_parts",
    "models.fitted": "models.restoration.fitted",
    "models.generate": "models.fusion.generate",
    "models.intervals": "models.restoration.intervals",
    "models.latent_diffusion": "models.latent.latent_diffusion",
    "models.latent_system": "models.latent.slots",
    "models.mirrored": "models.restoration.mirrored",
    "models.photons": "models.restoration.photons",
    "models.pretrained": "models.fusion.pretrained",
    "models.prior": "models.restoration.prior",
    "models.residual_band": "models.restoration.residual_band",
    "models.restore": "models.restoration.restoring",
    "models.restoration.restore": "models.restoration.restoring",
    "tasks.restore": "tasks.restoring",
    "models.shipped_intervals": "models.restoration.shipped_intervals",
    "models.slots": "models.fusion.slots",
    "models.system": "models.fusion.system",
    "models.taught": "models.fusion.taught",
    "models.tokenize": "models.fusion.slot_tokenizers",
    "models.vqf": "models.codec.vqf",
    "tokenizers.check": "tokenizers.conformance.check",
    "tokenizers.entropy_model": "tokenizers.codec.entropy_model",
    "tokenizers.quantizers.contracts": "tokenizers.conformance.contracts",
    "tokenizers.range_coder": "tokenizers.codec.range_coder",
}
MOVED = {f"vqfusion.{old}": f"vqfusion.{new}" for old, new in _MOVED.items()}
