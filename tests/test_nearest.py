"""Nearest code: every search against float64, the compiler and cache of the C++ search, and what happens without it."""

import os
import subprocess
import sys
import threading
from importlib.resources import files

import pytest
import torch

from vqfusion.tokenizers import nearest
from vqfusion.tokenizers.kernels import native
from vqfusion.tokenizers.nearest import nearest_code, nearest_code_backend


def torch_search(x: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
    return nearest._chunked(x, codebook, rows=50)


@pytest.fixture(params=["torch", "c++", "triton"])
def case(request):
    """A search and the device of its data."""
    if request.param == "torch":
        return torch_search, torch.device("cpu")
    device = torch.device("cpu" if request.param == "c++" else "cuda")
    if device.type == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    search, name = nearest._backend(device)
    if name != request.param:
        pytest.skip(name)
    return search, device


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """An empty cache folder and nothing loaded yet; every search may be fused."""
    nearest._backend.cache_clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(nearest, "FUSED_SCORES", 0)
    yield tmp_path / "vqfusion"
    nearest._backend.cache_clear()


def needs_compiler():
    if not any(native.shutil.which(name) for name in native.COMPILERS):
        pytest.skip("no C++ compiler")


def run(code: str, folder, **environment: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | environment, cwd=folder)


def draw(n: int, k: int, d: int, mean: float = 0.0, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = mean + 0.3 * torch.randn(n, d, generator=generator)
    return x, mean + 0.3 * torch.randn(k, d, generator=generator)


def assert_nearest(indices: torch.Tensor, x: torch.Tensor, codebook: torch.Tensor) -> None:
    """Indices are those of float64, but for scores nearer than the rounding of float32 sums of D products."""
    assert indices.dtype == torch.int64 and indices.shape == x.shape[:1]
    center = codebook.double().mean(dim=0)
    vectors, codes = x.double() - center, codebook.double() - center
    scores = vectors @ codes.t() - codes.square().sum(dim=1) / 2
    sizes = vectors.norm(dim=1, keepdim=True) * codes.norm(dim=1) + codes.square().sum(dim=1) / 2
    rounding = (x.shape[1] + 3) * 2.0**-24 * sizes
    chosen, best = indices[:, None], scores.argmax(dim=1, keepdim=True)
    gap = scores.gather(1, best) - scores.gather(1, chosen)
    assert (gap <= rounding.gather(1, best) + rounding.gather(1, chosen)).all()
    assert (chosen != best).float().mean() < 0.01, "near-ties are rare in these data"


SHAPES = [
    (1, 1, 1),
    (1, 7, 3),
    (13, 33, 5),
    (97, 300, 64),
    (200, 31, 17),
    (49, 1025, 100),
    (500, 257, 2),
    (3, 64, 700),
    (300, 140, 19),
]


@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_float64_at_any_size(case, shape):
    search, device = case
    x, codebook = draw(*shape)
    assert_nearest(search(x.to(device), codebook.to(device)).cpu(), x, codebook)


def test_no_wrong_code_on_offset_data(case):
    search, device = case
    x, codebook = draw(2000, 256, 16, mean=100.0)
    exact = torch.cdist(x.double(), codebook.double(), compute_mode="donot_use_mm_for_euclid_dist").argmin(dim=1)
    assert torch.equal(search(x.to(device), codebook.to(device)).cpu(), exact)


def test_ties_go_to_the_lower_index(case):
    search, device = case
    generator = torch.Generator().manual_seed(0)
    codebook = torch.randint(-2, 3, (300, 2), generator=generator).float()  # 25 points, many times each; exact sums
    codebook = torch.cat([codebook, -codebook])  # the mean is exactly 0
    x = torch.randint(-2, 3, (400, 2), generator=generator) + 0.5 * torch.randint(0, 2, (400, 2), generator=generator)
    distances = (x[:, None] - codebook).square().sum(dim=2)
    first = (distances == distances.amin(dim=1, keepdim=True)).int().argmax(dim=1)
    assert torch.equal(search(x.to(device), codebook.to(device)).cpu(), first)


def test_ties_of_many_codes_of_many_dimensions(case):
    """Enough of both that a processor with bfloat16 products rounds first."""
    search, device = case
    generator = torch.Generator().manual_seed(0)
    some = torch.randint(-1, 2, (100, 16), generator=generator).float()
    codebook = torch.cat([some, some.flip(0), -some, -some])  # each twice at least; the mean is exactly 0
    x = torch.randint(-1, 2, (200, 16), generator=generator).float()
    distances = (x[:, None] - codebook).square().sum(dim=2)
    first = (distances == distances.amin(dim=1, keepdim=True)).int().argmax(dim=1)
    assert torch.equal(search(x.to(device), codebook.to(device)).cpu(), first)


def test_codes_that_rounding_cannot_tell_apart(case):
    search, device = case
    x, codebook = draw(400, 200, 32)
    codebook = codebook[:1] + 1e-3 * codebook
    found = search(x.to(device), codebook.to(device))
    assert_nearest(found.cpu(), x, codebook)
    assert torch.equal(search(x[::3].to(device), codebook.to(device)), found[::3])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_vector_that_is_not_finite_gets_a_valid_index_and_harms_no_other(case, value):
    search, device = case
    x, codebook = draw(130, 70, 6)
    clean = search(x.to(device), codebook.to(device)).cpu()
    rows = torch.tensor([0, 5, 129])
    x[rows, 2] = value
    x[5] = value
    found = search(x.to(device), codebook.to(device)).cpu()
    assert ((found >= 0) & (found < 70)).all()
    others = torch.ones(130, dtype=torch.bool).index_fill(0, rows, False)
    assert torch.equal(found[others], clean[others])


def test_layout_of_the_memory_does_not_matter(case):
    search, device = case
    x, codebook = (t.to(device) for t in draw(90, 40, 8))
    wanted = search(x, codebook)
    wide = torch.zeros(90, 11, device=device)
    wide[:, 3:] = x
    assert torch.equal(search(wide[:, 3:], codebook), wanted)
    assert torch.equal(search(x.t().contiguous().t(), codebook.t().contiguous().t()), wanted)
    assert torch.equal(search(x[::3], codebook), wanted[::3])
    assert torch.equal(search(x[:1].expand(7, -1), codebook), wanted[:1].expand(7))


def test_nothing_to_search_for(case):
    search, device = case
    assert search(torch.zeros(0, 4, device=device), torch.ones(3, 4, device=device)).shape == (0,)


def test_the_number_of_threads_does_not_matter():
    needs_compiler()
    search, _ = nearest._backend(torch.device("cpu"))
    x, codebook = draw(3000, 500, 16)
    one = search(x, codebook)
    try:
        torch.set_num_threads(3)
        assert torch.equal(search(x, codebook), one)
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_types_are_searched_in_float32(monkeypatch, dtype):
    x, codebook = draw(300, 90, 12)
    x = x.to(dtype)
    plain = nearest_code(x, codebook, 64)
    assert_nearest(plain, x, codebook)
    monkeypatch.setattr(nearest, "FUSED_SCORES", 0)
    assert_nearest(nearest_code(x, codebook), x, codebook)


def test_blocks_of_codes_are_the_argmax_of_all():
    """The torch search looks for the best block first: the same index, ties and ragged sizes included."""
    generator = torch.Generator().manual_seed(0)
    for k in (255, 256, 257, 300, 640):
        codebook = torch.randint(-1, 2, (k, 3), generator=generator).float()
        x = torch.randint(-1, 2, (200, 3), generator=generator).float()
        center = codebook.mean(dim=0)
        codes = codebook - center
        scores = torch.addmm(codes.square().sum(dim=1).mul(-0.5), x - center, codes.t())
        assert torch.equal(nearest._chunked(x, codebook, rows=64), scores.argmax(dim=1))


def test_the_source_is_in_the_package():
    assert (files("vqfusion.tokenizers.kernels") / "nearest_code.cpp").is_file()


def test_compiled_once_and_kept(fresh, monkeypatch):
    needs_compiler()
    assert nearest_code_backend() == "c++"
    (library,) = fresh.iterdir()
    nearest._backend.cache_clear()
    monkeypatch.setenv("PATH", "")  # no compiler needed any more
    assert nearest_code_backend() == "c++" and list(fresh.iterdir()) == [library]


def test_several_may_compile_at_once(fresh):
    needs_compiler()
    x, codebook = draw(20, 10, 4)
    found = []
    threads = [threading.Thread(target=lambda: found.append(native.load()(x, codebook))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3 and all(torch.equal(f, torch_search(x, codebook)) for f in found)
    assert len(list(fresh.iterdir())) == 1


def test_plainest_build_gives_the_same(fresh, monkeypatch):
    """No instruction set of this processor, no OpenMP: four lanes and threads of the standard library."""
    needs_compiler()
    x, codebook = draw(800, 333, 23)
    monkeypatch.setattr(native, "EXTRAS", (("-mthis-is-no-flag",), ()))
    search = native.load()
    try:
        torch.set_num_threads(3)
        assert_nearest(search(x, codebook), x, codebook)
    finally:
        torch.set_num_threads(1)


def test_a_damaged_library_is_built_again(fresh):
    needs_compiler()
    fresh.mkdir(parents=True)
    path = fresh / f"nearest_code-{native._digest(native.SOURCE.read_bytes())}.so"
    path.write_bytes(b"not a library")
    assert nearest_code_backend() == "c++" and path.stat().st_size > 1000


def test_another_processor_has_another_library(monkeypatch):
    here = native._digest(b"source")
    monkeypatch.setattr(native, "_processor", lambda: "flags: none")
    assert native._digest(b"source") != here != native._digest(b"other")


def without_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", "")


def with_a_cache_that_is_a_file(monkeypatch, tmp_path):
    (tmp_path / "vqfusion").write_text("")


def with_source_that_does_not_compile(monkeypatch, tmp_path):
    monkeypatch.setattr(native, "SOURCE", tmp_path / "wrong.cpp")
    (tmp_path / "wrong.cpp").write_text("this is no program")


def with_a_search_that_is_wrong(monkeypatch, tmp_path):
    monkeypatch.setattr(native, "load", lambda: lambda x, codebook: torch.zeros(len(x), dtype=torch.int64))


@pytest.mark.parametrize(
    ("mishap", "reason"),
    [
        (without_compiler, "no C++ compiler"),
        (with_a_cache_that_is_a_file, "vqfusion"),
        (with_source_that_does_not_compile, "error"),
        (with_a_search_that_is_wrong, "float64"),
    ],
)
def test_torch_searches_where_the_kernel_fails(fresh, monkeypatch, mishap, reason):
    needs_compiler()
    mishap(monkeypatch, fresh.parent)
    x, codebook = draw(100, 60, 5)
    assert_nearest(nearest_code(x, codebook), x, codebook)
    told = nearest_code_backend()
    assert told.startswith("torch: ") and reason in told


def test_torch_on_request(fresh, monkeypatch):
    monkeypatch.setenv("VQFUSION_NEAREST", "torch")
    x, codebook = draw(30, 20, 4)
    assert_nearest(nearest_code(x, codebook), x, codebook)
    assert nearest_code_backend() == "torch: VQFUSION_NEAREST=torch" and not fresh.exists()


def test_few_scores_compile_nothing(fresh, monkeypatch):
    monkeypatch.setattr(nearest, "FUSED_SCORES", 2**20)
    nearest_code(*draw(100, 100, 4))
    assert not fresh.exists()


def test_exported_programs_search_in_torch(fresh):
    x, codebook = draw(60, 40, 4)

    class Search(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nearest_code(x, codebook)

    exported = torch.export.export(Search(), (x,)).module()
    assert torch.equal(exported(x), torch_search(x, codebook))
    assert not fresh.exists(), "no kernel was built"


def test_compiled_programs_search_in_torch(fresh):
    """In a process of its own: the type checker of these tests cannot be compiled."""
    code = """
import torch
from vqfusion.tokenizers import nearest
nearest.FUSED_SCORES = 0
x, codebook = torch.randn(60, 4), torch.randn(40, 4)
search = torch.compile(lambda x: nearest.nearest_code(x, codebook), backend="eager", fullgraph=True)
assert torch.equal(search(x), nearest._chunked(x, codebook, 50))
"""
    run(code, fresh.parent)
    assert not fresh.exists(), "no kernel was built"


def test_the_indices_carry_no_gradient(monkeypatch):
    monkeypatch.setattr(nearest, "FUSED_SCORES", 0)
    x, codebook = draw(60, 40, 4)
    assert not nearest_code(x.requires_grad_(), codebook).requires_grad


@pytest.mark.skipif(torch.cuda.is_available(), reason="the kernel itself is tested above")
def test_triton_kernel_in_its_interpreter(tmp_path):
    """Where Triton is installed without a GPU, its interpreter runs the kernel on the CPU."""
    pytest.importorskip("triton")
    code = """
import torch
from vqfusion.tokenizers import nearest
from vqfusion.tokenizers.kernels.gpu import load
search = load()
nearest._check(search, torch.device("cpu"))
for n, k, d in (150, 130, 33), (1, 1, 1), (5, 200, 2):
    x, codebook = torch.randn(n, d + 3)[:, :d], torch.randn(k, d)
    assert torch.equal(search(x, codebook), nearest._chunked(x, codebook, 50))
"""
    run(code, tmp_path, TRITON_INTERPRET="1")
