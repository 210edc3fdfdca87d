"""The codec: exact coding near the entropy, files that say what they hold, signals that come back at their size."""

import json
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from vqfusion.config import (
    AudioTokenizerConfig,
    ChainConfig,
    ImageTokenizerConfig,
    SeriesTokenizerConfig,
    TextVQVAEConfig,
    VolumeTokenizerConfig,
    VQVAEConfig,
)
from vqfusion.errors import UserError
from vqfusion.hub import find_model
from vqfusion.models.codec.codec import Codec
from vqfusion.models.codec.vqf import FRONT, VqfFile
from vqfusion.models.fusion.slot_tokenizers import SlotTokenizers
from vqfusion.nn import tiles
from vqfusion.nn.conv import VQVAEDecoder, VQVAEEncoder
from vqfusion.tokenizers.build import build_network
from vqfusion.tokenizers.codec.entropy_model import EXP2, NEIGHBOURS, EntropyModel, fronts, neighbours
from vqfusion.tokenizers.codec.range_coder import (
    AdaptiveCounts,
    RangeDecoder,
    RangeEncoder,
    decode_adaptive,
    encode_adaptive,
    pack,
    unpack,
)
from vqfusion.tokenizers.text import TextTokenizer
from vqfusion.train.codec.entropy import fit_entropy_model
from vqfusion.types import Sample

GOLDEN = Path(__file__).parent / "golden"
TINY = dict(widths=(8, 8), depths=(0, 1), codebook_size=40, dim=4)
CONFIGS = {
    "image": ImageTokenizerConfig(vqvae=VQVAEConfig(**TINY)),
    "audio": AudioTokenizerConfig(
        hop_samples=100, griffin_lim_steps=2, vqvae=VQVAEConfig(rank=1, channels=257, quantizer="fsq", **TINY)
    ),
    "volume": VolumeTokenizerConfig(vqvae=VQVAEConfig(rank=3, channels=1, **TINY)),
    "series": SeriesTokenizerConfig(vqvae=VQVAEConfig(rank=1, channels=1, **TINY)),
}


def codec(seed: int = 0, **others) -> Codec:
    torch.manual_seed(seed)
    networks = {name: build_network(config).eval() for name, config in (CONFIGS | others).items()}
    texts = {} if "text" in networks else {"text": TextTokenizer.train(["red apple", "green pear"] * 3, 280)}
    chain = ChainConfig(name="tiny", tokenizers=CONFIGS | others)
    return Codec(SlotTokenizers(chain, networks | texts), {})


@pytest.fixture(scope="module")
def tiny() -> Codec:
    return codec()


def skewed(count: int, size: int, seed: int = 0) -> np.ndarray:
    shares = 1 / np.arange(1, size + 1) ** 1.5
    return np.random.default_rng(seed).choice(size, count, p=shares / shares.sum())


# the coder


@pytest.mark.parametrize("sizes", [[1] * 7, [1, 2**31], [3, 1, 10**6, 5], [2**20] * 900])
def test_range_coder_gives_back_what_it_took_at_the_cost_of_the_entropy(sizes):
    ends = np.cumsum([0, *sizes])
    total = int(ends[-1])
    symbols = np.random.default_rng(1).choice(len(sizes), 3000, p=np.array(sizes) / total).tolist()
    coder = RangeEncoder()
    for symbol in symbols:
        coder.encode(int(ends[symbol]), sizes[symbol], total)
    data = coder.finish()
    bits = sum(math.log2(total / sizes[symbol]) for symbol in symbols)
    assert 8 * len(data) <= bits * (1 + 1e-6) + 16
    reader, back = RangeDecoder(data), []
    for _ in symbols:
        symbol = int(ends.searchsorted(reader.target(total), side="right")) - 1
        reader.consume(int(ends[symbol]), sizes[symbol], total)
        back.append(symbol)
    assert back == symbols


def test_carries_run_through_bytes_that_are_full():
    coder = RangeEncoder()
    for _ in range(40):  # always the last of a total that is no power of two: the bottom creeps towards a carry
        coder.encode(6, 1, 7)
    coder.encode(0, 1, 7)
    for _ in range(40):
        coder.encode(6, 1, 7)
    reader = RangeDecoder(coder.finish())
    seen = []
    for _ in range(81):
        seen.append(reader.target(7))
        reader.consume(seen[-1], 1, 7)
    assert seen == [6] * 40 + [0] + [6] * 40


