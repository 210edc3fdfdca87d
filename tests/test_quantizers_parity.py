"""Where vector-quantize-pytorch is right, the numbers are the same."""

import warnings

import pytest
import torch

from vqfusion.tokenizers.quantizers import (
    LookupFreeQuantizer,
    ResidualVectorQuantizer,
    SimVectorQuantizer,
    VectorQuantizer,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import vector_quantize_pytorch as peer

pytestmark = pytest.mark.filterwarnings("ignore")


def vectors(seed: int, dim: int = 8) -> torch.Tensor:
    return torch.randn(2, 200, dim, generator=torch.Generator().manual_seed(seed))


def copy_codebook(ours: VectorQuantizer, theirs) -> None:
    theirs.embed.data.copy_(ours.codebook[None])
    theirs.embed_avg.data.copy_(ours.codebook[None])
    theirs.cluster_size.data.fill_(1.0)
    theirs.initted.data.fill_(True)


def test_moving_average_codebook_over_steps():
    ours = VectorQuantizer(8, 16, kmeans_init=False, threshold_ema_dead_code=0.0)
    theirs = peer.VectorQuantize(8, 16, decay=0.99, commitment_weight=0.25, rotation_trick=False)
    copy_codebook(ours, theirs._codebook)
    for step in range(5):
        x, z = (vectors(step).requires_grad_() for _ in range(2))
        a, (quantized, indices, loss) = ours(x), theirs(z)
        (a.quantized.square().sum() + a.loss).backward()
        (quantized.square().sum() + loss).backward()
        ours.update()
        assert torch.equal(a.indices, indices) and torch.allclose(a.loss, loss)
        assert torch.allclose(a.quantized, quantized, atol=1e-6) and torch.allclose(x.grad, z.grad, atol=1e-5)
    assert torch.allclose(ours.codebook, theirs._codebook.embed[0], atol=1e-5)


def test_rotation_trick():
    ours = VectorQuantizer(8, 16, kmeans_init=False, estimator="rotation")
    theirs = peer.VectorQuantize(8, 16, rotation_trick=True)
    copy_codebook(ours, theirs._codebook)
    x, z, weight = vectors(0).requires_grad_(), vectors(0).requires_grad_(), vectors(1)
    (ours(x).quantized * weight).sum().backward()
    (theirs(z)[0] * weight).sum().backward()
    assert torch.allclose(x.grad, z.grad, atol=1e-4)


def test_residual_codes():
    ours = ResidualVectorQuantizer(8, 16, num_quantizers=3)
    ours(vectors(0)), ours.update()
    theirs = peer.ResidualVQ(dim=8, codebook_size=16, num_quantizers=3, rotation_trick=False)
    for part, layer in zip(ours.quantizers, theirs.layers, strict=True):
        copy_codebook(part, layer._codebook)
    quantized, indices, _ = theirs.eval()(vectors(1))
    out = ours.eval()(vectors(1))
    assert torch.equal(out.indices, indices) and torch.allclose(out.quantized, quantized, atol=1e-5)


def test_sim_vq():
    ours = SimVectorQuantizer(8, 16)
    theirs = peer.SimVQ(8, 16, rotation_trick=False)
    with torch.no_grad():
        ours.weight.copy_(torch.randn(8, 8, generator=torch.Generator().manual_seed(0)) / 2)
        theirs.frozen_codebook.copy_(ours.frozen)
        theirs.code_transform.weight.copy_(ours.weight.t())
    a, (quantized, indices, loss) = ours(vectors(0)), theirs(vectors(0))
    assert torch.equal(a.indices, indices) and torch.allclose(a.quantized, quantized, atol=1e-5)
    assert torch.allclose(a.loss, loss, atol=1e-6)
    a.loss.backward(), loss.backward()
    assert torch.allclose(ours.weight.grad.t(), theirs.code_transform.weight.grad, atol=1e-5)


def test_entropies_of_lookup_free_quantization():
    ours = LookupFreeQuantizer(8, temperature=1 / 3, commitment_weight=0.25, entropy_weight=0.1)
    theirs = peer.LFQ(dim=8, entropy_loss_weight=0.1, commitment_loss_weight=0.25)
    x, z = (vectors(0).mul(0.3).requires_grad_() for _ in range(2))
    a = ours(x)
    (quantized, indices, loss), parts = theirs(z, inv_temperature=3.0, return_loss_breakdown=True)
    a.loss.backward(), loss.backward()
    assert torch.equal(a.quantized, quantized) and len(a.indices.unique()) == len(indices.unique())
    assert torch.allclose(a.losses["sample_entropy"], parts.per_sample_entropy, atol=1e-3)
    assert torch.allclose(a.losses["batch_entropy"], parts.batch_entropy, atol=1e-3)
    assert torch.allclose(x.grad, z.grad, atol=1e-5)
