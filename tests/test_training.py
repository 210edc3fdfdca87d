"""Training: resume is bit-equal, two processes are one, a wrong tokenizer is refused, the miniature chain learns."""

import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from vqfusion.config import DrawConfig, ShortConfig, StageConfig, VQVAEConfig
from vqfusion.data import open_dataset
from vqfusion.diffusion.noise import seeded, torch_seed
from vqfusion.errors import UserError
from vqfusion.evaluate.table import evaluate
from vqfusion.models.fusion.draws import draw_slot
from vqfusion.models.fusion.generate import given_prefix
from vqfusion.models.fusion.system import System
from vqfusion.models.sampling import Sampling
from vqfusion.nn.arithmetic import Arithmetic, candidates, fastest
from vqfusion.nn.restoration import RestorationNet
from vqfusion.nn.weights import load_json, load_weights, save_json, save_weights
from vqfusion.tasks import TASKS
from vqfusion.tokenizers.text import TextTokenizer
from vqfusion.tokenizers.vqvae import VQVAE
from vqfusion.train.fusion.own_data import expand
from vqfusion.train.fusion.trainer import train
from vqfusion.train.loop import precision
from vqfusion.train.loop.accelerator import make_accelerator
from vqfusion.train.loop.fit import fit
from vqfusion.train.loop.metrics import Metrics
from vqfusion.train.loop.muon import COEFFICIENTS, Muon, orthogonal
from vqfusion.train.loop.optimizers import make_optimizers
from vqfusion.train.loop.pace import learning_rate
from vqfusion.train.loop.signals import Interrupted
from vqfusion.train.loop.steps import share, step_generator
from vqfusion.types import Sample

pytestmark = pytest.mark.slow

STAGE = StageConfig(steps=12, batch=8, warmup_steps=2, precision="fp32", learning_rate=3e-3)


class Net(torch.nn.Module):
    """A VQ-VAE over noise, with the loss of a tokenizer."""

    def __init__(self, quantizer: str):
        super().__init__()
        torch.manual_seed(0)
        config = VQVAEConfig(
            rank=1,
            channels=2,
            widths=(8, 8),
            depths=(0, 1),
            codebook_size=16,
            dim=4,
            quantizer=quantizer,
            levels=(4, 4),
        )
        self.vqvae = VQVAE(config)

    def loss(self, x):
        out = self.vqvae(x)
        return (out.signal - x).square().mean() + out.codes.loss, {"usage": out.codes.usage}


def batches(step: int, rank: int, processes: int) -> torch.Tensor:
    items = share(range(STAGE.batch), rank, processes)
    return torch.stack([torch.randn(2, 16, generator=step_generator(0, step, i)) for i in items])


def state(folder: Path) -> dict[str, torch.Tensor]:
    return load_weights(folder / "state.safetensors")


def assert_bit_equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("quantizer", ["vq", "fsq"])
def test_stop_and_resume_is_bit_equal(tmp_path, quantizer):
    fit(Net(quantizer), batches, STAGE, tmp_path / "whole", "c", Accelerator(cpu=True))
    with pytest.raises(Interrupted) as stop:
        fit(Net(quantizer), batches, STAGE, tmp_path / "parts", "c", Accelerator(cpu=True), stop_after=5)
    assert "stopped at step 5 of 12" in str(stop.value)
    resumed = fit(Net(quantizer), batches, STAGE, tmp_path / "parts", "c", Accelerator(cpu=True))
    assert_bit_equal(state(tmp_path / "whole"), state(tmp_path / "parts"))
    again = fit(Net(quantizer), batches, STAGE, tmp_path / "parts", "c", Accelerator(cpu=True))
    assert_bit_equal(resumed.state_dict(), again.state_dict())


