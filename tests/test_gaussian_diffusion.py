"""Gaussian diffusion against closed forms: paths, conversions, samplers at their order, guidance, likelihood."""

import functools
import itertools
import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad, solve_ivp

from vqfusion.diffusion.gaussian.denoiser import NetworkDenoiser, denoising_loss, posterior_mean
from vqfusion.diffusion.gaussian.flow import PATHS, FlowPath, make_path
from vqfusion.diffusion.gaussian.grids import time_grid
from vqfusion.diffusion.gaussian.guidance import autoguidance, classifier_free_guidance
from vqfusion.diffusion.gaussian.likelihood import bits_per_dim, flow_log_likelihood, variational_bound
from vqfusion.diffusion.gaussian.path import KINDS, GaussianPath, scale
from vqfusion.diffusion.gaussian.samplers import SAMPLERS, ddim, sample_signal
from vqfusion.diffusion.gaussian.schedules import EDMSchedule
from vqfusion.diffusion.gaussian.times import (
    independent_places,
    log_normal_times,
    logit_normal_times,
    stratified_places,
    uniform_times,
)
from vqfusion.diffusion.gaussian.weightings import UncertaintyWeighting, loss_weight
from vqfusion.diffusion.noise import draw_noise, seeded
from vqfusion.types import Prediction

F64 = torch.float64
MIDDLE = torch.linspace(0.05, 0.95, 7, dtype=F64)
MEANS, STDS, SHARES = torch.tensor([-0.8, 0.5], dtype=F64), torch.tensor([0.2, 0.4], dtype=F64), (0.3, 0.7)


def mixture_denoiser(path, kind="x0"):
    """The exact posterior mean of independent values from a mixture of two normal distributions."""

    def denoise(x_t, t, given=None):
        alpha, sigma = (c.reshape(-1, *[1] * (x_t.ndim - 1)).to(x_t.dtype) for c in (path.alpha(t), path.sigma(t)))
        logs, means, noises = [], [], []
        for mean, std, share in zip(MEANS.tolist(), STDS.tolist(), SHARES, strict=True):
            variance = alpha**2 * std**2 + sigma**2
            logs.append(math.log(share) - variance.log() / 2 - (x_t - alpha * mean) ** 2 / (2 * variance))
            means.append(mean + alpha * std**2 / variance * (x_t - alpha * mean))
            noises.append(sigma / variance * (x_t - alpha * mean))
        share = torch.stack(logs).softmax(dim=0)
        x0, eps = (share * torch.stack(means)).sum(dim=0), (share * torch.stack(noises)).sum(dim=0)
        return Prediction(path.target(kind, x0, eps, t), kind)

    return denoise


def normal_denoiser(path, mean, std):
    """The same for one normal distribution."""

    def denoise(x_t, t, given=None):
        alpha, variance = path.alpha(t), path.alpha(t) ** 2 * std**2 + path.sigma(t) ** 2
        centred = x_t - scale(torch.full_like(x_t, mean), alpha)
        x0, eps = mean + scale(centred, alpha * std**2 / variance), scale(centred, path.sigma(t) / variance)
        return Prediction(path.target("v", x0, eps, t), "v")

    return denoise


def log_normal_density(x, mean, std):
    return -((x - mean) ** 2 / std**2 + math.log(2 * math.pi * std**2)).flatten(1).sum(dim=1) / 2


# paths


