"""Every kind of model: written by save_pretrained, opened by vqfusion.load, the same to the last bit."""

import json

import pytest
import torch
from pydantic import TypeAdapter

import vqfusion
from vqfusion.config import (
    ChainConfig,
    DiffusionModelConfig,
    FusionConfig,
    LatentDiffusionConfig,
    PriorConfig,
    SlotConfig,
    TokenizerConfig,
    VQVAEConfig,
)
from vqfusion.errors import UserError
from vqfusion.hub import ZOO, zoo
from vqfusion.models.codec.codec import Codec
from vqfusion.models.fusion.fusion import Fusion
from vqfusion.models.fusion.slot_tokenizers import SlotTokenizers
from vqfusion.models.fusion.system import System
from vqfusion.models.kinds import KINDS
from vqfusion.models.latent.diffusion_model import DiffusionModel
from vqfusion.models.latent.latent_diffusion import LatentDiffusion
from vqfusion.models.restoration.prior import Prior
from vqfusion.models.sampling import Sampling
from vqfusion.nn.pretrained import Pretrained
from vqfusion.tokenizers.build import TOKENIZERS, build_network
from vqfusion.tokenizers.codec.entropy_model import EntropyModel
from vqfusion.tokenizers.gaussian_vqvae import GaussianVQVAE
from vqfusion.tokenizers.image import ImageTokenizer
from vqfusion.tokenizers.label import LabelTokenizer
from vqfusion.tokenizers.quantizers import QUANTIZERS, FiniteScalarQuantizer, VectorQuantizer, make_quantizer
from vqfusion.tokenizers.text import TextTokenizer
from vqfusion.tokenizers.vqvae import VQVAE, build_quantizer
from vqfusion.types import Sample

SMALL = VQVAEConfig(channels=3, widths=(4, 8), depths=(0, 1), codebook_size=12, dim=4, levels=(5, 4))


def network_tokenizer(kind: str):
    config = TypeAdapter(TokenizerConfig).validate_python({"kind": kind})
    if kind == "photo":
        small = dict(dim=4, groups=(1, 3), context_width=4, analysis_width=4, synthesis_widths=(4, 4, 4))
        return build_network(config.model_copy(update=small)).eval()
    shape = {"widths": (4, 4), "depths": (0, 0), "codebook_size": 20, "dim": 4}
    return build_network(config.model_copy(update={"vqvae": config.vqvae.model_copy(update=shape)})).eval()


def entropy_model(codebook_size: int) -> EntropyModel:
    generator = torch.Generator().manual_seed(0)
    table = torch.randint(-9, 9, (6, codebook_size + 1, 4), generator=generator, dtype=torch.int8)
    output = torch.randint(-9, 9, (codebook_size, 4), generator=generator, dtype=torch.int8)
    return EntropyModel(table, output, torch.zeros(codebook_size, dtype=torch.int16), 2, 2)


def small_system() -> System:
    torch.manual_seed(0)
    tokenizers = {"image": network_tokenizer("image"), "label": LabelTokenizer(("cat", "dog"))}
    tokenizers["image"].entropy_model = entropy_model(20)
    slots = {
        "image": SlotConfig(tokenizer="image", shape=(4, 4), patch=(1, 1), steps=3),
        "label": SlotConfig(tokenizer="label", shape=(1,)),
    }
    fusion = FusionConfig(dim=16, layers=1, heads=2, token_dim=8, slots=slots)
    configs = {name: tokenizer.config for name, tokenizer in tokenizers.items()}
    config = ChainConfig(name="small", image_size=8, tokenizers=configs, fusion=fusion)
    parts = SlotTokenizers(config, tokenizers)
    return System(config, parts, Fusion(fusion, parts.vocabularies))


