"""DiffusionModel: end-to-end training, reconstruction, weights; Gaussian ends and bits per dimension."""

import json
import math

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from vqfusion import DiffusionModel, UserError, VectorQuantizer, VQVAEDecoder, VQVAEEncoder
from vqfusion.config import DiffusionModelConfig, StageConfig, VQVAEConfig
from vqfusion.diffusion.gaussian.flow import FlowPath
from vqfusion.diffusion.gaussian.path import GaussianPath
from vqfusion.nn.weights import save_weights
from vqfusion.tokenizers.gaussian_vqvae import (
    GaussianVQVAE,
    bits_per_dim,
    discretised_gaussian_bits,
    gaussian_nats,
    weighed_nats,
)
from vqfusion.tokenizers.quantizers import QUANTIZERS, FiniteScalarQuantizer
from vqfusion.tokenizers.vqvae import VQVAE
from vqfusion.train.loop.fit import fit
from vqfusion.train.loop.signals import Interrupted

ResidualFiniteScalarQuantizer, HierarchicalQuantizer = QUANTIZERS["residual_fsq"], QUANTIZERS["hierarchical_vq"]
SIZES = {1: (18,), 2: (8, 10), 3: (4, 6, 4)}


def make(rank=2, quantizer=None, **options) -> DiffusionModel:
    torch.manual_seed(0)
    shape = dict(dim=4, widths=(4, 8), depths=(0, 1), rank=rank)
    quantizer = quantizer or VectorQuantizer(num_embeddings=16, embedding_dim=4)
    return DiffusionModel(VQVAEEncoder(2, **shape), VQVAEDecoder(2, **shape), quantizer, width=8, **options)


def batch(rank=2, items=3):
    return torch.randn(items, 2, *SIZES[rank], generator=torch.Generator().manual_seed(1)) / 2


