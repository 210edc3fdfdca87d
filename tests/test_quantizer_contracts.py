"""Every contract over every quantizer of the registry, and that the check finds what breaks them."""

import subprocess
import sys
import warnings
from typing import get_args

import pytest
import torch
from pydantic import TypeAdapter
from torch.nn import functional as F

from vqfusion.config import TokenizerConfig, VQVAEConfig, validated
from vqfusion.config.tokenizers import QuantizerName
from vqfusion.errors import UserError
from vqfusion.tokenizers.build import NETWORKS, build_network
from vqfusion.tokenizers.conformance.check import check_quantizer, check_tokenizer
from vqfusion.tokenizers.conformance.contracts import CONTRACTS, NotApplicable
from vqfusion.tokenizers.label import LabelTokenizer
from vqfusion.tokenizers.quantizers import QUANTIZERS, GradientVectorQuantizer, VectorQuantizer
from vqfusion.tokenizers.text import TextTokenizer
from vqfusion.tokenizers.vqvae import VQVAE, build_quantizer
from vqfusion.types import Sample

pytestmark = pytest.mark.slow

NOT_PROMISED = {("residual_vq", "idempotence"), ("grouped_residual_vq", "idempotence")}
WITH_OPTIONS = {
    "vq, rotation": VQVAEConfig(codebook_size=12, dim=4, options={"estimator": "rotation"}),
    "gradient_vq, diveq": VQVAEConfig(
        quantizer="gradient_vq", codebook_size=12, dim=4, options={"estimator": "diveq", "kmeans_init": False}
    ),
    "residual_vq, dropout": VQVAEConfig(
        quantizer="residual_vq", codebook_size=8, dim=4, options={"quantizer_dropout": 0.5, "num_quantizers": 3}
    ),
    "grouped_residual_vq, dropout": VQVAEConfig(
        quantizer="grouped_residual_vq", codebook_size=8, dim=4, options={"quantizer_dropout": 1.0, "groups": 4}
    ),
    "residual_fsq, dropout": VQVAEConfig(
        quantizer="residual_fsq", levels=(4, 5), options={"quantizer_dropout": 0.7, "num_quantizers": 3}
    ),
    "gumbel_vq, hard": VQVAEConfig(quantizer="gumbel_vq", codebook_size=12, dim=4, options={"hard": True}),
    "soft_vq, annealed": VQVAEConfig(quantizer="soft_vq", codebook_size=12, dim=4, options={"anneal_steps": 1}),
}


def make(name: str, channel_first: bool = False):
    options = {"num_quantizers": 2} if "residual" in name else {}
    shape = VQVAEConfig(quantizer=name.split(",")[0], codebook_size=16, dim=4, levels=(5, 4, 3), options=options)
    return build_quantizer(WITH_OPTIONS.get(name, shape), channel_first).eval()


def test_the_config_knows_the_registry():
    assert tuple(QUANTIZERS) == get_args(QuantizerName)


@pytest.mark.parametrize("contract", [name for name in CONTRACTS if name != "exports"])
@pytest.mark.parametrize("name", [*QUANTIZERS, *WITH_OPTIONS])
def test_contract(name, contract):
    try:
        CONTRACTS[contract](make(name, channel_first=contract == "poison"))
    except NotApplicable:
        unpromised = (name.split(",")[0], contract) in NOT_PROMISED
        assert unpromised or (contract == "gradient" and ("rotation" in name or "diveq" in name))
    else:
        assert (name, contract) not in NOT_PROMISED


COMPILE = """
from vqfusion.config import VQVAEConfig
from vqfusion.tokenizers.quantizers import QUANTIZERS, VectorQuantizer
from vqfusion.tokenizers.conformance.contracts import CONTRACTS
from vqfusion.tokenizers.vqvae import build_quantizer

for name in QUANTIZERS:
    options = {"num_quantizers": 2} if "residual" in name else {}
    config = VQVAEConfig(quantizer=name, codebook_size=16, dim=4, levels=(5, 4, 3), options=options)
    quantizer = build_quantizer(config, False)
    CONTRACTS["exports"](quantizer.eval())
    print(name)

class BranchesOnData(VectorQuantizer):
    def nearest(self, x):
        return super().nearest(x) if x.sum() > 0 else super().nearest(-x)

try:
    CONTRACTS["exports"](BranchesOnData(16, 4).eval())
except AssertionError as error:
    print(error)
"""


