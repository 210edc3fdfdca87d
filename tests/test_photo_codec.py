"""The tokenizer of photographs: any size, several rates, a coder that is exact on every machine."""

import json
import math
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from vqfusion.config import ChainConfig, PhotoTokenizerConfig, StageConfig
from vqfusion.errors import UserError
from vqfusion.evaluate.metrics import psnr
from vqfusion.hub import find_model
from vqfusion.models.codec.codec import Codec
from vqfusion.models.codec.vqf import VqfFile
from vqfusion.models.fusion.slot_tokenizers import SlotTokenizers
from vqfusion.tokenizers import photo
from vqfusion.tokenizers.conformance import check_tokenizer
from vqfusion.tokenizers.photo import PhotoTokenizer
from vqfusion.tokenizers.transform.coder import MOST, LatentCoder
from vqfusion.tokenizers.transform.context import CAUSAL, bits_of
from vqfusion.tokenizers.transform.logistic import FRACTIONS, LEAST, PER_UNIT, TOTAL, WINDOW, intervals
from vqfusion.types import Sample

TINY = PhotoTokenizerConfig(
    crop=48,
    dim=12,
    groups=(1, 3, 8),
    context_width=8,
    analysis_width=6,
    analysis_depth=1,
    synthesis_widths=(8, 6, 4),
    synthesis_depths=(1, 1, 1),
)


@pytest.fixture
def tiny() -> PhotoTokenizer:
    """A tokenizer with random weights, in all of its layers."""
    torch.manual_seed(0)
    network = PhotoTokenizer(TINY).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network


@pytest.fixture(scope="module")
def shipped() -> Codec:
    return Codec.from_pretrained(find_model("photo-codec"))


def codec_of(tokenizer: PhotoTokenizer) -> Codec:
    chain = ChainConfig(name="tiny", tokenizers={"image": tokenizer.config})
    return Codec(SlotTokenizers(chain, {"image": tokenizer}))


def scene(height: int = 96, width: int = 144, seed: int = 0) -> torch.Tensor:
    """A picture with a gradient, edges and texture."""
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    sky = torch.stack([0.4 + 0.3 * y, 0.6 + 0.2 * y, 0.9 - 0.2 * y])
    hill = (y > 0.6 + 0.1 * (7 * x).sin())[None]
    grain = 0.06 * torch.randn(3, height, width, generator=torch.Generator().manual_seed(seed))
    ground = torch.tensor([0.35, 0.4, 0.2])[:, None, None] + grain
    picture = torch.where(hill, ground, sky)
    picture[:, height // 2 :, width // 3 : width // 3 + 4] = 0.15
    return picture.clamp(0, 1)


def test_it_keeps_the_contract_of_a_tokenizer(tiny):
    assert check_tokenizer(tiny).name == "PhotoTokenizer"


@pytest.mark.parametrize("size", [(3, 1, 1), (1, 1, 1), (3, 1, 40), (1, 37, 5), (3, 16, 32), (3, 33, 50)])
def test_pictures_of_any_size_come_back_at_their_size(tiny, size):
    codec, picture = codec_of(tiny), torch.rand(*size)
    file = VqfFile.from_bytes(codec.encode(Sample("image", picture)).to_bytes())
    back = codec.decode(file).data
    assert back.shape == picture.shape and 0 <= float(back.min()) <= float(back.max()) <= 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (6, 1), (5, 9)])
def test_the_coder_is_exact(tiny, shape):
    coder = LatentCoder(tiny.context)
    draws = np.random.default_rng(0)
    q = np.rint(draws.normal(0, 1, (*shape, 12)) * [60, 9, 9, 2, 1, 1, 0.5, 0.5, 0.3, 0.3, 0.1, 0]).astype(np.int64)
    q = q.clip(-MOST, MOST)
    q[0, 0, 5], q[-1, -1, 11], q[-1, -1, 0] = MOST, -MOST, -WINDOW  # far from every mean
    data = coder.encode(q, 40)
    assert np.array_equal(coder.decode(data, q.shape, 40), q)
    assert abs(8 * len(data) - coder.bits(q, 40)) < 24, "trailing zero bytes are left out"