def trained(model, steps=3):
    """A few steps, so that no part is zero."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        loss, report = model.train().loss(batch(model.encoder.rank))
        loss.backward()
        optimizer.step()
        model.quantizer.update()
    return model.eval()


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_any_rank_trains_end_to_end_and_reconstructs(rank):
    model = make(rank)
    x = batch(rank)
    loss, report = model.loss(x)
    loss.backward()
    assert loss.ndim == 0 and {"mse", "denoising", "perplexity", "usage"} <= set(report)
    for part in (model.encoder, model.decoder, model.network.last):
        assert all(p.grad.abs().sum() > 0 for p in part.parameters())
    model.eval()
    out = model(x)
    assert out.shape == x.shape
    indices = model.encode(x)
    assert indices.dtype == torch.int64 and indices.shape == (3, *(n // 2 for n in SIZES[rank]))
    assert torch.equal(model.decode(indices, x.shape[2:]), out)


LAYOUTS = [None, VectorQuantizer(4, 16, channel_first=True), FiniteScalarQuantizer((5, 5, 4))]


@pytest.mark.parametrize("quantizer", LAYOUTS)
def test_quantizers_of_either_layout(quantizer):
    dim = 3 if isinstance(quantizer, FiniteScalarQuantizer) else 4
    shape = dict(dim=dim, widths=(4, 8), depths=(0, 1))
    model = DiffusionModel(VQVAEEncoder(2, **shape), VQVAEDecoder(2, **shape), quantizer, width=8)
    model.loss(batch())[0].backward()
    assert model.eval()(batch()).shape == batch().shape
    if quantizer is None:
        assert model.quantizer.codebook_size == 512


def test_losses_go_where_they_should():
    """The mean learns from its own error alone; the encoder and the codes from both."""
    model = make(diffusion_weight=1.0)
    nn.init.normal_(model.network.last.weight, std=0.1)
    x, gradients = batch(), {}
    for weight in (0.0, 1.0):
        model.zero_grad()
        model.diffusion_weight = weight
        model.eval().loss(x)[0].backward()
        gradients[weight] = [[p.grad.clone() for p in part.parameters()] for part in (model.decoder, model.encoder)]
    assert all(torch.equal(a, b) for a, b in zip(gradients[0.0][0], gradients[1.0][0], strict=True))
    assert any(not torch.allclose(a, b) for a, b in zip(gradients[0.0][1], gradients[1.0][1], strict=True))


def test_reconstruction_is_deterministic_and_of_its_seed_alone():
    model, x = trained(make()), batch(items=8)
    state = {name: t.clone() for name, t in model.state_dict().items()}
    whole = model(x, steps=3, seed=5)
    assert torch.equal(model(x, steps=3, seed=5), whole)
    assert not torch.allclose(model(x, steps=3, seed=50), whole, atol=1e-3)
    for i in range(8):
        assert torch.allclose(model(x[i : i + 1], steps=3, seed=5 + i)[0], whole[i], atol=1e-5)
    for sampler in ("ddpm", "heun"):
        indices = model.encode(x)
        together = model.decode(indices, steps=2, sampler=sampler)
        assert torch.allclose(model.decode(indices[2:3], steps=2, seed=2, sampler=sampler)[0], together[2], atol=1e-5)
    mean = model(x, mode="mean")
    assert torch.equal(mean, model(x, mode="mean", seed=9)) and not torch.allclose(mean, whole, atol=1e-3)
    model.train()
    model(x)
    assert all(torch.equal(t, state[name]) for name, t in model.state_dict().items())  # inference learns nothing
    with pytest.raises(ValueError, match="neither sample nor mean"):
        model(x, mode="best")
    with pytest.raises(ValueError, match="sampler 'plms'"):
        model.decode(model.encode(x), sampler="plms")


def test_sizes_that_are_no_multiple_are_extended_and_cropped():
    model, x = trained(make()), batch()[..., :7, :9]
    assert model(x).shape == x.shape
    assert model.encode(x).shape == (3, 4, 5)
    model.train().loss(x)[0].backward()


def test_an_untrained_network_leaves_the_mean_of_the_plain_decoder():
    model, x = make().eval(), batch()
    codes = model.quantizer.indices_to_codes(model.encode(x)).movedim(-1, 1)
    assert torch.allclose(model(x, mode="mean"), model.decoder(codes))


class GivesNoiseBack(nn.Module):
    """The velocity of residuals that are 0.5 everywhere, learned where x_t is noise: elsewhere it is wrong."""

    def forward(self, x, t, given=None):
        return torch.where((x.std() > 0.5), x - 0.5 + 0.1 * x, 9.0)  # and a tenth of the noise too much


def test_the_mean_of_a_velocity_asks_the_network_where_it_learned():
    model = make(network=GivesNoiseBack(), path="flow", prediction="velocity").eval()
    x = batch()
    m = model.decoder(model.quantizer.indices_to_codes(model.encode(x)).movedim(-1, 1))
    assert torch.allclose(model(x, mode="mean"), m + 0.5, atol=1e-5)
    assert torch.allclose(model(x[:1], mode="mean"), model(x, mode="mean")[:1], atol=1e-6)


class Known(nn.Module):
    """The exact v of residuals N(0, 1) that do not depend on what is given: zero."""

    def forward(self, x, t, given=None):
        return torch.zeros_like(x)


def test_samples_have_the_size_of_the_residuals():
    model = make(network=Known())
    model.residual_std.fill_(0.3)
    x = batch(items=64)
    for steps in (1, 4):
        residual = model(x, steps=steps) - model(x, mode="mean")
        assert abs(float(residual.std()) - 0.3) < 0.01 and abs(float(residual.mean())) < 0.01


def test_the_size_of_residuals_is_learned():
    model = make().train()
    x = batch()
    for _ in range(40):
        model.loss(x)
    with torch.no_grad():
        out = model.decoder(model.quantizer(model.encoder(x).movedim(1, -1)).quantized.movedim(-1, 1))
    assert torch.allclose(model.residual_std, (x - out).square().mean().sqrt(), rtol=0.01)


@pytest.mark.parametrize("path", ["flow", "linear", "sigmoid", "edm"])
@pytest.mark.parametrize("prediction", ["v", "x0", "velocity"])
def test_every_path_and_prediction(path, prediction):
    model = make(path=path, prediction=prediction)
    loss, _ = model.loss(batch())
    loss.backward()
    assert loss.isfinite() and model.eval()(batch(), steps=3).isfinite().all()
    assert model(batch(), mode="mean").isfinite().all()


def test_impossible_models_are_refused():
    with pytest.raises(ValueError, match="eps does not determine the data"):
        make(prediction="eps")
    with pytest.raises(ValueError, match="path 'straight'"):
        make(path="straight")
    with pytest.raises(ValueError, match="needs the quantizer and the network"):
        DiffusionModel(nn.Conv2d(2, 4, 2, 2), nn.ConvTranspose2d(4, 2, 2, 2))


def test_parts_of_ones_own(tmp_path):
    torch.manual_seed(0)
    own = DiffusionModel(
        nn.Conv2d(2, 4, 2, 2), nn.ConvTranspose2d(4, 2, 2, 2), VectorQuantizer(4, 16), make().network
    ).eval()
    own.save_weights(tmp_path / "own.safetensors")
    assert own(batch()).shape == batch().shape
    with pytest.raises(ValueError, match="save_weights"):
        own.save_pretrained(tmp_path)


@pytest.mark.parametrize("network", ["unet", "transformer"])
def test_a_model_survives_the_disk(tmp_path, network):
    torch.manual_seed(0)
    codec = VQVAEConfig(channels=2, widths=(4, 8), depths=(0, 1), codebook_size=16, dim=4)
    config = DiffusionModelConfig(vqvae=codec, network=network, width=32, path="flow", prediction="velocity", steps=3)
    model = trained(DiffusionModel.from_config(config), 1)
    assert model.config == config
    model.save_pretrained(tmp_path)
    back = DiffusionModel.from_pretrained(tmp_path)
    assert back.config == config and not back.training
    assert torch.equal(back(batch()), model(batch()))


def test_a_model_built_by_hand_knows_its_config_and_loads_its_weights(tmp_path):
    model = trained(make())
    model.save_pretrained(tmp_path)
    expected = model(batch())
    assert torch.equal(DiffusionModel.from_pretrained(tmp_path)(batch()), expected)
    for path in (tmp_path, tmp_path / "model.safetensors", str(tmp_path / "model.safetensors")):
        fresh = make()
        assert fresh.load_weights(path) is fresh
        assert torch.equal(fresh(batch()), expected)


def test_a_path_may_be_an_object():
    named, given = make(path="edm").eval(), make(path=GaussianPath("edm")).eval()
    assert given.config == named.config and torch.equal(given(batch()), named(batch()))
    assert make(path=FlowPath()).config.path == "flow"
    narrow = make(path=GaussianPath("cosine", data_std=0.5)).eval()
    assert narrow(batch()).isfinite().all()
    with pytest.raises(ValueError, match="no config describes this path"):
        _ = narrow.config


def test_settings_that_a_config_does_not_say_are_not_lost():
    deeper = make(quantizer=ResidualFiniteScalarQuantizer((3, 3, 3, 3), num_quantizers=3))
    with pytest.raises(ValueError, match="no config describes"):
        deeper.config  # noqa: B018
    plain = make(quantizer=ResidualFiniteScalarQuantizer((3, 3, 3, 3)))
    assert plain.config.vqvae.quantizer == "residual_fsq"


def test_a_hierarchy_of_codes_asks_for_larger_multiples():
    model = make(quantizer=HierarchicalQuantizer(4, 16)).eval()
    x = batch()
    assert model.downsampling == 4 and model(x).shape == x.shape
    assert model.encode(x).shape == (3, 2, 3, 5)  # 8 x 10 becomes 8 x 12, a block of 1 + 4 codes for 4 x 4 values


def test_foreign_weights_are_one_line(tmp_path):
    model = make()
    torch.save(model.state_dict(), tmp_path / "model.pt")
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    save_weights(tmp_path / "other.safetensors", {"a": torch.zeros(1)})
    for name, reason in {
        "model.pt": "safetensors only",
        "junk.safetensors": "not a readable safetensors",
        "other.safetensors": "do not fit",
        "missing.safetensors": "no weights here",
    }.items():
        with pytest.raises(UserError, match=reason) as caught:
            model.load_weights(tmp_path / name)
        assert "\n" not in str(caught.value)
    (tmp_path / "config.json").write_text(json.dumps({"format": 1}))
    with pytest.raises(UserError, match="not a vqfusion model of format 1 or 2"):
        DiffusionModel.from_pretrained(tmp_path)


def test_the_training_loop_trains_it_and_a_stopped_run_ends_bit_equal(tmp_path):
    stage = StageConfig(steps=4, batch=3, warmup_steps=0, precision="fp32", checkpoint_every_s=1e9)
    accelerator = Accelerator(cpu=True)

    def run(folder, stop_after=None):
        torch.manual_seed(0)
        return fit(make(), batches, stage, folder, "test", accelerator, stop_after=stop_after, show=False)

    def batches(step, rank, processes):
        return torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(step))

    whole = run(tmp_path / "whole")
    with pytest.raises(Interrupted):
        run(tmp_path / "stopped", stop_after=2)
    resumed = run(tmp_path / "stopped")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert int(whole.draws) == 4


def test_evaluation_always_draws_the_same():
    model = make().eval()
    assert torch.equal(model.loss(batch())[0], model.loss(batch())[0]) and int(model.draws) == 0
    model.train()
    first, second = model.loss(batch())[1]["denoising"], model.loss(batch())[1]["denoising"]
    assert not torch.equal(first, second)


# Gaussian ends


@pytest.mark.parametrize("rank", [1, 2])
def test_gaussian_ends_train_and_reconstruct(rank):
    torch.manual_seed(0)
    model = GaussianVQVAE(VQVAEConfig(rank=rank, channels=2, widths=(4, 8), depths=(0, 1), codebook_size=16, dim=4))
    x = batch(rank)
    out = model(x, torch.Generator().manual_seed(0))
    again = model(x, torch.Generator().manual_seed(0))
    assert torch.equal(out.signal, again.signal) and out.log_variance.shape == x.shape
    loss, report = model.loss(x, torch.Generator().manual_seed(0))
    loss.backward()
    assert loss.isfinite() and all(p.grad.isfinite().all() for p in model.parameters())
    last = model.encoder.layers[-1].weight.grad  # both halves learn: mu and sigma
    assert last[:4].abs().sum() > 0 and last[4:].abs().sum() > 0
    model.eval()
    assert torch.equal(model.decode(model.encode(x)), model(x).signal)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_the_weighed_likelihood_has_the_gradients_of_its_formula(beta):
    generator = torch.Generator().manual_seed(0)
    x, mean, log_variance = torch.randn(3, 200, generator=generator, dtype=torch.float64)
    mean, log_variance = mean.requires_grad_(), (2 * log_variance - 3).requires_grad_()
    loss = weighed_nats(x, mean, log_variance, beta)
    loss.sum().backward()
    error, variance = (mean - x).detach(), log_variance.detach().exp()
    assert torch.allclose(mean.grad, error * variance ** (beta - 1))
    assert torch.allclose(log_variance.grad, variance**beta * (1 - error.square() / variance) / 2)
    if beta == 0:
        assert torch.equal(loss, gaussian_nats(x, mean, log_variance))
    if beta == 1:  # the mean learns as by half the squared error, whatever the variance
        assert torch.allclose(mean.grad, error)
    fitted = error.square().log().requires_grad_()  # the best variance is the squared error for any beta
    weighed_nats(x, mean.detach(), fitted, beta).sum().backward()
    assert fitted.grad.abs().max() < 1e-12


def test_gaussian_ends_refuse_a_weight_that_is_none():
    with pytest.raises(ValueError, match="between 0"):
        GaussianVQVAE(VQVAEConfig(channels=1, widths=(4, 8), depths=(0, 1), codebook_size=16, dim=4), beta=2.0)


def test_masses_of_all_bins_add_up_to_one_and_follow_the_normal_distribution():
    values = torch.linspace(-1, 1, 256, dtype=torch.float64)
    for mean, std in ((0.1, 0.3), (-0.99, 0.002), (3.0, 0.5), (0.0, 5.0)):
        log_variance = torch.tensor(2 * math.log(std), dtype=torch.float64)
        bits = discretised_gaussian_bits(values, torch.tensor(mean, dtype=torch.float64), log_variance)
        assert bits.isfinite().all()
        assert abs(float((-bits * math.log(2)).exp().sum()) - 1) < 1e-6, (mean, std)
    bits = discretised_gaussian_bits(values[100:101], torch.zeros(1), torch.zeros(1))
    edges = torch.stack([values[100] - 1 / 255, values[100] + 1 / 255])
    mass = torch.special.ndtr(edges).diff()
    assert torch.allclose(bits, -mass.log2())


def test_bits_per_dim_count_codes_and_values():
    torch.manual_seed(0)
    config = VQVAEConfig(channels=2, widths=(4, 8), depths=(0, 1), codebook_size=16, dim=4)
    x = (batch().clamp(-0.9, 0.9) * 127.5).round() / 127.5  # no value in an open bin
    model = VQVAE(config).eval()
    bits = bits_per_dim(model, x)
    mean = model.decode(model.encode(x))
    std = (x - mean).square().mean().sqrt()
    density = torch.distributions.Normal(mean.double(), std.double()).log_prob(x.double()).flatten(1).sum(dim=1)
    dims = 2 * 8 * 10
    expected = (-density / math.log(2) - dims * math.log2(2 / 255) + 20 * 4 + 32 / 3) / dims
    assert torch.allclose(bits, expected, atol=0.05)
    gaussian = GaussianVQVAE(config).eval()
    assert bits_per_dim(gaussian, x).shape == (3,) and (bits_per_dim(gaussian, x) > 20 * 4 / dims).all()


def test_the_textbook_example_runs_and_its_weights_load(tmp_path, capsys):
    import importlib.util
    from pathlib import Path

    path = Path(__file__).parents[1] / "examples" / "textbook.py"
    spec = importlib.util.spec_from_file_location("textbook", path)
    textbook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(textbook)
    output = tmp_path / "digits.png"
    textbook.main(["--steps", "2", "--output", str(output)])
    first = capsys.readouterr().out
    assert "training on the built-in digits" in first and output.stat().st_size > 100
    textbook.main(["--weights", str(tmp_path / "digits.safetensors"), "--output", str(output)])
    second = capsys.readouterr().out
    assert "training" not in second
    assert first.splitlines()[-3:] == second.splitlines()[-3:]
