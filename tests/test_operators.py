"""Operators: adjoints, pseudo-inverses, proximal maps and decompositions, by their definitions in float64."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from vqfusion.diffusion.noise import seeded
from vqfusion.diffusion.operators import (
    JPEG,
    OPERATORS,
    BandLimit,
    Blur,
    Denoise,
    Downsample,
    Gaps,
    GaussianNoise,
    LowDose,
    Mask,
    PoissonGaussian,
    Rician,
    SaltPepper,
    STFTMask,
    ValidBlur,
    downsample,
    gaussian_kernel,
    motion_kernel,
    random_elements,
    random_operator,
)
from vqfusion.diffusion.operators.jpeg import _cosines
from vqfusion.diffusion.operators.noise_models import rician_moments
from vqfusion.errors import UserError

SHAPES = {1: (2, 96), 2: (3, 24, 36), 3: (1, 12, 12, 24)}
CASES = [(kind, rank) for kind in OPERATORS for rank in OPERATORS[kind].ranks]


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def some(kind, rank, seed):
    return random_operator(kind, SHAPES[rank], torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind, rank", CASES)
def test_adjoint(kind, rank, seed):
    """<A x, y> = <x, A' y>; of JPEG that of the derivative with which gradients pass."""
    operator = some(kind, rank, seed)
    x = draw(2, *SHAPES[rank], seed=1).requires_grad_()
    made = operator.A(x)
    y = draw(*made.shape, seed=2)
    (pulled,) = torch.autograd.grad(made, x, y)
    torch.testing.assert_close(operator.A_adjoint(y), pulled)
    if operator.linear:
        torch.testing.assert_close((made * y).sum(), (x * operator.A_adjoint(y)).sum())
    assert operator.signal_shape(made) == SHAPES[rank]
    assert operator.first_guess(made).shape == x.shape


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind, rank", [case for case in CASES if OPERATORS[case[0]].linear])
def test_pseudo_inverse_and_proximal(kind, rank, seed):
    operator = some(kind, rank, seed)
    x, z = draw(2, *SHAPES[rank], seed=1), draw(2, *SHAPES[rank], seed=3)
    y = operator.A(x)
    if kind not in (
        "blur",
        "valid_blur",
        "stft_mask",
    ):  # these lose some directions almost, and more digits than the test has
        torch.testing.assert_close(operator.A(operator.pseudo_inverse(y)), y, atol=1e-5, rtol=1e-5)
    noisy = y + 0.1 * draw(*y.shape, seed=2)
    for damping in (0.3, torch.tensor([0.3, 2.0], dtype=torch.float64).reshape(2, *[1] * rank, 1)):
        best = operator.proximal(z, noisy, damping)
        slope = operator.A_adjoint(operator.A(best) - noisy) + damping * (best - z)
        assert float(slope.abs().max()) < 1e-5


@pytest.mark.parametrize("kind", ["denoise", "low_dose", "downsample", "mask", "gaps", "blur", "band_limit"])
def test_spectrum_is_a_decomposition(kind):
    for rank in OPERATORS[kind].ranks:
        operator, x = some(kind, rank, 5), draw(2, *SHAPES[rank], seed=1)
        spectrum = operator.spectrum(SHAPES[rank], x)
        torch.testing.assert_close(spectrum.back(spectrum.to(x)), x)
        torch.testing.assert_close(spectrum.to(x).abs().square().sum(), x.square().sum())
        y = operator.A(x)
        torch.testing.assert_close(spectrum.measured(y), spectrum.values * spectrum.to(x), atol=1e-4, rtol=1e-4)
        # what U' keeps of any y is no longer than y
        noise = draw(*y.shape, seed=2)
        assert spectrum.measured(noise).abs().square().sum() <= noise.square().sum() * (1 + 1e-9)


