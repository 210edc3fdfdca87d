"""Two processes train the codebooks that one would with twice the batch, whenever the quantizer was built."""

import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

pytestmark = pytest.mark.slow

WORKER = """
import sys
import torch
import torch.distributed as dist
from safetensors.torch import save_file
from vqfusion.config import VQVAEConfig
from vqfusion.tokenizers.quantizers import QUANTIZERS
from vqfusion.tokenizers.vqvae import build_quantizer

torch.set_num_threads(1)
rank, processes, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
NAMES = ["vq", "gradient_vq", "cosine_vq", "projected_vq", "multi_head_vq", "residual_vq", "grouped_residual_vq",
         "hierarchical_vq", "soft_vq", "ibq", "lfq", "bsq", "fsq"]


def make(name):
    return build_quantizer(VQVAEConfig(quantizer=name, codebook_size=12, dim=4, levels=(4, 4, 4, 4)), False)


early = {name: make(name) for name in NAMES}
if processes > 1:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=processes)
results = {}
for when, quantizers in (("before", early), ("after", {name: make(name) for name in NAMES})):
    for name, quantizer in quantizers.items():
        optimizer = torch.optim.SGD([*quantizer.parameters(), torch.nn.Parameter(torch.zeros(1))], lr=0.1)
        for step in range(4):
            whole = torch.randn(8, 6, 4, generator=torch.Generator().manual_seed(step))
            x = whole.chunk(processes)[rank].clone().requires_grad_()
            out = quantizer(x)
            optimizer.zero_grad()
            (out.loss + out.quantized.square().mean()).backward()
            for parameter in quantizer.parameters():
                if processes > 1:
                    dist.all_reduce(parameter.grad)
                parameter.grad /= processes
            optimizer.step()
            quantizer.update()
        for key, value in quantizer.state_dict().items():
            results[f"{when}/{name}/{key}"] = value
        parts = [torch.zeros_like(x.grad) for _ in range(processes)]
        dist.all_gather(parts, x.grad) if processes > 1 else parts.__setitem__(0, x.grad)
        results[f"{when}/{name}/gradient"] = torch.cat(parts) / processes
kept = {name: value.detach().contiguous() for name, value in results.items()}
save_file(kept, f"{folder}/{processes}-{rank}.safetensors")
"""


def test_two_processes_are_one_with_twice_the_batch(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    runs = [(0, 1), (0, 2), (1, 2)]
    started = [
        subprocess.Popen([sys.executable, "-c", WORKER, str(rank), str(processes), str(tmp_path)], env=environment)
        for rank, processes in runs
    ]
    assert [process.wait(timeout=300) for process in started] == [0, 0, 0]
    one, first, second = (load_file(tmp_path / f"{processes}-{rank}.safetensors") for rank, processes in runs)
    for name, value in one.items():
        assert torch.allclose(first[name].float(), second[name].float(), atol=1e-6), f"{name} differs between processes"
        assert torch.allclose(first[name].float(), value.float(), rtol=1e-3, atol=1e-5), f"{name} is not that of one"