@pytest.mark.parametrize("name", PATHS)
def test_derivatives_are_finite_differences(name):
    path, step = make_path(name), 1e-6
    for value, derivative in (
        (path.alpha, path.d_alpha),
        (path.sigma, path.d_sigma),
        (path.log_snr, path.d_log_snr),
        (path.schedule.clock, path.schedule.d_clock),
    ):
        difference = (value(MIDDLE + step) - value(MIDDLE - step)) / (2 * step)
        assert torch.allclose(derivative(MIDDLE), difference, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", PATHS)
def test_ends_order_and_inverse(name):
    path, ends = make_path(name), torch.tensor([0.0, 1.0])
    assert path.alpha(ends)[0] > 0.9999 and path.sigma(ends)[0] < 0.0021
    assert path.sigma(ends)[1] / path.alpha(ends)[1] > 79
    assert (path.log_snr(MIDDLE).diff() < 0).all()
    assert torch.allclose(path.time_of_noise(path.sigma(MIDDLE) / path.alpha(MIDDLE)), MIDDLE, atol=1e-9)
    far = path.time_of_noise(torch.tensor([0.0, 1e-9, 1e9, torch.inf], dtype=F64))
    assert torch.allclose(far, torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=F64), atol=1e-8)
    if name in ("cosine", "linear", "sigmoid"):
        assert torch.allclose(path.alpha(MIDDLE) ** 2 + path.sigma(MIDDLE) ** 2, torch.ones(7, dtype=F64))


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("shape", [(4,), (3, 5), (2, 4, 4, 4)])
def test_every_kind_converts_to_every_other_and_back(name, shape):
    """Also where the batch is as long as the width: each item has its own time."""
    path = make_path(name, data_std=0.5)
    batch, generator = 4, torch.Generator().manual_seed(0)
    x0, noise = torch.randn(2, batch, *shape, generator=generator, dtype=F64)
    t = torch.tensor([0.1, 0.4, 0.7, 0.95], dtype=F64)
    x_t = path.add_noise(x0, noise, t)
    for item in range(batch):
        alone = path.add_noise(x0[item : item + 1], noise[item : item + 1], t[item : item + 1])
        assert torch.equal(alone[0], x_t[item])
    truth = {kind: path.target(kind, x0, noise, t) for kind in KINDS}
    assert torch.equal(truth["x0"], x0) and torch.equal(truth["eps"], noise)
    for start, end in itertools.product(KINDS, KINDS):
        converted = path.convert(Prediction(truth[start], start), x_t, t, end)
        assert torch.allclose(converted, truth[end], rtol=1e-9, atol=1e-9), (start, end)
    difference = (path.add_noise(x0, noise, t + 1e-6) - path.add_noise(x0, noise, t - 1e-6)) / 2e-6
    assert torch.allclose(truth["velocity"], difference, rtol=1e-5, atol=1e-7)


def test_known_forms_of_v():
    x0, noise = torch.randn(2, 7, 3, dtype=F64, generator=torch.Generator().manual_seed(0))
    path = GaussianPath("cosine")
    v = scale(noise, path.alpha(MIDDLE)) - scale(x0, path.sigma(MIDDLE))  # Salimans, Ho (2022)
    assert torch.allclose(path.target("v", x0, noise, MIDDLE), v)
    path, std = GaussianPath("edm", data_std=0.5), 0.5
    sigma = path.sigma(MIDDLE)[:, None]
    skip, out = std**2 / (sigma**2 + std**2), sigma * std / (sigma**2 + std**2).sqrt()  # Karras et al. (2022)
    assert torch.allclose(path.target("v", x0, noise, MIDDLE), -(x0 - skip * (x0 + sigma * noise)) / out)
    flow = FlowPath().target("velocity", x0, noise, MIDDLE)
    assert torch.allclose(flow, noise - x0)


def test_the_ends_of_the_flow_path_are_refused_where_they_say_nothing():
    path, x = FlowPath(), torch.ones(2, 3)
    with pytest.raises(ValueError, match="x0 does not follow from eps at t = 1"):
        path.convert(Prediction(x, "eps"), x, torch.tensor([0.5, 1.0]), "x0")
    with pytest.raises(ValueError, match="eps does not follow from x0 at t = 0"):
        path.convert(Prediction(x, "x0"), x, torch.tensor([0.0, 0.5]), "eps")
    for kind in KINDS:
        assert path.convert(Prediction(x, "v"), x, torch.tensor([0.0, 1.0]), kind).isfinite().all()