def test_stft_has_no_cheap_decomposition():
    with pytest.raises(ValueError, match="diffpir"):
        some("stft_mask", 1, 0).spectrum(SHAPES[1], draw(1))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_downsample_is_pillows(scale):
    picture = torch.rand(1, 1, 24, 36, generator=torch.Generator().manual_seed(0))
    small = Image.fromarray(picture[0, 0].numpy()).resize((36 // scale, 24 // scale), Image.Resampling.BICUBIC)
    torch.testing.assert_close(Downsample(scale).A(picture)[0, 0], torch.from_numpy(np.array(small)))
    means = picture.reshape(1, 1, 24 // scale, scale, 36 // scale, scale).mean((3, 5))
    torch.testing.assert_close(Downsample(scale, "area").A(picture), means)


def test_a_long_axis_is_solved_without_its_decomposition(monkeypatch):
    """Conjugate gradients give what the decomposition gives, with and without damping, and take no N x N memory."""
    residual = draw(2, 3, 40, 30)
    for damping in (0.0, torch.tensor([0.01, 3.0]).reshape(2, 1, 1, 1)):
        for kernel in ("bicubic", "area"):
            exact = Downsample(3, kernel).correction(residual, damping)
            with monkeypatch.context() as patched:
                patched.setattr(downsample, "DIRECT", 16)
                patched.setattr(downsample, "_decomposition", lambda *_: pytest.fail("decomposed"))
                torch.testing.assert_close(
                    Downsample(3, kernel).correction(residual, damping), exact, atol=2e-5, rtol=0
                )
    long = Downsample(2).correction(draw(1, 1, 20000), 0.1)  # its decomposition would take 3.2 GB
    assert long.shape == (1, 1, 40000) and bool(long.isfinite().all())
    with pytest.raises(UserError, match="--method diffpir.* VQFUSION_MAX_MEMORY"):
        Downsample(2).spectrum((1, 10**6), torch.zeros(1))


def test_blur_is_a_convolution():
    x, kernel = draw(1, 1, 9, 10), draw(3, 5, seed=1)
    wide = torch.nn.functional.pad(x, (2, 2, 1, 1), mode="circular")
    expected = torch.nn.functional.conv2d(wide, kernel.flip(0, 1)[None, None])
    torch.testing.assert_close(Blur(kernel).A(x), expected)
    for kernel in (gaussian_kernel(1.5), gaussian_kernel(1.0, 3, 2), motion_kernel(7, 0.6), motion_kernel(4, 2.0)):
        assert float(kernel.sum()) == pytest.approx(1) and bool((kernel >= 0).all())


@pytest.mark.parametrize("kernel", [gaussian_kernel(1.5), motion_kernel(9, 0.6)], ids=["gaussian", "motion"])
def test_borders_that_are_not_periodic_do_not_ring(kernel):
    scene = torch.linspace(0, 1, 48, dtype=torch.float64) + 0.1 * torch.sin(torch.arange(40.0) / 3).double()[:, None]
    operator = ValidBlur(kernel)
    y = operator.A(scene[None, None])
    sharp = operator.under(operator.proximal(operator.first_guess(y), y, 0.001))
    ringing = Blur(kernel).proximal(y, y, 0.001)
    wanted = operator.under(scene[None, None])
    assert float((sharp - wanted).abs().max()) < 0.05 < 1 < float((ringing - wanted).abs().max())


def test_band_limit_keeps_low_frequencies():
    t = torch.arange(100, dtype=torch.float64)
    low, high = (torch.cos(2 * torch.pi * f * t / 100)[None, None] for f in (10, 30))
    torch.testing.assert_close(BandLimit(0.4).A(low + high), low, atol=1e-12, rtol=0)


def test_whole_stft_keeps_energy():
    x = draw(1, 1, 1000)
    for window, hop in ((64, 16), (64, 32), (50, 13)):
        operator = some("stft_mask", 1, 0)
        from vqfusion.diffusion.operators.stft_mask import frames

        seen = torch.ones(window // 2 + 1, frames(1000, window, hop), dtype=torch.bool)
        operator = STFTMask(seen, 1000, window, hop)
        torch.testing.assert_close(operator.A_adjoint(operator.A(x)), x)


@pytest.mark.parametrize("quality", [10, 50, 90])
def test_jpeg_is_pillows(quality):
    picture = np.random.default_rng(0).integers(40, 200, (24, 32), np.uint8).repeat(4, 0).repeat(4, 1)
    stored = io.BytesIO()
    Image.fromarray(picture).save(stored, "JPEG", quality=quality)
    decoded = torch.from_numpy(np.array(Image.open(stored)).astype(np.float64))
    operator, x = JPEG(quality), torch.from_numpy(picture.astype(np.float64) / 255)[None, None]
    made = operator.A(x)[0, 0].clamp(0, 1) * 255
    # libjpeg's transform is of whole numbers: a coefficient is off by up to a quarter, so that one this near to the
    # middle of two steps may round either way; a decoded pixel is off by one level at most (IEEE 1180-1990)
    steps, basis = operator.steps(1, x), _cosines(x).abs()
    places = operator._coefficients(x) / steps
    either = ((places - places.floor() - 0.5).abs() * steps < 0.25) * steps
    bound = 1 + (basis.t() @ either @ basis)[0, 0].transpose(1, 2).reshape(decoded.shape)
    assert bool(((made - decoded).abs() <= bound).all())
    assert 0 < float((bound == 1).double().mean()) and float(bound.mean()) < 3, "the bound says something"


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_proximal_explains_the_picture(channels):
    x, z = (torch.rand(2, channels, 16, 24, generator=torch.Generator().manual_seed(s)).double() for s in (0, 1))
    y = JPEG(30).A(x)
    near = JPEG(30).proximal(z, y, 1.0)
    torch.testing.assert_close(JPEG(30).A(0.999999 * near + 0.000001 * y), y)
    torch.testing.assert_close(JPEG(30).proximal(x, y, 1.0), x)  # the truth is one of those that explain it
    torch.testing.assert_close(JPEG(30).proximal(near, y, 1.0), near)


@pytest.mark.parametrize("noise", [PoissonGaussian(0.05), PoissonGaussian(0.02, 0.05), Rician(0.05), Rician(0.2)])
def test_stabilised_noise(noise):
    """One level on the whole scale, and no bias on the way back."""
    for signal in (0.15, 0.3, 0.6, 0.95):
        clean = torch.full((1, 1, 200_000), signal, dtype=torch.float64)
        u = noise.forward(noise.add(clean, seeded(3, 1)))
        assert float(u.std()) == pytest.approx(noise.level, rel=0.13 if signal < 0.3 else 0.06)
        assert float(noise.backward(u.mean())) == pytest.approx(signal, abs=0.006)
    line = torch.linspace(0, 1, 50, dtype=torch.float64)
    assert bool((torch.diff(noise.backward(line)) >= 0).all())


def test_rician_moments():
    mean, std = rician_moments(torch.tensor([0.0, 3.0, 99.0, 101.0], dtype=torch.float64))
    assert float(mean[0]) == pytest.approx(1.2533141)
    assert float(std[0]) == pytest.approx(0.6551364)
    assert float(mean[3]) == pytest.approx(101 + 1 / 202, abs=1e-5)
    assert float(std[2]) == pytest.approx(float(std[3]), abs=1e-5)


def test_noise_is_drawn_item_by_item():
    clean = torch.full((3, 1, 8, 8), 0.5)
    for noise in (GaussianNoise(0.1), PoissonGaussian(0.1, 0.1), Rician(0.1), SaltPepper(0.3)):
        together = noise.add(clean, seeded(0, 3))
        for i in range(3):
            torch.testing.assert_close(noise.add(clean[:1], seeded(i, 1)), together[i : i + 1])
    corrupted = SaltPepper(0.3).add(torch.full((1, 1, 100, 100), 0.5), seeded(0, 1))
    assert float((~SaltPepper(0.3).seen(corrupted)).float().mean()) == pytest.approx(0.3, abs=0.02)
    levels = GaussianNoise(torch.tensor([0.1, 0.2])).add(torch.zeros(2, 1, 5000), seeded(0, 2)).std(-1).flatten()
    torch.testing.assert_close(levels, torch.tensor([0.1, 0.2]), rtol=0.05, atol=0)


def test_low_dose_is_photons():
    y = LowDose(50).measure(torch.full((1, 1, 50_000), 0.4), seeded(0, 1))
    assert float(y.mean()) == pytest.approx(0.4, abs=0.01) and float(y.var()) == pytest.approx(0.4 / 50, rel=0.05)


def test_holes_are_filled_between_their_surroundings():
    ramp = torch.linspace(0, 1, 64).expand(1, 1, 64, 64)
    for lost in (0.5, 0.9, 0.99):
        operator = Mask(random_elements((64, 64), lost, torch.Generator().manual_seed(0)))
        guess = operator.first_guess(operator.A(ramp))
        torch.testing.assert_close(operator.A(guess), operator.A(ramp))
        assert float((guess - ramp).abs().mean()) < 0.1 and float(guess.min()) >= 0
    gaps = Gaps(20, [(5, 8), (19, 20)])
    assert gaps.seen.sum() == 16
    assert bool(torch.isfinite(gaps.first_guess(torch.ones(1, 1, 20))).all())


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: Denoise(-0.1), "sigma must be"),
        (lambda: Denoise(float("nan")), "sigma must be"),
        (lambda: Mask(torch.ones(4, 5, dtype=torch.bool)).A(draw(1, 1, 5, 4)), "same size"),
        (lambda: Mask(torch.ones(3, 5, 4, dtype=torch.bool)).A(draw(1, 2, 5, 4)), "same size"),
        (lambda: Mask(torch.zeros(4, 5, dtype=torch.bool)), "hides everything"),
        (lambda: Downsample(-2), "scale must be"),
        (lambda: Downsample(0), "scale must be"),
        (lambda: Downsample(2, "lanczos"), "bicubic, area"),
        (lambda: Downsample(3).A(draw(1, 1, 8, 9)), "crop it"),
        (lambda: Downsample((2, 2)).A(draw(1, 1, 8)), "rank 1"),
        (lambda: Gaps(10, [(4, 2)]), "gap"),
        (lambda: Blur(torch.zeros(3, 3)), "kernel"),
        (lambda: Blur(torch.ones(3, 3)).A(draw(1, 1, 9)), "does not fit"),
        (lambda: BandLimit(0.0), "cutoff"),
        (lambda: JPEG(0), "quality"),
        (lambda: JPEG(50).A(draw(1, 2, 8, 8)), "1 or 3 channels"),
        (lambda: JPEG(50).check_rank(draw(1, 1, 8)), "rank"),
        (lambda: STFTMask(torch.ones(5, 3, dtype=torch.bool), 100, 64, 16), "must be"),
        (lambda: LowDose(0), "dose"),
        (lambda: SaltPepper(1.5), "share"),
        (lambda: Rician(0.0), "sigma"),
        (lambda: PoissonGaussian(-1.0), "gain"),
        (lambda: gaussian_kernel(-1.0), "width"),
        (lambda: GaussianNoise().add(draw(1, 1, 4), seeded(0, 1)), "unknown sigma"),
        (lambda: random_operator("fog", (1, 8), torch.Generator()), "fog"),
    ],
)
def test_mistakes_are_one_line(make, words):
    with pytest.raises(UserError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("quality", [10, 30, 75, 95])
def test_jpeg_takes_the_tables_of_a_file(mode, quality):
    """Those that Pillow writes are those of the quality, in the same order."""
    file = io.BytesIO()
    Image.new(mode, (16, 16)).save(file, "JPEG", quality=quality)
    of_file, like = JPEG(dict(Image.open(file).quantization)), torch.zeros(())
    assert torch.equal(of_file.steps(len(mode), like), JPEG(quality).steps(len(mode), like))
    with pytest.raises(UserError, match="64 steps"):
        JPEG({0: [16, 11, 10]})