def signal(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


def latent() -> LatentDiffusion:
    config = LatentDiffusionConfig(tokenizer=SMALL, width=32, levels=1, steps=2, grid=(4, 4))
    return LatentDiffusion.from_config(config)


MODELS = {
    "system": (
        small_system,
        lambda m: (
            m.generate({"label": [Sample("label", "dog")]}, "image", Sampling(seed=3)).samples[0][0].data,
            torch.tensor(list(m.distribution({"image": Sample("image", signal(3, 8, 8))}, "label")[0].values())),
        ),
    ),
    "prior": (
        lambda: Prior(PriorConfig(widths=(4, 8), depths=(1, 1))),
        lambda m: (m.denoise(signal(1, 1, 8, 8), 0.1),),
    ),
    "latent-diffusion": (latent, lambda m: (m.sample(2).signal,)),
    "diffusion-model": (
        lambda: DiffusionModel.from_config(DiffusionModelConfig(vqvae=SMALL, steps=2)),
        lambda m: (m(signal(2, 3, 8, 8)),),
    ),
    "vqvae": (lambda: VQVAE(SMALL), lambda m: (m(signal(2, 3, 8, 8)).signal,)),
    "gaussian-vqvae": (
        lambda: GaussianVQVAE(SMALL, latent_weight=0.5, beta=0.25),
        lambda m: (m(signal(2, 3, 8, 8)).signal, torch.tensor([m.latent_weight, m.beta])),
    ),
}


@pytest.mark.parametrize("kind", MODELS)
def test_a_model_comes_back_bit_for_bit(kind, tmp_path):
    torch.manual_seed(0)
    make, ask = MODELS[kind]
    model = make()
    model = model.eval() if isinstance(model, torch.nn.Module) else model
    model.save_pretrained(tmp_path)
    back = vqfusion.load(str(tmp_path), "cpu")
    assert type(back) is type(model) and back.kind == kind and back.folder == tmp_path
    assert all(torch.equal(a, b) for a, b in zip(ask(model), ask(back), strict=True))
    stored = json.loads((tmp_path / "config.json").read_text())
    assert stored["format"] == 2 and stored["kind"] == kind
    assert set(MODELS) | {"tokenizer", "quantizer"} == set(KINDS)


SAMPLES = {
    "image": Sample("image", signal(3, 8, 12)),
    "audio": Sample("audio", signal(1, 3000) - 0.5, sample_rate_hz=16000),
    "photo": Sample("image", signal(3, 20, 17)),
    "volume": Sample("volume", signal(1, 4, 4, 6)),
    "series": Sample("series", signal(2, 12)),
    "text-vqvae": Sample("text", "red apple"),
    "text": Sample("text", "red apple"),
    "label": Sample("label", "dog"),
}


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_tokenizer_comes_back_with_its_entropy_model(kind, tmp_path):
    torch.manual_seed(0)
    made = {"text": lambda: TextTokenizer.train(["red apple"], 270), "label": lambda: LabelTokenizer(("cat", "dog"))}
    tokenizer = made[kind]() if kind in made else network_tokenizer(kind)
    tokenizer.entropy_model = entropy_model(tokenizer.codebook_size)
    tokenizer.save_pretrained(tmp_path)
    back, sample = vqfusion.load(str(tmp_path), "cpu"), SAMPLES[kind]
    assert type(back) is type(tokenizer) and back.fingerprint() == tokenizer.fingerprint()
    assert back.modality == tokenizer.modality == sample.modality
    tokens = tokenizer.encode(sample)
    assert torch.equal(back.encode(sample).ids, tokens.ids)
    a, b = tokenizer.decode(tokens).data, back.decode(tokens).data
    assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
    assert back.entropy_model.fingerprint == tokenizer.entropy_model.fingerprint


FACTORY = {
    "residual of cosine codes": {"use_cosine_sim": True, "num_quantizers": 2, "estimator": "rotation"},
    "projected heads, deep": {"heads": 2, "codebook_dim": 4, "num_quantizers": 2, "channel_first": True},
    "codes that learn, decay named": {"learnable_codebook": True, "commitment_weight": 0.5},
}


@pytest.mark.parametrize("name", [*QUANTIZERS, *FACTORY])
def test_a_quantizer_comes_back_with_its_arguments(name, tmp_path):
    torch.manual_seed(0)
    if name in FACTORY:
        quantizer = make_quantizer(8, 12, **FACTORY[name]).eval()
    else:
        quantizer = build_quantizer(SMALL.model_copy(update={"quantizer": name, "levels": (5, 4, 3, 3)}), False).eval()
    x = signal(2, 4, 4, quantizer.dim).movedim(-1, 1 if quantizer.channel_first else -1)
    quantizer.train()(x)  # the start of the codes, by k-means
    quantizer.eval().save_pretrained(tmp_path)
    back = vqfusion.load(str(tmp_path), "cpu")
    assert type(back) is type(quantizer) and not back.training and back.config == quantizer.config
    a, b = quantizer(x), back(x)
    assert torch.equal(a.quantized, b.quantized) and torch.equal(a.indices, b.indices) and torch.equal(a.loss, b.loss)


def test_parts_of_ones_own_are_refused_before_anything_is_written(tmp_path):
    class Mine(VectorQuantizer):
        pass

    for model in (Mine(8, 4), LatentDiffusion(VQVAE(SMALL), latent().network, (4, 4))):
        with pytest.raises(ValueError, match="no config"):
            model.save_pretrained(tmp_path / "own")
    assert not (tmp_path / "own").exists()


def test_a_folder_of_another_kind_is_named(tmp_path):
    FiniteScalarQuantizer((5, 4)).save_pretrained(tmp_path / "fsq")
    network_tokenizer("series").save_pretrained(tmp_path / "series")
    for kind, folder, said in [
        (VectorQuantizer, "fsq", "a FiniteScalarQuantizer, not of a VectorQuantizer"),
        (ImageTokenizer, "series", "holds a tokenizer of kind 'series', not 'image'; vqfusion.load opens every kind"),
        (Prior, "series", "holds a tokenizer, not a prior; vqfusion.load opens every kind"),
        (Codec, "fsq", "holds a quantizer; this needs a system"),
    ]:
        with pytest.raises(UserError, match=said):
            kind.from_pretrained(tmp_path / folder)
    with pytest.raises(UserError, match=r"series' is a tokenizer, used from Python; give a system such as emoji"):
        vqfusion.load(str(tmp_path / "series"), kinds=("system",))


def test_a_codec_keeps_its_entropy_models_and_leaves_fusion_out(tmp_path):
    system = small_system()
    system.save_pretrained(tmp_path / "whole")
    codec = Codec.from_pretrained(tmp_path / "whole")
    assert list(codec.entropy_models) == ["image"]
    codec.save_pretrained(tmp_path / "codec")
    assert not (tmp_path / "codec" / "fusion.safetensors").exists()
    sample = Sample("image", signal(3, 8, 8))
    again = Codec.from_pretrained(tmp_path / "codec")
    assert codec.encode(sample).to_bytes() == again.encode(sample).to_bytes()
    assert not vqfusion.load(str(tmp_path / "codec")).slots


@pytest.mark.parametrize("name", zoo())
def test_shipped_models_of_either_format_mean_the_same_in_format_2(name, tmp_path):
    model: Pretrained = vqfusion.load(name, "cpu")
    assert json.loads((ZOO / name / "config.json").read_text())["format"] in (1, 2)
    model.save_pretrained(tmp_path)
    assert vqfusion.load(str(tmp_path), "cpu").config == model.config
    if isinstance(model, torch.nn.Module):  # a prior of an earlier version is written in the form of this one
        again = vqfusion.load(str(tmp_path), "cpu").state_dict()
        assert all(torch.equal(value, again[key]) for key, value in model.state_dict().items())
        return
    for path in ZOO.joinpath(name).glob("*.safetensors"):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_value_that_is_missing_beside_the_config_is_one_line(tmp_path):
    GaussianVQVAE(SMALL, latent_weight=0.5, beta=0.25).save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    for damaged in ({k: v for k, v in stored.items() if k != "beta"}, stored | {"beta": [1]}):
        (tmp_path / "config.json").write_text(json.dumps(damaged))
        with pytest.raises(UserError, match="config.json: no network can be built from it"):
            vqfusion.load(str(tmp_path), "cpu")