def test_integers_give_the_probabilities_of_the_network(tiny):
    draws = np.random.default_rng(1)
    q = np.rint(draws.normal(0, 1, (6, 8, 12)) * [20, 4, 4, 2, 2, 1, 1, 1, 1, 1, 1, 1]).astype(np.int64)
    with torch.no_grad():
        code = tiny.code_of(torch.tensor([2 ** (44 / 8)]))
        floats = torch.from_numpy(q).movedim(-1, 0)[None].float()
        expected = float(bits_of(floats, *tiny.context(floats, code)).sum())
    assert LatentCoder(tiny.context).bits(q, 44) == pytest.approx(expected, rel=0.02)


def test_a_latent_is_coded_without_those_that_follow(tiny):
    q = torch.randn(1, 12, 5, 5).mul(3).round()
    changed = q.clone()
    changed[0, 2, 3, 2] += 5
    code = tiny.code_of(torch.tensor([40.0]))
    with torch.no_grad():
        mean, other = tiny.context(q, code)[0], tiny.context(changed, code)[0]
    moved = (mean != other)[0]
    assert not moved[0].any() and not moved[1:4, :3].any() and not moved[1:4, 3, :3].any(), "coded before it"
    assert moved[1:4, 3, 3].any() and moved[4:, 2:5, 1:4].any(), "and those after it profit"
    assert CAUSAL.sum() == 4


def test_intervals_are_those_of_a_logistic_distribution():
    table = intervals()
    assert (np.diff(table, axis=2) > 0).all() and (table[..., 0] == 0).all() and (table[..., -1] == TOTAL).all()
    index, fraction, value = 30, 6, 1
    width, mean = math.exp((index + LEAST) / PER_UNIT), (fraction - FRACTIONS / 2) / FRACTIONS
    ends = [1 / (1 + math.exp(-(value + side - mean) / width)) for side in (-0.5, 0.5)]
    size = table[index, fraction, value + WINDOW + 1] - table[index, fraction, value + WINDOW]
    assert size / TOTAL == pytest.approx(ends[1] - ends[0], rel=1e-3)


def test_large_pictures_are_processed_in_tiles_without_seams(tiny, monkeypatch):
    picture = Sample("image", scene(272, 304))
    whole = tiny.encode(picture)
    back = tiny.decode(whole).data
    monkeypatch.setattr(photo, "CELLS", 120)  # of 17 x 19
    tiled = tiny.encode(picture)
    assert (tiled.ids != whole.ids).float().mean() < 1e-3, "but for values that lie between two integers"
    torch.testing.assert_close(tiny.decode(whole).data, back, atol=1e-5, rtol=0)


def test_fewer_bits_are_less_of_the_picture(shipped):
    picture = Sample("image", scene())
    rows = []
    for bits in (0.1, 0.3, 0.8):
        file = shipped.encode(picture, bits=bits)
        rows.append((8 * len(file.payload) / (96 * 144), float(psnr(shipped.decode(file).data, picture.data))))
        assert rows[-1][0] <= bits + 16 / (96 * 144)
    assert rows[0][0] < rows[1][0] < rows[2][0] and rows[0][1] < rows[1][1] < rows[2][1]


def test_the_shipped_tokenizer_is_near_a_photograph_in_few_bits(shipped):
    picture = scene(seed=3)
    file = shipped.encode(Sample("image", picture))
    smooth = torch.nn.functional.avg_pool2d(picture[None], 8).repeat_interleave(8, 2).repeat_interleave(8, 3)[0]
    assert float(psnr(shipped.decode(file).data, picture)) > float(psnr(smooth, picture)) + 3
    assert 8 * len(file.payload) / (96 * 144) < 1


def test_a_file_of_another_machine_has_the_codes_that_were_written(shipped):
    file = VqfFile.from_bytes((Path(__file__).parent / "golden" / "photo.vqf").read_bytes())
    ids = shipped.tokenizers["image"].unpack(file.payload, file.header.grid, file.header.scale)
    assert zlib.crc32(ids.astype("<i2").tobytes()) == 1041420189
    assert float(psnr(shipped.decode(file).data, scene(64, 96))) > 25