class Linear(torch.nn.Module):
    """A linear map with a vector beside it, so that both optimizers of `muon` have work."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.map = torch.nn.Linear(2, 6)

    def loss(self, x):
        return (self.map(x.movedim(1, 2)) - x.sum(dim=1)[..., None]).square().mean(), {}


def test_muon_resumes_bit_for_bit_and_makes_steps_of_the_size_of_adamw(tmp_path):
    muon = STAGE.model_copy(update={"optimizer": "muon", "weight_decay": 0.0})
    whole = fit(Linear(), batches, muon, tmp_path / "whole", "c", Accelerator(cpu=True))
    with pytest.raises(Interrupted):
        fit(Linear(), batches, muon, tmp_path / "parts", "c", Accelerator(cpu=True), stop_after=5)
    fit(Linear(), batches, muon, tmp_path / "parts", "c", Accelerator(cpu=True))
    assert_bit_equal(state(tmp_path / "whole"), state(tmp_path / "parts"))
    assert not torch.equal(whole.map.weight, Linear().map.weight)
    # the first update is an orthogonal matrix (singular values 1) times 0.2 sqrt(6), to the accuracy of five iterations
    first = Linear()
    adamw, matrices = make_optimizers(first, muon)
    first.loss(batches(0, 0, 1))[0].backward()
    before = first.map.weight.detach().clone()
    matrices.step()
    singular = torch.linalg.svdvals((first.map.weight - before).detach()) / (STAGE.learning_rate * 0.2 * 6**0.5)
    assert ((singular > 0.6) & (singular < 1.4)).all()
    assert [p is first.map.bias for group in adamw.param_groups for p in group["params"]] == [True]


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (8, 8)])
@pytest.mark.parametrize("known", [{"avx512_bf16": True, "amx_bf16": True}, {"avx512_bf16": True}, {"avx2": True}])
def test_muon_is_that_of_torch_where_bfloat16_is_fast_and_near_it_elsewhere(monkeypatch, known, shape):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    start = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    ours, theirs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    optimizers = (
        Muon([ours], lr=0.1, weight_decay=0.1),
        torch.optim.Muon([theirs], lr=0.1, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
    )
    for step in range(4):
        gradient = torch.randn(shape, generator=torch.Generator().manual_seed(step + 1))
        for parameter, optimizer in zip((ours, theirs), optimizers, strict=True):
            parameter.grad = gradient.clone()
            optimizer.step()
    if "amx_bf16" in known:
        assert torch.equal(ours, theirs)
    else:
        assert not torch.equal(ours, theirs)
        assert (ours - theirs).norm() < 0.03 * (theirs - start).norm()


@pytest.mark.parametrize("shape", [(4, 4), (8, 40), (40, 8), (24, 37)])
def test_iterations_on_the_gram_matrix_are_those_on_the_matrix(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    matrix[0] *= 1e-3
    x = (matrix if shape[0] <= shape[1] else matrix.T) / matrix.norm()
    for _ in range(5):
        gram = x @ x.T
        x = COEFFICIENTS[0] * x + (COEFFICIENTS[1] * gram + COEFFICIENTS[2] * gram @ gram) @ x
    expected = x if shape[0] <= shape[1] else x.T
    assert torch.allclose(orthogonal(matrix), expected, atol=1e-10)
    assert torch.allclose(orthogonal(matrix.float()), expected.float(), atol=1e-3)


@pytest.mark.parametrize("known", [{"avx512_bf16": True}, {"avx2": True}])
def test_precision_is_tried_where_the_processor_has_bfloat16(monkeypatch, known):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    ways = [str(way) for way in candidates(torch.nn.Conv2d(1, 1, 3), "cpu")]
    assert ways[:2] == ["float32", "float32, channels last"]
    assert ways[2:] == (["bfloat16", "bfloat16, channels last"] if "avx512_bf16" in known else [])
    assert [str(way) for way in candidates(torch.nn.Linear(1, 1), "cpu")] == [way for way in ways if "," not in way]


def test_another_arithmetic_is_taken_where_it_is_a_tenth_faster():
    plain, last, fast = Arithmetic(), Arithmetic(channels_last=True), Arithmetic(bfloat16=True)
    assert fastest({plain: 1.0, last: 0.95, fast: 2.0}) == plain
    assert fastest({plain: 1.0, last: 0.8, fast: 0.5}) == fast
    assert all(Arithmetic.of(str(way)) == way for way in (plain, last, fast, Arithmetic(True, True)))


@pytest.mark.parametrize("way", [Arithmetic(), Arithmetic(True), Arithmetic(False, True)])
def test_a_trial_changes_nothing_and_its_choice_survives_a_stop(tmp_path, monkeypatch, way):
    """The trained weights are those of a run with the chosen arithmetic from the start, also where it was stopped."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    monkeypatch.setattr(precision, "WORTH_S", 0.0)
    monkeypatch.setattr(precision, "fastest", lambda times: way)
    stage = STAGE.model_copy(update={"precision": "auto"})
    fit(Net("fsq"), batches, stage, tmp_path / "whole", "c", Accelerator(cpu=True))
    assert f"computes in {way}: by trial float32" in (tmp_path / "whole" / "precision.txt").read_text()
    with pytest.raises(Interrupted):
        fit(Net("fsq"), batches, stage, tmp_path / "parts", "c", Accelerator(cpu=True), stop_after=5)
    monkeypatch.setattr(precision, "fastest", None)  # not asked again
    fit(Net("fsq"), batches, stage, tmp_path / "parts", "c", Accelerator(cpu=True))
    assert_bit_equal(state(tmp_path / "parts"), state(tmp_path / "whole"))
    if not way.channels_last:
        forced = STAGE.model_copy(update={"precision": "bf16" if way.bfloat16 else "fp32"})
        fit(Net("fsq"), batches, forced, tmp_path / "forced", "c", Accelerator(cpu=True))
        assert_bit_equal(state(tmp_path / "whole"), state(tmp_path / "forced"))