def test_inputs_are_brought_to_unit_variance():
    generator = torch.Generator().manual_seed(0)
    for name in PATHS:
        path = make_path(name, data_std=0.5)
        x0, noise = torch.randn(2, 7, 20_000, generator=generator, dtype=F64)
        x_t = scale(path.add_noise(x0 / 2, noise, MIDDLE), path.input_scale(MIDDLE))
        assert torch.allclose(x_t.std(dim=1), torch.ones(7, dtype=F64), atol=0.02)


# training


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("weighting", ["min_snr", "edm", "elbo"])
def test_a_weighted_loss_is_the_same_for_every_kind(name, weighting):
    path, generator = make_path(name, data_std=0.5), torch.Generator().manual_seed(0)
    x0, noise, wrong = torch.randn(3, 7, 5, generator=generator, dtype=F64)
    losses = {}
    for kind in KINDS:

        def denoiser(x_t, t, given=None, kind=kind):
            return Prediction(path.convert(Prediction(wrong, "v"), x_t, t, kind), kind)

        losses[kind] = denoising_loss(denoiser, path, x0, noise, MIDDLE, weighting=weighting)
    for kind in KINDS:
        assert torch.allclose(losses[kind], losses["v"], rtol=1e-6)


def test_weights_are_those_of_the_papers():
    path = GaussianPath("cosine")
    snr = path.log_snr(MIDDLE).exp()
    five = torch.full_like(snr, 5.0)
    assert torch.allclose(loss_weight("min_snr", path, "x0", MIDDLE), torch.minimum(snr, five))
    assert torch.allclose(loss_weight("min_snr", path, "eps", MIDDLE), torch.minimum(snr, five) / snr)
    assert torch.allclose(loss_weight("min_snr", path, "v", MIDDLE), torch.minimum(snr, five) / (snr + 1))
    difference = (path.log_snr(MIDDLE + 1e-6).exp() - path.log_snr(MIDDLE - 1e-6).exp()) / 2e-6
    assert torch.allclose(loss_weight("elbo", path, "x0", MIDDLE), -difference / 2, rtol=1e-6)
    edm = GaussianPath("edm", data_std=0.5)
    sigma = edm.sigma(MIDDLE)
    assert torch.allclose(loss_weight("edm", edm, "x0", MIDDLE), (sigma**2 + 0.25) / (sigma * 0.5) ** 2)
    ends = torch.tensor([0.0, 1.0])
    for name in PATHS:
        assert loss_weight("min_snr", make_path(name), "v", ends).isfinite().all()
    with pytest.raises(ValueError, match="min_snr"):
        loss_weight("snr", path, "v", MIDDLE)


def test_learned_uncertainty_finds_the_log_of_the_loss():
    """The minimum over u of loss / e^u + u is u = log loss, with gradient zero there."""
    weighting = UncertaintyWeighting(8)
    losses, t = torch.tensor([0.5, 3.0]), torch.tensor([0.2, 0.8])
    assert torch.equal(weighting(losses, t), losses)
    with torch.no_grad():
        weighting.linear.bias.fill_(math.log(3.0))
    weighting(losses, t)[1].backward()
    assert torch.allclose(weighting.linear.bias.grad, torch.zeros(1), atol=1e-6)
    weighting(losses, t)[0].backward()  # 1 - 0.5 / 3
    assert torch.allclose(weighting.linear.bias.grad, torch.tensor([5 / 6]))


def test_times_follow_their_laws():
    n, generator = 4096, torch.Generator().manual_seed(0)
    places = stratified_places(n, generator)
    assert torch.equal((places.sort().values * n).long(), torch.arange(n))
    assert abs(float(independent_places(n, generator).mean()) - 0.5) < 0.02
    assert 0.2 <= float(uniform_times(places, 0.2, 0.6).min()) and float(uniform_times(places, 0.2, 0.6).max()) <= 0.6
    logits = torch.logit(logit_normal_times(places, 0.3, 0.8))
    assert abs(float(logits.mean()) - 0.3) < 0.01 and abs(float(logits.std()) - 0.8) < 0.01
    for name in PATHS:
        path = make_path(name)
        t = log_normal_times(places, path)
        logs = (path.sigma(t) / path.alpha(t)).log()
        assert abs(float(logs.mean()) + 1.2) < 0.01 and abs(float(logs.std()) - 1.2) < 0.01


