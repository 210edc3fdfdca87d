"""Quantizers as configs: name in the registry and arguments of the constructor."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vqfusion.config import QuantizerConfig
from vqfusion.errors import UserError

# registry of quantizer classes by their name in configs; filled by the `__init__` of this package
QUANTIZERS: dict[str, Any] = {}
# quantizers built from other quantizers, which a VQVAEConfig cannot name
COMPOSED: dict[str, Any] = {}


def arguments(init: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a constructor call by name, those within `**options` included."""
    signature = inspect.signature(init)
    bound = dict(signature.bind_partial(None, *args, **kwargs).arguments)
    del bound[next(iter(signature.parameters))]
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            bound |= bound.pop(name, {})
    return bound


def stored_quantizer(quantizer: Any) -> QuantizerConfig:
    """Config of a quantizer; ValueError where the class or an argument is not in the registry."""
    names = {kind: name for name, kind in (QUANTIZERS | COMPOSED).items()}
    if type(quantizer) not in names:
        raise ValueError(
            f"no config describes a {type(quantizer).__name__}, which is not in the registry: add it to QUANTIZERS, or "
            "keep its state_dict"
        )
    values = {name: _stored(value) for name, value in quantizer.built_with.items()}
    return QuantizerConfig(quantizer=names[type(quantizer)], arguments=values)


def built_quantizer(config: QuantizerConfig) -> Any:
    """Build the untrained quantizer of a config."""
    known = QUANTIZERS | COMPOSED
    if config.quantizer not in known:
        raise UserError(f"no quantizer {config.quantizer!r}; known: {', '.join(known)}")
    return known[config.quantizer](**{name: _built(value) for name, value in config.arguments.items()})


def _stored(value: Any) -> Any:
    if hasattr(value, "built_with"):
        return stored_quantizer(value).model_dump()
    if isinstance(value, list | tuple):
        return [_stored(one) for one in value]
    if isinstance(value, bool | int | float | str | None):
        return value
    raise ValueError(f"no config can hold an argument of type {type(value).__name__}: keep the state_dict instead")


def _built(value: Any) -> Any:
    if isinstance(value, dict):
        return built_quantizer(QuantizerConfig.model_validate(value))
    return tuple(_built(one) for one in value) if isinstance(value, list | tuple) else value