def test_a_short_training_is_in_float32_without_a_trial(tmp_path):
    for name, asked in (("auto", "auto"), ("fp32", "fp32")):
        stage = STAGE.model_copy(update={"precision": asked})
        fit(Net("fsq"), batches, stage, tmp_path / name, "c", Accelerator(cpu=True))
    assert_bit_equal(state(tmp_path / "auto"), state(tmp_path / "fp32"))
    assert not (tmp_path / "auto" / "precision.txt").exists()


def test_a_checkpoint_of_another_config_is_refused(tmp_path):
    with pytest.raises(Interrupted):
        fit(Net("fsq"), batches, STAGE, tmp_path, "one", Accelerator(cpu=True), stop_after=2)
    with pytest.raises(UserError, match="another config"):
        fit(Net("fsq"), batches, STAGE, tmp_path, "other", Accelerator(cpu=True))


def test_learning_rate_warms_up_and_falls_to_zero():
    stage = StageConfig(steps=100, warmup_steps=10, learning_rate=1.0)
    rates = [learning_rate(stage, step) for step in range(101)]
    assert rates[0] == pytest.approx(0.1) and max(rates) <= 1.0
    assert rates[50] == pytest.approx(0.5) and rates[100] == pytest.approx(0.0)


SEVERAL = """
import atexit, os, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
def threads():  # runs last: whatever is still connected now may abort the process as it exits
    names = [Path(f"/proc/self/task/{{task}}/comm").read_text() for task in os.listdir("/proc/self/task")]
    Path({folder!r}, f"left-{{os.environ['RANK']}}").write_text("".join(names))
if sys.platform == "linux":
    atexit.register(threads)
import torch
torch.set_num_threads(1)
from test_training import Net, STAGE, batches
from vqfusion.train.loop import precision
from vqfusion.train.loop.accelerator import make_accelerator
from vqfusion.train.loop.fit import fit
accelerator = make_accelerator("cpu" if torch.accelerator.is_available() else None)
assert accelerator.num_processes == {processes}  # nobody says `--device cpu` where there is nothing else
fit(Net({quantizer!r}), batches, STAGE, Path({folder!r}), "c", accelerator)
"""


