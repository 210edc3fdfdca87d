"""Quantizers as configs: the name in the registry and the arguments of the constructor."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vqfusion.config import QuantizerConfig
from vqfusion.errors import UserError

# the registry of the package, which fills it: classes by the name in configs
QUANTIZERS: dict[str, Any] = {}
# quantizers that are put together from others, so that no VQVAEConfig names them
COMPOSED: dict[str, Any] = {}


def arguments(init: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a constructor by name; those that it passes on as `**options` under their own names."""
    signature = inspect.signature(init)
    bound = dict(signature.bind_partial(None, *args, **kwargs).arguments)
    del bound[next(iter(signature.parameters))]
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            bound |= bound.pop(name, {})
    return bound


def stored_quantizer(quantizer: Any) -> QuantizerConfig:
    """The config of a quantizer; ValueError where a config cannot say it."""
    names = {kind: name for name, kind in (QUANTIZERS | COMPOSED).items()}
    if type(quantizer) not in names:
        raise ValueError(
            f"no config describes a {type(quantizer).__name__}, which is not in the registry: add it to QUANTIZERS, or "
            "keep its state_dict"
        )
    values = {name: _stored(value) for name, value in quantizer.built_with.items()}
    return QuantizerConfig(quantizer=names[type(quantizer)], arguments=values)


def built_quantizer(config: QuantizerConfig) -> Any:
    """The untrained quantizer of a config."""
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
    raise ValueError(f"no config can say an argument of type {type(value).__name__}: keep the state_dict instead")


def _built(value: Any) -> Any:
    if isinstance(value, dict):
        return built_quantizer(QuantizerConfig.model_validate(value))
    return tuple(_built(one) for one in value) if isinstance(value, list | tuple) else value
