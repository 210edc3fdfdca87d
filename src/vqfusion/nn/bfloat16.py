"""Detection of devices with native bfloat16 arithmetic."""

import torch


def has_bfloat16(device: str = "cpu") -> bool:
    """Whether a device type ("cpu", "cuda", "mps") has native bfloat16 products, so that they are faster than float32.

    A processor without them emulates bfloat16, tens of times slower than float32 (docs/decisions.md).
    """
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device == "cpu":
        known: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
        return bool(known.get("avx512_bf16") or known.get("amx_bf16") or known.get("arm_bf16"))
    return True