def test_a_search_saves_error_or_bits_and_never_costs_any(shipped):
    tokenizer, picture = shipped.tokenizers["image"], Sample("image", scene(48, 64))

    def cost(tokens) -> float:
        error = (tokenizer.decode(tokens).data - picture.data).square().sum() * 255**2
        bits = shipped.tokenizers["image"].coder.bits(tokens.ids.numpy() - MOST, photo.STEP)
        return float(error) / float(tokens.scale) ** 2 / photo.RATE_WEIGHT + bits

    nearest, found = tokenizer.encode(picture), tokenizer.encode(picture, search=8)
    assert cost(found) < cost(nearest)
    assert torch.equal(tokenizer.encode(picture, search=8).ids, found.ids)


def test_a_search_in_too_large_a_picture_is_refused(tiny, monkeypatch):
    monkeypatch.setattr(photo, "SEARCHABLE", 100)
    with pytest.raises(UserError, match="a search takes up to 100 positions, this image has 1024"):
        tiny.encode(Sample("image", torch.rand(3, 24, 24)), search=1)


def test_files_that_hold_no_photograph_are_refused(tiny):
    codec = codec_of(tiny)
    file = codec.encode(Sample("image", torch.rand(3, 32, 32)))
    for wrong in ({"scale": None}, {"scale": (0.001,)}, {"scale": (1.0, 2.0)}, {"grid": (2, 2, 13)}, {"grid": (4,)}):
        with pytest.raises(UserError, match="is damaged"):
            codec.decode(VqfFile(file.header.model_copy(update=wrong), file.payload))


def test_pictures_take_photo_codec_and_sounds_emoji(cli):
    Sample("image", scene(40, 56)).save("a.png")
    Sample("audio", torch.sin(torch.arange(4000) / 9)[None] / 2, sample_rate_hz=16000).save("b.wav")
    code, out, err = cli("encode", "a.png", "b.wav", "-o", "out", "--json")
    assert code == 0, err
    assert {row["input"]: row["model"] for row in json.loads(out)["items"]} == {
        "a.png": "photo-codec",
        "b.wav": "emoji",
    }
    assert VqfFile.from_bytes(Path("out/a.vqf").read_bytes()).header.model == "photo-codec"
    code, out, err = cli("decode", "out/a.vqf", "-o", "back.png")
    assert code == 0, err
    code, out, err = cli("encode", "a.png", "--model", "emoji", "-o", "small.vqf", "--json")
    assert code == 0 and json.loads(out)["model"] == "emoji", err
    code, out, err = cli("encode", "a.png", "--model", "emoji", "--bits", "0.2", "-o", "none.vqf")
    assert code == 2 and "has a single rate for image; leave --bits out" in err
    assert cli("encode", "a.png", "--bits", "0", "-o", "none.vqf")[0] == 2


def test_fewer_bits_may_be_asked_for(cli):
    Sample("image", scene()).save("a.png")
    rows = []
    for bits in ("0.1", "0.6"):
        code, out, err = cli("encode", "a.png", "--bits", bits, "-o", f"{bits}.vqf", "--json")
        assert code == 0, err
        rows.append(json.loads(out)["items"][0])
    assert rows[0]["bytes"] < rows[1]["bytes"] and rows[0]["psnr_db"] < rows[1]["psnr_db"]


def test_the_loss_is_that_of_its_batch_alone(tiny):
    batch = torch.rand(2, 4, 48, 48)
    torch.manual_seed(1)
    loss, report = tiny.loss(batch)
    torch.manual_seed(2)
    assert torch.equal(tiny.loss(batch)[0], loss) and float(report["bits_per_pixel"]) > 0
    loss.backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in tiny.parameters())


def test_it_is_trained_from_raw_pictures(tmp_path):
    from vqfusion.train.fusion.trainer import train

    for i in range(3):
        (tmp_path / "data").mkdir(exist_ok=True)
        Sample("image", scene(64, 80, seed=i)).save(tmp_path / "data" / f"{i}.png")
    stage = StageConfig(optimizer="muon", steps=3, batch=2, warmup_steps=1, precision="fp32")
    chain = ChainConfig(
        name="own", data=str(tmp_path / "data"), tokenizers={"image": TINY}, tokenizer_stages={"image": stage}
    )
    train(chain, tmp_path / "run")
    codec = Codec.from_pretrained(tmp_path / "run")
    picture = Sample("image", scene(64, 80))
    linear = float(psnr(codec.decode(codec.encode(picture)).data, picture.data))
    assert linear > 15, "principal components are where it begins"
