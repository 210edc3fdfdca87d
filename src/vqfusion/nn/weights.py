"""Weights on disk: safetensors and a JSON config, never pickle."""

import hashlib
import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from vqfusion.errors import UserError
from vqfusion.files import new_file, write_bytes
from vqfusion.nn.few_bits import BITS, unpacked

DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


def save_weights(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors to a safetensors file atomically, so that a crash leaves the old file.

    Tensors are written one after the other. The safetensors library itself would copy all of them in memory and leave a
    file `.tmpXXXX` when it is killed.

    Args:
        path: File to write.
        tensors: Tensors by name.
        metadata: Strings for the header.
    """
    with new_file(path) as part, part.open("wb") as file:
        write_safetensors(file, tensors, metadata or {})


def write_safetensors(file: BinaryIO, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write the safetensors format: header length as 8 bytes, JSON header, tensors with the widest types first."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    order, at = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name)), 0
    for name in order:
        tensor, start = tensors[name], at
        at += tensor.numel() * tensor.element_size()
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, at]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    for name in order:
        flat = tensors[name].detach().cpu().contiguous().reshape(-1)
        file.write(flat.view(torch.uint8).numpy().data)


def load_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file; UserError where the file is missing, damaged or of another format."""
    return load_with_metadata(path)[0]


def load_with_metadata(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file, packed matrices as floats.

    The file is opened once, so that both belong together.
    """
    try:
        with safe_open(path, "pt") as file:
            tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}
    except FileNotFoundError:
        raise UserError(f"{path}: no weights here; is this the folder of a vqfusion model?") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a readable safetensors file ({error})") from None
    return unpacked(tensors, metadata, path), metadata


def require_room(path: Path, parameters: int) -> None:
    """Raise UserError where a file is too small for the weights of a network, before the network is built."""
    try:
        size = path.stat().st_size
    except OSError:
        return  # reading it reports the reason
    if 8 * size < BITS[0] * parameters:
        raise UserError(
            f"{path}: its {size} bytes do not fit the config beside it, a network of at least {parameters:.3g} numbers"
        )


def require_finite(tensors: Mapping[str, Tensor], where: Path) -> None:
    """Raise UserError for weights with NaN or infinity."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise UserError(f"{where}: the weights hold NaN or infinity ({name}); train again or restore the file")


def save_json(path: Path, data: dict[str, Any]) -> None:
    """Write JSON atomically."""
    write_bytes(path, (json.dumps(data, ensure_ascii=False, indent=1) + "\n").encode())


def load_json(path: Path) -> dict[str, Any]:
    """Mapping in a JSON file; UserError where the file is missing or damaged."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"), parse_float=_finite, parse_constant=_finite)
    except FileNotFoundError:
        raise UserError(f"{path}: not found; is this the folder of a vqfusion model?") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(data, dict):
        raise UserError(f"{path}: not the config of a vqfusion model")
    return data


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is no finite number")
    return number


def load_into(module: nn.Module, tensors: dict[str, Tensor], where: Path) -> None:
    """Copy tensors into a module; UserError where they do not fit or are not finite."""
    require_finite(tensors, where)
    try:
        module.load_state_dict({name: t.float() if t.is_floating_point() else t for name, t in tensors.items()})
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{where}: the weights do not fit the config beside them ({reason})") from None


def half_precision(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Convert matrices to float16 where that is lossless, as after `round_to_half`; leave the rest unchanged."""
    return {name: t.half() if t.ndim > 1 and _fits_half(t) else t for name, t in tensors.items()}


def _fits_half(t: Tensor) -> bool:
    return t.is_floating_point() and torch.equal(t.half().to(t.dtype), t)


def fingerprint(tensors: dict[str, Tensor], config: str) -> str:
    """Hash of config and weights, which changes whenever the meaning of an id may change."""
    digest = hashlib.sha256(config.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def count_parameters(module: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def pick_device(name: str | None) -> torch.device:
    """Device by name, such as `cpu` or `cuda:1`; None takes a GPU where available.

    Raises:
        UserError: The device is not available; the message lists those that are.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).tolist()  # fails on devices without values, such as "meta"
    except (RuntimeError, AssertionError, ValueError, ImportError):
        kind = torch.accelerator.current_accelerator(check_available=True)
        there = ["cpu"] + [f"{kind.type}:{i}" for i in range(torch.accelerator.device_count())] if kind else ["cpu"]
        raise UserError(f"device {name!r} is not available here; there is {', '.join(there)}") from None
    return device


@torch.no_grad()
def round_to_half(module: nn.Module) -> None:
    """Round matrices to float16 values in place, so that the weights in use equal those that are saved.

    Raises:
        UserError: A value is beyond the largest of float16, 65504.
    """
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and tensor.ndim > 1:
            tensor.copy_(tensor.half().float())
            if not bool(torch.isfinite(tensor).all()):
                raise UserError(f"weights of {name} are over 65504 and cannot be saved; lower learning_rate")
