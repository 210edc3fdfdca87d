"""Weights on disk: safetensors beside a JSON config, never pickle."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vqfusion.errors import UserError
from vqfusion.files import new_file, write_bytes


def save_weights(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors to a safetensors file in one move, so that a crash leaves the old file."""
    try:
        with new_file(path) as part:
            save_file({name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}, part, metadata)
    except SafetensorError as error:
        raise UserError(f"{path}: cannot be written ({error})") from None


def load_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file; a foreign or damaged file is one line."""
    try:
        return load_file(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no weights here; is this the folder of a vqfusion model?") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a readable safetensors file ({error})") from None


def save_json(path: Path, data: dict[str, Any]) -> None:
    """Write JSON in one move."""
    write_bytes(path, (json.dumps(data, ensure_ascii=False, indent=1) + "\n").encode())


def load_json(path: Path) -> dict[str, Any]:
    """Mapping of a JSON file; a missing or damaged file is one line."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: not found; is this the folder of a vqfusion model?") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(data, dict):
        raise UserError(f"{path}: not the config of a vqfusion model")
    return data


def load_into(module: nn.Module, tensors: dict[str, Tensor], where: Path) -> None:
    """Copy tensors into a module; what does not fit is named in one line."""
    try:
        module.load_state_dict({name: t.float() if t.is_floating_point() else t for name, t in tensors.items()})
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{where}: the weights do not fit the config beside them ({reason})") from None


def half_precision(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Matrices as float16 where that loses nothing, as after `round_to_half`; all else stays as it is."""
    return {name: t.half() if t.ndim > 1 and _fits_half(t) else t for name, t in tensors.items()}


def _fits_half(t: Tensor) -> bool:
    return t.is_floating_point() and torch.equal(t.half().to(t.dtype), t)


def fingerprint(tensors: dict[str, Tensor], config: str) -> str:
    """Hash of config and values: changes whenever the meaning of an id can change."""
    digest = hashlib.sha256(config.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def count_parameters(module: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def pick_device(name: str | None) -> torch.device:
    """The device of a name such as `cpu` or `cuda:1`; None takes a GPU when there is one. UserError lists them all."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).tolist()  # numbers that can be read back, which "meta" has not
    except (RuntimeError, AssertionError, ValueError, ImportError):
        kind = torch.accelerator.current_accelerator(check_available=True)
        there = ["cpu"] + [f"{kind.type}:{i}" for i in range(torch.accelerator.device_count())] if kind else ["cpu"]
        raise UserError(f"device {name!r} is not available here; there is {', '.join(there)}") from None
    return device


@torch.no_grad()
def round_to_half(module: nn.Module) -> None:
    """Round matrices to float16 values in place, so that what is used is what will be saved."""
    for tensor in module.state_dict().values():
        if tensor.is_floating_point() and tensor.ndim > 1:
            tensor.copy_(tensor.half().float())
