"""Which devices multiply in bfloat16 by themselves."""

import torch


def has_bfloat16(device: str = "cpu") -> bool:
    """Whether a type of device ("cpu", "cuda", "mps") multiplies in bfloat16 by itself, so that it is faster there.

    A processor without such products emulates them, tens of times slower than float32 (docs/decisions.md).
    """
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device == "cpu":
        known: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
        return bool(known.get("avx512_bf16") or known.get("amx_bf16") or known.get("arm_bf16"))
    return True
