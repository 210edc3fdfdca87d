"""Optimizers of a stage: AdamW, and Muon for matrices where requested."""

import torch
from torch import nn
from torch.optim import Optimizer

from vqfusion.config import StageConfig
from vqfusion.nn.restoration import ScaleFreeBlock
from vqfusion.tokenizers.photo import PhotoTokenizer
from vqfusion.train.loop.muon import Muon

MATRICES = (nn.Linear, ScaleFreeBlock, PhotoTokenizer)


def make_optimizers(module: nn.Module, stage: StageConfig) -> list[Optimizer]:
    """AdamW for all parameters, or Muon for weights of the modules of `MATRICES` and AdamW for the rest.

    Vectors and scalars have no weight decay.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    muon = stage.optimizer == "muon"
    parts = [part for part in module.modules() if muon and isinstance(part, MATRICES)]
    matrices = {p for part in parts for p in part.parameters() if p.ndim > 1}
    rest = [p for p in parameters if p not in matrices]
    adamw = torch.optim.AdamW(
        [
            {"params": [p for p in rest if p.ndim > 1]},
            {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=stage.learning_rate,
        betas=stage.betas,
        weight_decay=stage.weight_decay,
    )
    if not matrices:
        return [adamw]
    ordered = [p for p in parameters if p in matrices]
    return [adamw, Muon(ordered, lr=stage.learning_rate, weight_decay=stage.weight_decay)]