def test_a_network_sees_unit_variance_and_its_output_is_read_as_its_kind():
    path, seen = GaussianPath("edm"), {}

    def network(x, t, given):
        seen.update(x=x, t=t, given=given)
        return x * 0 + 2

    t = torch.tensor([0.3, 1.0])
    out = NetworkDenoiser(network, path, "eps")(torch.full((2, 4), 10.0), t, "codes")
    assert out.kind == "eps" and (out.value == 2).all() and seen["given"] == "codes"
    assert torch.allclose(seen["x"][:, 0].double(), 10 * path.input_scale(t), rtol=1e-5)


@pytest.mark.parametrize("name", PATHS)
def test_posterior_mean_of_a_known_noise_level(name):
    path = make_path(name)
    noisy, noise_std = torch.randn(3, 4, dtype=F64), torch.tensor([0.1, 0.5, 2.0], dtype=F64)
    gain = 0.09 / (0.09 + noise_std**2)
    expected = 0.2 + scale(noisy - 0.2, gain)
    assert torch.allclose(posterior_mean(normal_denoiser(path, 0.2, 0.3), path, noisy, noise_std), expected)


# samplers

INNER = {"cosine": (0.9, 0.1), "flow": (0.9, 0.1), "edm": (0.6, 0.1), "linear": (0.8, 0.1), "sigmoid": (0.9, 0.1)}
ORDERS = {"ddim": 1, "euler": 1, "heun": 2, "dpmpp_2m": 2, "unipc": 3}


@functools.cache
def exact_end(name, first, last, size=9):
    """Noise at time `first` and where the probability flow of the mixture takes it by `last`: a solver of order 8."""
    path = make_path(name)
    start = path.sigma(torch.tensor([first], dtype=F64)) * torch.linspace(-2, 2, size, dtype=F64)[None]
    denoiser = mixture_denoiser(path, "velocity")

    def slope(t, x):
        x, t = torch.from_numpy(np.array(x))[None], torch.tensor([t], dtype=F64)
        return denoiser(x, t).value[0].numpy()

    solved = solve_ivp(slope, (first, last), start[0].numpy(), method="DOP853", rtol=1e-10, atol=1e-11)
    return start, torch.from_numpy(solved.y[:, -1])[None]


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("sampler", ORDERS)
def test_samplers_converge_at_their_order(name, sampler):
    """Twice the steps, 2^order times less error, from the same noise to the same end."""
    path, (first, last) = make_path(name), INNER[name]
    start, end = exact_end(name, first, last)
    errors = []
    for steps in (30, 60):
        times = torch.linspace(first, last, steps + 1, dtype=F64)
        out = SAMPLERS[sampler](mixture_denoiser(path), path, start, times)
        assert out.nfe == steps * (2 if sampler == "heun" else 1)
        errors.append(float((out.signal - end).abs().mean()))
    order = math.log2(errors[0] / errors[1])
    assert order > ORDERS[sampler] - 0.3, (order, errors)


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samplers_recover_the_mixture_from_noise(name, sampler):
    """Whole way, from t = 1 to t = 0: mean, deviation and the share of the right-hand mode of 4,000 values."""
    path = make_path(name)
    out = sample_signal(mixture_denoiser(path), path, (500,), 60, seeded(0, 8), sampler=sampler).signal.double()
    mean = sum(share * mean for share, mean in zip(SHARES, MEANS.tolist(), strict=True))
    square = sum(w * (m**2 + s**2) for w, m, s in zip(SHARES, MEANS.tolist(), STDS.tolist(), strict=True))
    assert abs(float(out.mean()) - mean) < 0.04
    assert abs(float(out.std()) - math.sqrt(square - mean**2)) < 0.04
    right = sum(w * 0.5 * math.erfc((-0.2 - m) / s / 2**0.5) for w, m, s in zip(SHARES, MEANS, STDS, strict=True))
    assert abs(float((out > -0.2).double().mean()) - right) < 0.03