def test_evaluation_compiles_whole_and_exports(tmp_path):
    """In a process of its own: the compiler does not see through the type checks of these tests."""
    done = subprocess.run([sys.executable, "-c", COMPILE], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    *names, refusal = done.stdout.splitlines()
    assert names == list(QUANTIZERS) and refusal.startswith("torch.compile(fullgraph=True) fails")


@pytest.mark.parametrize("name", QUANTIZERS)
def test_onnxruntime_gives_the_same_codes(name, tmp_path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    from vqfusion.tokenizers.conformance.contracts import Evaluation
    from vqfusion.tokenizers.conformance.examples import example

    quantizer = make(name)
    x = example(quantizer, (4, 6))
    path = tmp_path / "quantizer.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        torch.onnx.export(Evaluation(quantizer), (x,), dynamo=True, verbose=False).save(path)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    quantized, indices = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    expected = quantizer(x)
    assert torch.equal(torch.from_numpy(indices), expected.indices)
    assert torch.allclose(torch.from_numpy(quantized), expected.quantized, atol=1e-5)


def test_the_report_says_what_was_kept_and_what_is_not_promised(monkeypatch):
    monkeypatch.delitem(CONTRACTS, "exports")
    quantizer = make("residual_vq", channel_first=True)
    before = {name: value.clone() for name, value in quantizer.state_dict().items()}
    report = check_quantizer(quantizer)
    assert report.name == "ResidualVectorQuantizer" and report.bits == 2 * 4 and set(report.skipped) == {"idempotence"}
    assert {*report.kept, *report.skipped} == set(CONTRACTS)
    assert all(torch.equal(value, before[name]) for name, value in quantizer.state_dict().items())


class LetsPoisonIn(VectorQuantizer):
    def collect(self, x, indices):
        super().collect(torch.cat([x, x[:1] * torch.inf]), torch.cat([indices, indices[:1]]))


class ForgetsTheMask(VectorQuantizer):
    def quantization_losses(self, x, codes, rows):
        loss = x.square().mean() + (x - codes).square().mean() + len(x)
        return loss, {"commitment": loss}


class CountsTwice(VectorQuantizer):
    def observe(self, x, indices):
        self.collect(x, indices)


class ScalesGradients(VectorQuantizer):
    def estimate(self, x, codes, rows):
        return 2 * x + (codes - 2 * x).detach()


class DoublesCodes(VectorQuantizer):
    def lookup(self, indices):
        return 3 * super().lookup(indices)


class DrawsGlobally(GradientVectorQuantizer):
    def estimate(self, x, codes, rows):
        return super().estimate(x, codes, rows) + 0.1 * torch.randn_like(x)


class HidesState(VectorQuantizer):
    def codes(self):
        return self.codebook + self.hidden if hasattr(self, "hidden") else self.codebook

    def move(self):
        super().move()
        self.hidden = torch.randn(self.codebook.shape)


@pytest.mark.parametrize(
    ("broken", "contract"),
    [
        (LetsPoisonIn, "poison"),
        (ForgetsTheMask, "masks"),
        (CountsTwice, "one update"),
        (ScalesGradients, "gradient"),
        (DoublesCodes, "idempotence"),
        (DrawsGlobally, "repeatability"),
        (HidesState, "state"),
    ],
)
def test_a_broken_quantizer_is_found(broken, contract):
    with pytest.raises(AssertionError):
        CONTRACTS[contract](broken(4, 16).eval())


def test_the_error_names_quantizer_and_contract():
    with pytest.raises(AssertionError, match="DoublesCodes breaks the contract 'idempotence': quantizing twice"):
        check_quantizer(DoublesCodes(4, 16))


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("name", QUANTIZERS)
def test_a_vqvae_of_any_quantizer_codes_and_decodes(name, rank):
    torch.manual_seed(0)
    shape = dict(widths=(4, 4), depths=(0, 0), codebook_size=20, dim=4, levels=(4, 5))
    net = VQVAE(VQVAEConfig(rank=rank, channels=2, quantizer=name, **shape)).eval()
    x = torch.randn(2, 2, *(8, 12, 8)[:rank])
    out, ids = net(x), net.encode(x)
    assert ids.shape == (2, *net.quantizer.index_shape((4, 6, 4)[:rank])) and torch.equal(ids, out.codes.indices)
    assert torch.allclose(net.decode(ids), out.signal, atol=1e-5)
    assert net.downsampling == 2 * net.quantizer.downsampling


def test_options_are_checked_and_leave_no_trace_when_empty():
    with pytest.raises(UserError, match="here: quantizer: Input should be 'vq', 'gradient_vq', .* or 'bsq'"):
        validated(VQVAEConfig, {"quantizer": "vqq"}, "here")
    with pytest.raises(UserError, match="'fsq' with options {'heads': 2}"):
        build_quantizer(VQVAEConfig(quantizer="fsq", options={"heads": 2}))
    plain = VQVAEConfig()
    assert "options" not in plain.model_dump() and "options" not in plain.model_dump_json()
    named = VQVAEConfig(quantizer="multi_head_vq", options={"heads": 4})
    assert VQVAEConfig.model_validate_json(named.model_dump_json()) == named
    assert build_quantizer(named).index_axes == (4,)


@pytest.mark.parametrize("kind", [kind for kind in NETWORKS if kind != "photo"])  # which has no codebook
@pytest.mark.parametrize("quantizer", ["vq", "residual_vq", "hierarchical_vq"])
def test_networks_keep_the_contract_of_tokenizers(kind, quantizer):
    torch.manual_seed(0)
    config = TypeAdapter(TokenizerConfig).validate_python({"kind": kind})
    shape = dict(quantizer=quantizer, widths=(4, 4), depths=(0, 0), codebook_size=20, dim=4)
    small = config.model_copy(update={"vqvae": config.vqvae.model_copy(update=shape)})
    assert check_tokenizer(build_network(small).eval()).codebook_size == 20


def test_vocabularies_keep_the_contract_of_tokenizers():
    text = TextTokenizer.train(["red apple", "green apple"] * 3, 300)
    assert check_tokenizer(text).name == "TextTokenizer"
    assert check_tokenizer(LabelTokenizer(("cat", "dog")), Sample("label", "dog")).bits == 1.0


def test_a_broken_tokenizer_is_found():
    class Shifted(LabelTokenizer):
        def decode(self, tokens):
            return Sample(self.modality, self.names[int(tokens.ids.reshape(-1)[0]) - 1])

    with pytest.raises(AssertionError, match="Shifted: 'cat' comes back as 'dog'"):
        check_tokenizer(Shifted(("cat", "dog")))


def test_cosine_codes_compare_directions_alone():
    quantizer = QUANTIZERS["cosine_vq"](4, 16).eval()
    x = torch.randn(1, 30, 4, generator=torch.Generator().manual_seed(0))
    similarity = F.normalize(x[0], dim=-1) @ F.normalize(quantizer.codebook, dim=-1).t()
    assert torch.equal(quantizer(x).indices[0], similarity.argmax(dim=-1))
    assert torch.equal(quantizer(7 * x).indices, quantizer(x).indices)