@pytest.mark.parametrize(("quantizer", "processes"), [("vq", 2), ("fsq", 2), ("vq", 3), ("lfq", 3)])
def test_processes_are_one_with_the_same_batch_whether_it_can_be_divided_or_not(tmp_path, quantizer, processes):
    script = tmp_path / "two.py"
    fields = dict(tests=str(Path(__file__).parent), quantizer=quantizer, folder=str(tmp_path / "two"))
    script.write_text(SEVERAL.format(**fields, processes=processes))
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        f"--nproc_per_node={processes}",
        "--standalone",
        str(script),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    left = [path.read_text() for path in (tmp_path / "two").glob("left-*")]
    assert len(left) == processes * (sys.platform == "linux") and "gloo" not in "".join(left)
    fit(Net(quantizer), batches, STAGE, tmp_path / "one", "c", Accelerator(cpu=True))
    one, two = state(tmp_path / "one"), state(tmp_path / "two")
    assert one.keys() == two.keys()
    for name in one:
        assert torch.allclose(one[name].float(), two[name].float(), atol=2e-5, rtol=1e-4), name
    lines = [json.loads((tmp_path / name / "metrics.jsonl").read_text()) for name in ("one", "two")]
    assert lines[0]["loss"] == pytest.approx(lines[1]["loss"], rel=1e-4), "metrics are those of all processes"


def test_shares_lose_nothing_and_a_batch_that_is_too_small_is_one_line():
    for size, processes in ((8, 2), (8, 3), (3, 2), (5, 5)):
        parts = [list(share(range(size), rank, processes)) for rank in range(processes)]
        assert sum(parts, []) == list(range(size)) and max(map(len, parts)) - min(map(len, parts)) <= 1
    with pytest.raises(UserError, match="a batch of 1 is too small for 2 processes"):
        share(range(1), 0, 2)


MINI = ShortConfig(
    name="mini", data="digits", size="tiny", image_size=16, slots=("image", "label"), tokenizer_steps=120, steps=250,
    batch=16, draws=(
        DrawConfig(given=("label",), target=("image",), weight=2, drop_given=0.1),
        DrawConfig(given=("image",), target=("label",), weight=2),
    ),
)  # fmt: skip


def mini_chain(**changes):
    return expand(MINI.model_copy(update=changes), open_dataset("digits"))


def test_sigterm_saves_sigkill_loses_little_and_both_resume_to_the_same_weights(tmp_path):
    chain = mini_chain(steps=30, tokenizer_steps=10, limit_keys=60)
    stages = {"image": chain.tokenizer_stages["image"].model_copy(update={"checkpoint_every_s": 0.0})}
    fusion_stage = chain.fusion_stage.model_copy(update={"checkpoint_every_s": 0.0})
    chain = chain.model_copy(update={"tokenizer_stages": stages, "fusion_stage": fusion_stage})
    (tmp_path / "chain.yaml").write_text(json.dumps(chain.model_dump(mode="json")))
    train = [sys.executable, "-m", "vqfusion", "train", str(tmp_path / "chain.yaml"), "-o"]
    assert subprocess.run([*train, str(tmp_path / "whole")], capture_output=True, timeout=200).returncode == 0

    log = tmp_path / "parts" / "fusion" / "state.safetensors"
    for number, code in ((signal.SIGTERM, 143), (signal.SIGKILL, -9)):
        process = subprocess.Popen([*train, str(tmp_path / "parts")], stderr=subprocess.PIPE, text=True)
        seen = log.stat().st_mtime_ns if log.exists() else 0
        deadline = time.monotonic() + 120
        while (log.stat().st_mtime_ns if log.exists() else 0) == seen and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=60)
        assert process.returncode in (code, 0), stderr[-1000:]
        assert "Traceback" not in stderr
    assert subprocess.run([*train, str(tmp_path / "parts")], capture_output=True, timeout=200).returncode == 0
    assert_bit_equal(state(tmp_path / "whole" / "fusion"), state(tmp_path / "parts" / "fusion"))