def test_few_steps_of_higher_order_are_closer():
    path = GaussianPath("cosine")
    noise, end = exact_end("cosine", 1.0, 0.0)
    times = time_grid(path, 10)
    ends = {n: SAMPLERS[n](mixture_denoiser(path), path, noise, times).signal for n in ORDERS}
    errors = {n: float((signal - end).abs().mean()) for n, signal in ends.items()}
    assert errors["dpmpp_2m"] < errors["ddim"] / 2 and errors["unipc"] < errors["ddim"] / 2


def test_grids_start_at_noise_and_end_at_data():
    for name, grid in itertools.product(PATHS, ("uniform", "karras", "log_snr")):
        times = time_grid(make_path(name), 7, grid)
        assert times[0] == 1 and times[-1] == 0 and len(times) == 8 and (times.diff() < 0).all()
    sigmas = GaussianPath("edm").sigma(time_grid(GaussianPath("edm"), 7, "karras"))
    assert torch.allclose(sigmas, EDMSchedule().sigma(time_grid(GaussianPath("edm"), 7)))
    for bad in (dict(steps=0), dict(steps=3, grid="cosine")):
        with pytest.raises(ValueError, match="steps must|grid 'cosine'"):
            time_grid(FlowPath(), **bad)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_batch_draws_what_each_item_draws_alone(sampler):
    path, shape = FlowPath(), (2, 3)
    denoiser = mixture_denoiser(path)
    together = sample_signal(denoiser, path, shape, 5, seeded(3, 8), sampler=sampler).signal
    for i in range(8):
        alone = sample_signal(denoiser, path, shape, 5, seeded(3 + i, 1), sampler=sampler).signal
        assert torch.allclose(alone[0], together[i], atol=1e-5)


def test_ddpm_draws_and_says_what_it_needs():
    path, x = GaussianPath("cosine"), torch.zeros(1, 2)
    with pytest.raises(ValueError, match="needs generators"):
        ddim(mixture_denoiser(path), path, x, time_grid(path, 2), eta=0.5)
    with pytest.raises(ValueError, match="sampler 'plms'"):
        sample_signal(mixture_denoiser(path), path, (2,), 3, seeded(0, 1), sampler="plms")


def test_one_ancestral_step_is_the_exact_posterior():
    """Ho et al. (2020), eq. 6-7, with the betas of two times."""
    path, t, s = GaussianPath("cosine"), 0.7, 0.4
    times = torch.tensor([t, s], dtype=F64)
    (a_t, a_s), (v_t, v_s) = (path.alpha(times) ** 2).tolist(), (path.sigma(times) ** 2).tolist()
    beta = 1 - a_t / a_s
    x_t, x0 = torch.full((1, 200_000), 0.8, dtype=F64), 0.3
    denoiser = lambda x, time, given=None: Prediction(torch.full_like(x, x0), "x0")  # noqa: E731
    out = ddim(denoiser, path, x_t, times, generators=seeded(0, 1), eta=1.0).signal
    mean = math.sqrt(a_s) * beta / v_t * x0 + math.sqrt(a_t / a_s) * v_s / v_t * 0.8
    assert abs(float(out.mean()) - mean) < 0.005
    assert abs(float(out.std()) - math.sqrt(v_s / v_t * beta)) < 0.005


# guidance


def constant(value, kind="v"):
    def denoiser(x_t, t, given=None):
        return Prediction(torch.full_like(x_t, value if given is not None else 1.0), kind)

    return denoiser


def test_neutral_guidance_is_the_denoiser_itself():
    denoiser = constant(3.0)
    assert classifier_free_guidance(denoiser, 1.0) is denoiser
    assert autoguidance(denoiser, lambda *_: 1 / 0, 1.0) is denoiser