@pytest.mark.parametrize("size", [1, 2, 3, 257, 4096])
def test_adaptive_counts_are_a_running_histogram(size):
    counts, seen = AdaptiveCounts(size), np.ones(size, np.int64)
    for symbol in np.random.default_rng(0).integers(0, size, 50).tolist():
        start, width = counts.interval(symbol)
        assert (start, width) == (int(seen[:symbol].sum()), int(seen[symbol]))
        assert counts.find(start) == counts.find(start + width - 1) == symbol
        counts.add(symbol)
        seen[symbol] += AdaptiveCounts.STEP
        assert counts.total == seen.sum()


@pytest.mark.parametrize("size", [1, 2, 5, 512, 1000])
def test_adaptive_and_packed_are_exact(size):
    for symbols in (skewed(500, size), np.full(40, size - 1), np.empty(0, np.int64)):
        assert np.array_equal(decode_adaptive(encode_adaptive(symbols, size), len(symbols), size), symbols)
        packed = pack(symbols, size)
        assert len(packed) == -(-len(symbols) * (size - 1).bit_length() // 8)
        assert np.array_equal(unpack(packed, len(symbols), size), symbols)


def test_adaptive_counts_come_near_the_entropy_of_a_long_message():
    symbols = skewed(6000, 64)
    shares = np.bincount(symbols, minlength=64) / len(symbols)
    entropy = -(shares[shares > 0] * np.log2(shares[shares > 0])).sum()
    assert entropy <= 8 * len(encode_adaptive(symbols, 64)) / len(symbols) <= 1.03 * entropy


def test_unpack_refuses_what_pack_cannot_have_written():
    with pytest.raises(ValueError, match="do not take"):
        unpack(b"12", 3, 200)
    with pytest.raises(ValueError, match="not under 200"):
        unpack(b"\xff", 1, 200)


# the entropy model


@pytest.mark.parametrize("shape", [(9,), (5, 7), (1, 1), (3, 4, 2), (2, 3, 2, 2)])
def test_every_code_comes_once_and_after_its_neighbours(shape):
    when = np.full(shape, -1)
    for i, places in enumerate(fronts(shape)):
        assert (when[places] == -1).all()
        when[places] = i
    assert (when >= 0).all()
    for place in np.ndindex(*shape):
        for offset in NEIGHBOURS[len(shape)]:
            other = tuple(p + o for p, o in zip(place, offset, strict=True))
            if all(0 <= p < n for p, n in zip(other, shape, strict=True)):
                assert when[other] < when[place]


def runs(count: int, size: int, seed: int) -> list[torch.Tensor]:
    """Grids in which a code is that above it or that to the left of it, but for one in ten."""
    rng = np.random.default_rng(seed)
    grids = []
    for _ in range(count):
        grid = rng.integers(0, size, (8, 8))
        for r, c in np.ndindex(8, 8):
            if rng.random() < 0.9 and (r or c):
                grid[r, c] = grid[r - 1, c] if r and (not c or rng.random() < 0.5) else grid[r, c - 1]
        grids.append(torch.from_numpy(grid))
    return grids


@pytest.fixture(scope="module")
def model() -> EntropyModel:
    return fit_entropy_model(runs(60, 12, seed=0), 12)


def test_the_entropy_model_is_exact_and_costs_what_it_says(model):
    grids = runs(8, 12, seed=1)
    for grid in grids:
        data = model.encode(grid.numpy())
        assert np.array_equal(model.decode(data, tuple(grid.shape)), grid.numpy())
        weights = model.weights(neighbours(grid, 12).numpy())
        bits = np.log2(weights.sum(axis=1) / weights[np.arange(64), grid.flatten().numpy()]).sum()
        assert 8 * len(data) <= bits + 16
    mean = 8 * sum(len(model.encode(grid.numpy())) for grid in grids) / (64 * len(grids))
    assert mean < 0.65 * math.log2(12), "neighbours tell much of these grids"
    with pytest.raises(ValueError, match="2 axes"):
        model.decode(b"", (5,))


def test_the_entropy_model_counts_in_whole_numbers(model):
    """The same scores by Python integers, so that no order of additions and no processor can matter."""
    contexts = neighbours(runs(1, 12, seed=2)[0], 12)[:20]
    table, output, bias = model.table.tolist(), model.output.tolist(), model.bias.tolist()
    for row, weights in zip(contexts.tolist(), model.weights(contexts.numpy()).tolist(), strict=True):
        hidden = [max(0, sum(table[i][code][h] for i, code in enumerate(row))) for h in range(len(output[0]))]
        scores = [
            (sum(a * b for a, b in zip(hidden, out, strict=True)) >> model.shift) + b
            for out, b in zip(output, bias, strict=True)
        ]
        below = [min(max(scores) - score, len(EXP2) - 1) for score in scores]
        assert weights == [int(EXP2[b]) for b in below]
    assert zlib.crc32(EXP2.astype("<i4").tobytes()) == 1889763219, "the table is part of the format"


def test_the_entropy_model_comes_back_from_its_tensors(model):
    again = EntropyModel.from_tensors(model.tensors())
    assert again.fingerprint == model.fingerprint
    changed = model.tensors() | {"bias": model.bias + 1}
    assert EntropyModel.from_tensors(changed).fingerprint != model.fingerprint
    for wrong in ({"bias": model.bias[1:]}, {"table": model.table.float()}, {"shift": torch.tensor([1])}):
        with pytest.raises(ValueError, match="not an entropy model"):
            EntropyModel.from_tensors(model.tensors() | wrong)


def test_no_entropy_model_without_enough_codes():
    assert fit_entropy_model([torch.zeros(4, 4, dtype=torch.int64)], 12) is None
    assert fit_entropy_model([], 12) is None


# files


def samples() -> dict[str, Sample]:
    generator = torch.Generator().manual_seed(0)
    return {
        "image": Sample("image", torch.rand(3, 9, 14, generator=generator)),
        "grey": Sample("image", torch.rand(1, 7, 5, generator=generator)),
        "audio": Sample("audio", torch.rand(1, 1500, generator=generator) - 0.5, sample_rate_hz=16000),
        "fast": Sample("audio", torch.rand(1, 4001, generator=generator) - 0.5, sample_rate_hz=44100),
        "volume": Sample(
            "volume",
            1000 * torch.rand(1, 5, 6, 7, generator=generator),
            spacing_mm=(2.0, 1.5, 1.25),
            affine=((1.25, 0.0, 0.0, -9.0), (0.0, 1.5, 0.0, 3.0), (0.0, 0.0, 2.0, 1e-3), (0.0, 0.0, 0.0, 1.0)),
        ),
        "series": Sample(
            "series", 5 + torch.randn(3, 21, generator=generator), rate_hz=0.1, channel_names=("a", "b µV", "c")
        ),
        "text": Sample("text", "green apple 🍏\n\x01ß"),
    }


@pytest.mark.parametrize("name", samples())
def test_a_sample_comes_back_with_its_extent_and_its_units(tiny, name):
    sample = samples()[name]
    file = VqfFile.from_bytes(tiny.encode(sample).to_bytes())
    back = tiny.decode(file)
    if name == "text":
        assert back.data == sample.data
        return
    assert back.data.shape == sample.data.shape and back.data.isfinite().all()
    assert vars(back) | {"data": None} == vars(sample) | {"data": None}
    expected = tiny.tokenizers[sample.modality].encode(sample).ids if name != "fast" else None
    if expected is not None:
        assert file.header.grid == tuple(expected.shape)


@pytest.mark.parametrize("name", samples())
def test_a_search_changes_the_codes_of_a_file_and_nothing_else(tiny, name):
    sample = samples()[name]
    nearest, found = tiny.encode(sample), tiny.encode(sample, 6)
    assert found.header.model_copy(update={"coding": ""}) == nearest.header.model_copy(update={"coding": ""})
    assert (found.payload == nearest.payload) == (name == "text"), "BPE loses nothing: there is nothing to search for"
    tiny.decode(found)


def test_decoding_is_decoding_by_the_tokenizer(tiny):
    sample = samples()["volume"]
    tokenizer = tiny.tokenizers["volume"]
    expected = tokenizer.decode(tokenizer.encode(sample)).data[:, :5, :6, :7]
    assert torch.equal(tiny.decode(VqfFile.from_bytes(tiny.encode(sample).to_bytes())).data, expected)


def test_a_constant_signal_comes_back(tiny):
    for sample in (Sample("volume", torch.full((1, 4, 4, 4), 7.0)), Sample("series", torch.full((2, 5), -3.0))):
        tokens = tiny.tokenizers[sample.modality].encode(sample)
        assert (tokens.offset == sample.data.flatten(1)[:, 0]).all() and (tokens.scale == 1).all()
        assert tiny.decode(tiny.encode(sample)).data.shape == sample.data.shape


def test_the_entropy_model_of_the_tokenizer_is_used_where_it_is_shorter():
    codes = codec()
    image = codes.tokenizers["image"]
    picture = Sample("image", torch.rand(3, 64, 64).round())
    grid = image.encode(picture).ids
    bare = codes.encode(picture)
    assert bare.header.coding in ("adaptive", "packed")
    codes.entropy_models["image"] = fit_entropy_model([grid] * 2, 40)
    coded = codes.encode(picture)
    assert coded.header.coding.startswith("model:") and len(coded.payload) < len(bare.payload)
    assert torch.equal(codes.decode(coded).data, codes.decode(bare).data)
    del codes.entropy_models["image"]
    with pytest.raises(UserError, match=r"a\.vqf: was packed by entropy model:.* none"):
        codes.decode(coded, "a.vqf")


def test_every_single_damaged_byte_is_noticed(tiny):
    data = tiny.encode(samples()["grey"]).to_bytes()
    for i in range(len(data)):
        for flip in (1, 128):
            damaged = data[:i] + bytes([data[i] ^ flip]) + data[i + 1 :]
            with pytest.raises(UserError, match="^a.vqf: is "):
                VqfFile.from_bytes(damaged, "a.vqf")


def test_every_cut_is_noticed(tiny):
    data = tiny.encode(samples()["grey"]).to_bytes()
    for length in range(len(data)):
        words = "is cut short" if length else "is not a .vqf file"
        with pytest.raises(UserError, match=words):
            VqfFile.from_bytes(data[:length], "a.vqf")
    with pytest.raises(UserError, match="2 bytes too many"):
        VqfFile.from_bytes(data + b"ab")


def test_foreign_files_and_other_versions_are_refused(tiny):
    data = tiny.encode(samples()["text"]).to_bytes()
    with pytest.raises(UserError, match="is not a .vqf file"):
        VqfFile.from_bytes(b"\x89PNG\r\n\x1a\n" + data)
    with pytest.raises(UserError, match="of version 2"):
        VqfFile.from_bytes(data[:4] + b"\2" + data[5:])


def forged(file: VqfFile, **changes) -> VqfFile:
    """A file with a right checksum and a wrong header."""
    header = file.header.model_copy(update=changes)
    return VqfFile.from_bytes(VqfFile(header, changes.get("payload", file.payload)).to_bytes())


def test_headers_that_do_not_fit_their_codes_are_refused(tiny):
    file = tiny.encode(samples()["grey"])
    assert file.header.coding == "packed" or file.header.coding == "adaptive"
    packed = forged(file, coding="packed", payload=pack(np.zeros(12, np.int64), 40))
    for change in (
        {"grid": (2, 2)}, {"grid": ()}, {"grid": (2**20, 2**20)}, {"size": (1, 99, 5)}, {"size": (1, 7)},
        {"size": (1, -7, 5)}, {"codebook_size": 2000},
    ):  # fmt: skip
        with pytest.raises(UserError, match="is damaged"):
            tiny.decode(forged(packed, **change))
    for change in (
        {"coding": "adaptive", "codebook_size": 0}, {"coding": "adaptive", "codebook_size": -5}, {"modality": "text"},
        {"coding": "adaptive", "codebook_size": 2**62}, {"payload": pack(np.full(12, 63), 64)},
    ):  # fmt: skip
        with pytest.raises(UserError, match="is damaged"):
            tiny.decode(forged(packed, **change))
    text = zlib.compressobj(9, wbits=-15)
    header = text.compress(b'{"modality": "smell"}') + text.flush()
    with pytest.raises(UserError, match="header is wrong"):
        VqfFile.from_bytes(FRONT.pack(b"\x89VQF", 1, len(header), 0, zlib.crc32(header)) + header)
    assert struct.calcsize(FRONT.format) == 15


def test_codes_of_another_tokenizer_are_refused(tiny):
    other = codec(seed=1)
    file = other.encode(samples()["image"])
    with pytest.raises(UserError, match=r"a\.vqf: was made with tokenizer 'image' [0-9a-f]{16} of model 'tiny'"):
        tiny.decode(file, "a.vqf")
    missing = Codec(SlotTokenizers(tiny.config, {}), {})
    with pytest.raises(UserError, match="has no such tokenizer"):
        missing.decode(file)
    with pytest.raises(UserError, match="no tokenizer for image; it encodes nothing"):
        missing.encode(samples()["image"])


def test_text_by_bytes_may_lose_but_always_is_text():
    config = TextVQVAEConfig(vqvae=VQVAEConfig(rank=1, **TINY | {"channels": 6}))
    codes = codec(text=config)
    for text in ("a", "grün", "🍏" * 9):
        file = codes.encode(Sample("text", text))
        assert file.header.grid == (-(-len(text.encode()) // 2),)
        made = codes.decode(VqfFile.from_bytes(file.to_bytes())).data
        assert (
            isinstance(made, str)
            and "\0" not in made
            and len(made.encode(errors="replace")) <= 4 * len(text.encode()) + 8
        )


# large signals


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_tiles_with_the_statistics_of_the_whole_are_the_whole(rank, monkeypatch):
    torch.manual_seed(0)
    shape = dict(dim=3, widths=(8, 8, 16), depths=(1, 1, 1), rank=rank)
    for network, down, up in ((VQVAEEncoder(2, **shape), 4, 1), (VQVAEDecoder(2, **shape), 1, 4)):
        channels, size = (2, {1: 400, 2: 72, 3: 24}[rank]) if down == 4 else (3, {1: 150, 2: 24, 3: 8}[rank])
        x = torch.randn(1, channels, *[size] * rank)
        with torch.no_grad():
            whole = network(x)
        halo = -(-tiles.receptive_radius(network) // down) * down
        side = 2 * halo + 4 * down
        statistics = tiles.measure_statistics(network, x)
        monkeypatch.setattr(tiles, "measure_statistics", lambda *_, known=statistics: known)
        made = tiles._run_item(network, x, down, up, side)
        monkeypatch.undo()
        assert made.shape == whole.shape
        assert torch.allclose(made, whole, atol=2e-5)


def test_a_large_picture_goes_in_tiles_and_comes_out_nearly_as_the_whole():
    torch.manual_seed(0)
    network = VQVAEEncoder(3, dim=4, widths=(8, 8), depths=(0, 1))
    picture = torch.nn.functional.avg_pool2d(torch.randn(2, 3, 166, 206), 7, stride=1) * torch.tensor([3, 9]).view(
        2, 1, 1, 1
    )
    with torch.no_grad():
        whole = network(picture)
    assert torch.equal(tiles.run_tiled(network, picture, down=2), whole), "small ones go as they are"
    made = tiles.run_tiled(network, picture, down=2, most=2**14)
    assert made.shape == whole.shape
    assert float((made - whole).square().mean() / whole.var()) < 0.02
    assert torch.equal(tiles.run_tiled(network, picture[1:], down=2, most=2**14), made[1:]), "items do not mix"
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize(
    "name, coding", [("disk", "model:3ff0e2e7"), ("noise", "packed"), ("tone", "adaptive"), ("text", "adaptive")]
)
def test_files_of_the_first_release_are_read_for_ever(name, coding):
    """Made once with the tokenizers that ship, never again: whoever changes the format gives it another version."""
    codec, path = Codec.from_pretrained(find_model("emoji")), GOLDEN / f"{name}.vqf"
    file = VqfFile.from_bytes(path.read_bytes(), str(path))
    assert file.header.coding == coding
    assert codec._unpacked(file, name).tolist() == json.loads((GOLDEN / "codes.json").read_text())[name]
    sample = codec.decode(file)
    assert (
        sample.data == "a red apple, ein roter Apfel, une pomme rouge"
        if name == "text"
        else sample.data.isfinite().all()
    )