@pytest.fixture(scope="module")
def mini(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mini")
    return train(mini_chain(), folder, make_accelerator("cpu")), folder


def test_the_miniature_chain_learns_digits(mini):
    """Data, tokenizer, Fusion, task, report: far better than chance after half a minute."""
    system, _ = mini
    test = open_dataset("digits").select(split="test", slots=("image", "label"))
    answers = system.distribution({"image": [r.load("image") for r in test]}, "label")
    right = sum(max(a, key=a.get) == r.load("label").data for a, r in zip(answers, test, strict=True))
    assert right / len(test) > 0.6
    answer = TASKS["classify"](top=3)(system, test[0].load("image"), Sampling())
    assert answer.distributions[0] == pytest.approx(dict(list(answers[0].items())[:3]), abs=1e-5)
    report = evaluate(system, only=["image-tokenizer", "classify"], dataset="digits")
    rows = {row.group: row for row in report.rows if row.metric in ("PSNR", "accuracy")}
    assert rows["classify"].value == pytest.approx(100 * right / len(test), abs=8)
    assert rows["image-tokenizer"].value > rows["image-tokenizer"].baselines["mean picture"]
    drawn = system.generate({"label": [Sample("label", str(d)) for d in range(10)]}, "image", Sampling(seed=1))
    pictures = [samples[0] for samples in drawn.samples]
    assert all(p.data.shape == (3, 16, 16) and 0 <= float(p.data.min()) <= float(p.data.max()) <= 1 for p in pictures)


def test_a_saved_system_is_the_same_system(mini, tmp_path):
    system, folder = mini
    loaded = System.from_pretrained(folder)
    given = {"label": Sample("label", "3")}
    for sampling in (Sampling(seed=3), Sampling(seed=3, samples=3)):
        a, b = (s.generate(given, "image", sampling).samples[0] for s in (system, loaded))
        assert all(torch.equal(x.data, y.data) for x, y in zip(a, b, strict=True))
    loaded.save_pretrained(tmp_path)
    assert load_json(tmp_path / "config.json") == load_json(folder / "config.json")


def test_batch_of_one_is_batch_of_eight(mini):
    system, _ = mini
    given = [Sample("label", str(d)) for d in range(8)]
    together = system.generate({"label": given}, "image", Sampling(seed=2)).samples
    first = system.generate({"label": given[:1]}, "image", Sampling(seed=2)).samples
    assert torch.equal(together[0][0].data, first[0][0].data)


def test_a_system_with_another_tokenizer_is_refused(mini, tmp_path):
    system, _ = mini
    system.save_pretrained(tmp_path)
    config = load_json(tmp_path / "config.json")
    config["fingerprints"]["image"] = "0" * 16
    save_json(tmp_path / "config.json", config)
    with pytest.raises(UserError, match="not the one this model was trained on"):
        System.from_pretrained(tmp_path)


def test_inpainting_keeps_the_tokens_outside_the_hole(mini):
    system, _ = mini
    picture = open_dataset("digits").select(split="test")[0].load("image")
    from vqfusion.data.transforms import fit_picture

    picture = Sample("image", fit_picture(picture.data, 16))
    keep = torch.ones(16, 16, dtype=torch.bool)
    keep[8:, 8:] = False
    ids, known = system.tokenizers.known("image", picture, keep)
    assert known.sum() == 12 and not known[2:, 2:].any()
    made = system.generate({}, "image", Sampling(seed=0), known=(picture, keep)).samples[0][0]
    whole = system.tokenizers.decode("image", ids)
    assert made.data.shape == whole.data.shape
    slot = system.config.fusion.slots["image"]
    tokens, _ = draw_slot(
        system.fusion, "image", given_prefix(system.fusion, {}, 1), [(ids, known)], [slot.shape], Sampling(), [0]
    )
    assert torch.equal(tokens[0][0].ids[known], ids[known])


def test_training_starts_from_a_trained_system(mini, tmp_path):
    """With no step of its own, a chain that starts from a system is that system."""
    system, folder = mini
    chain = mini_chain()
    one = chain.model_copy(
        update={"fusion_stage": chain.fusion_stage.model_copy(update={"steps": 1, "learning_rate": 0.0})}
    )
    tuned = train(one, tmp_path, make_accelerator("cpu"), start=folder)
    assert not (tmp_path / "tokenizer-image").exists(), "the tokenizer is taken over, not trained"
    for name, tensor in system.fusion.state_dict().items():
        assert torch.allclose(tensor, tuned.fusion.state_dict()[name], atol=1e-3), name
    assert tuned.tokenizers["image"].fingerprint() == system.tokenizers["image"].fingerprint()


def test_seeds_that_torch_takes_stay_and_larger_ones_wrap():
    for seed in (0, 1, 12345, -1, -(2**63), 2**63, 2**64 - 1):
        assert (
            torch.Generator().manual_seed(torch_seed(seed)).initial_seed()
            == torch.Generator().manual_seed(seed).initial_seed()
        )
    assert step_generator(3, 20, 5).initial_seed() == (3 * 1_000_003 + 20) * 4099 + 5
    for seed in (20251127184512, 10**40):
        assert step_generator(seed, 20, 5).initial_seed() == step_generator(seed, 20, 5).initial_seed()
        assert step_generator(seed, 20, 5).initial_seed() != step_generator(seed + 1, 20, 5).initial_seed()
        assert [g.initial_seed() for g in seeded(seed, 2)] == [torch_seed(seed), torch_seed(seed + 1)]


def test_metrics_on_a_full_disk_name_their_file_and_a_cut_line_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 20, "loss": 1.0}\n{"step": 40, "loss": 0.5}\n{"step": 60, "lo')
    Metrics(tmp_path, 40, "", True, None)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [20, 40]
    log = Metrics(tmp_path, 20, "", True, None)
    path.unlink()
    path.symlink_to("/dev/full")
    log.add({"loss": torch.tensor(1.0)}, 1.0)
    with pytest.raises(UserError, match="metrics.jsonl: cannot be written .No space left"):
        log.write(40, 0.1)


def test_weights_that_do_not_fit_on_the_disk_leave_the_old_ones(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    save_weights(tmp_path / "a.safetensors", {"x": torch.zeros(99)})
    text = TextTokenizer.train(["a text"], 300)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(UserError, match="a.safetensors: cannot be written .*File too large"):
            save_weights(tmp_path / "a.safetensors", {"x": torch.ones(99)})
        with pytest.raises(UserError, match="b.json: cannot be written .File too large"):
            save_json(tmp_path / "b.json", {"x": 99 * "x"})
        with pytest.raises(UserError, match="text.json: cannot be written .File too large"):
            text.save(tmp_path / "text.json")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]
    assert torch.equal(load_weights(tmp_path / "a.safetensors")["x"], torch.zeros(99))


def test_muon_takes_the_kernels_of_a_restoration_network_as_matrices():
    network = RestorationNet(2, 1, (4, 6), (1, 1))
    adamw, muon = make_optimizers(network, STAGE.model_copy(update={"optimizer": "muon"}))
    kernels = {p for block in (*network.down, *network.up) for p in block.parameters()}
    assert set(muon.param_groups[0]["params"]) == kernels
    assert not kernels & {p for group in adamw.param_groups for p in group["params"]}
    kernel = torch.nn.Parameter(torch.zeros(4, 2, 3, 3))
    kernel.grad = torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    flat = torch.nn.Parameter(torch.zeros(4, 18))
    flat.grad = kernel.grad.flatten(1)
    for one in (kernel, flat):
        Muon([one], lr=0.1).step()
    assert torch.equal(kernel.flatten(1), flat) and float(flat.detach().abs().max()) > 0


def test_what_gets_no_gradient_does_not_slow_a_training_down(tmp_path):
    """Its momentum is flushed to zero rather than left as denormal numbers, and only while training."""
    seen = []

    def look(step, rank, processes):
        seen.append(float(torch.tensor([1e-39, 1e-39]).mul(1.0).sum()))
        return batches(step, rank, processes)

    fit(Linear(), look, STAGE, tmp_path, "c", Accelerator(cpu=True))
    assert set(seen) == {0.0}
    assert float(torch.tensor([1e-39, 1e-39]).mul(1.0).sum()) > 0