def test_guidance_extrapolates_inside_its_interval_and_counts_calls():
    guided = classifier_free_guidance(constant(3.0), 2.0, interval=(0.3, 0.6))
    x, t = torch.zeros(4, 2), torch.tensor([0.1, 0.3, 0.6, 0.9])
    out = guided(x, t, "given")
    assert out.value[:, 0].tolist() == [3.0, 5.0, 5.0, 3.0] and out.calls == 2
    assert guided(x[:1], t[:1], "given").calls == 1
    out = sample_signal(guided, GaussianPath("cosine"), (2,), 10, seeded(0, 1), given="given")
    assert out.nfe == 10 + 4  # t = 0.3, 0.4, 0.5, 0.6 of ten
    auto = autoguidance(constant(3.0), constant(0.0), 1.5)(x, t, "given")
    assert (auto.value == 4.5).all()
    with pytest.raises(ValueError, match="one kind"):
        autoguidance(constant(1.0), constant(1.0, "eps"), 2.0)(x, t)
    with pytest.raises(ValueError, match="low < high"):
        autoguidance(constant(1.0), constant(1.0), 2.0, interval=(0.5, 0.5))


def test_guidance_is_the_same_in_every_kind():
    path = GaussianPath("cosine")
    x, t = torch.randn(3, 4, dtype=F64), torch.tensor([0.2, 0.5, 0.8], dtype=F64)
    mixed = {}
    for kind in ("eps", "v"):
        strong = lambda x_t, t, given=None, kind=kind: Prediction(  # noqa: E731
            path.convert(normal_denoiser(path, 0.3, 0.5)(x_t, t), x_t, t, kind), kind
        )
        weak = mixture_denoiser(path, kind)
        mixed[kind] = path.convert(autoguidance(strong, weak, 2.5)(x, t), x, t, "x0")
    assert torch.allclose(mixed["eps"], mixed["v"])


# likelihood


@pytest.mark.parametrize("name", ["cosine", "flow", "edm"])
def test_flow_likelihood_of_a_normal_distribution(name):
    path, mean, std = make_path(name), 0.3, 0.5
    x = mean + std * torch.randn(3, 2, 2, dtype=F64, generator=torch.Generator().manual_seed(0))
    denoiser = normal_denoiser(path, mean, std)
    exact = log_normal_density(x, mean, math.sqrt(std**2 + float(path.sigma(torch.zeros(1))) ** 2))
    for divergence in ("exact", "hutchinson"):  # the Jacobian is diagonal: random signs lose nothing
        found = flow_log_likelihood(denoiser, path, x, 20, seeded(0, 3), divergence=divergence)
        assert torch.allclose(found, exact, atol=0.02), (found - exact, divergence)


def test_flow_likelihood_of_a_mixture_and_hutchinson_is_unbiased():
    path = FlowPath()
    x = torch.tensor([[-0.9, 0.4, 1.2]], dtype=F64).T.contiguous()
    found = flow_log_likelihood(mixture_denoiser(path, "v"), path, x, 40, seeded(0, 3), divergence="exact")
    modes = [torch.distributions.Normal(m, s).log_prob(x[:, 0]).exp() for m, s in zip(MEANS, STDS, strict=True)]
    density = SHARES[0] * modes[0] + SHARES[1] * modes[1]
    assert torch.allclose(found, density.log(), atol=0.01)
    mixing = torch.tensor([[1.0, 0.8], [0.3, 0.5]], dtype=F64)

    def coupled(x_t, t, given=None):
        return Prediction(torch.tanh(x_t @ mixing), "velocity")

    x = torch.tensor([[0.2, -0.4]], dtype=F64)
    exact = flow_log_likelihood(coupled, path, x, 4, seeded(0, 1), divergence="exact")
    many = flow_log_likelihood(coupled, path, x.expand(600, 2), 4, seeded(0, 600))
    assert float(many.std()) > 0.01
    assert abs(float(many.mean() - exact)) < 4 * float(many.std()) / 600**0.5


@pytest.mark.parametrize("name", ["cosine", "flow", "linear"])
def test_the_bound_of_an_exact_denoiser_is_the_likelihood(name):
    path, mean, std = make_path(name), 0.2, 0.7
    x = mean + std * torch.randn(2, 4, dtype=F64, generator=torch.Generator().manual_seed(0))
    copies = x.repeat(500, 1)
    for assumed in (mean, mean + 0.3):  # exact for another model, the bound is that model's likelihood
        exact = -log_normal_density(x, assumed, std)
        bound = variational_bound(normal_denoiser(path, assumed, std), path, copies, 20, seeded(0, 1000))
        bound = bound.reshape(500, 2)
        assert ((bound.mean(dim=0) - exact).abs() < 4 * bound.std(dim=0) / 500**0.5).all()
        assert (bound.std(dim=0) < 2.5).all()


def test_bits_per_dim_of_uniform_noise_over_a_byte_are_eight():
    density = math.log(1 / 2)  # of one value, uniform on [-1, 1]
    bits = bits_per_dim(torch.tensor([-12 * density]), dims=12, bin_width=2 / 256)
    assert torch.allclose(bits, torch.tensor([8.0]))


def test_noise_is_normal_and_of_its_generators():
    noise = draw_noise((2, 500), seeded(0, 2), dtype=F64)
    assert noise.shape == (2, 2, 500) and noise.dtype == F64
    assert torch.equal(noise[1], torch.randn(2, 500, generator=torch.Generator().manual_seed(1), dtype=F64))


def test_the_mixture_denoiser_itself_is_right():
    path, t, x_t = FlowPath(), 0.4, 0.25

    def weight(x0):
        modes = zip(SHARES, MEANS.tolist(), STDS.tolist(), strict=True)
        prior = sum(w * math.exp(-((x0 - m) ** 2) / (2 * s**2)) / s for w, m, s in modes)
        return prior * math.exp(-((x_t - (1 - t) * x0) ** 2) / (2 * t**2))

    expected = quad(lambda x0: x0 * weight(x0), -4, 4)[0] / quad(weight, -4, 4)[0]
    found = mixture_denoiser(path)(torch.tensor([[x_t]], dtype=F64), torch.tensor([t], dtype=F64)).value
    assert abs(float(found) - expected) < 1e-9


@pytest.mark.parametrize("name", ["cosine", "linear", "sigmoid"])
@pytest.mark.parametrize("kind, sampler", [("x0", "heun"), ("eps", "euler"), ("x0", "unipc"), ("eps", "ddim")])
def test_half_precision_samples_the_same_law(name, kind, sampler):
    """1 / sigma near the data is beyond float16; the pieces that it multiplies cancel."""
    path = make_path(name)

    def exact(x_t, t, given=None):
        mean, std = 0.4, 0.3
        a, g = (c.reshape(-1, 1) for c in (path.alpha(t), path.sigma(t)))
        x0 = mean + a * std**2 / (a**2 * std**2 + g**2) * (x_t.double() - a * mean)
        value = x0 if kind == "x0" else (x_t.double() - a * x0) / g.clamp(min=1e-9)
        return Prediction(value.to(x_t.dtype), kind)

    dtype, times = torch.float16, time_grid(path, 12)
    noise = draw_noise((1000,), seeded(1, 2), torch.float64, "cpu") * float(path.sigma(times[:1]))
    wanted, made = (
        SAMPLERS[sampler](exact, path, noise.to(d), times, None, seeded(2, 2)).signal for d in (torch.float32, dtype)
    )
    assert made.dtype == dtype and bool(torch.isfinite(made).all())
    assert float(made.float().mean()) == pytest.approx(float(wanted.mean()), abs=0.03)
    assert float(made.float().std()) == pytest.approx(float(wanted.std()), abs=0.04)
