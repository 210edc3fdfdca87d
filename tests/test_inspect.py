"""Inspection: numbers that can be checked by hand, atlases of the right shape, a page that needs nothing else."""

import json
import math
import re
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from vqfusion.config import AudioTokenizerConfig, ImageTokenizerConfig, TextVQVAEConfig, VQVAEConfig
from vqfusion.data import open_dataset
from vqfusion.errors import UserError
from vqfusion.hub import ZOO
from vqfusion.inspect.atlases import COLUMNS, atlas, atlas_in_use, by_pitch, heat, mosaic, words
from vqfusion.inspect.codebook import measure_codebook
from vqfusion.inspect.samples import samples_for
from vqfusion.models.codec.codec import Codec
from vqfusion.tokenizers.build import build_network
from vqfusion.tokenizers.image import ImageTokenizer
from vqfusion.tokenizers.nearest import nearest_code
from vqfusion.tokenizers.text import TextTokenizer
from vqfusion.train.codec.entropy import fit_entropy_model
from vqfusion.types import Sample

TINY = dict(widths=(8, 8), depths=(0, 1), codebook_size=24, dim=4)


@pytest.fixture(scope="module")
def image() -> ImageTokenizer:
    torch.manual_seed(0)
    return ImageTokenizer(ImageTokenizerConfig(vqvae=VQVAEConfig(**TINY))).eval()


def pictures(count: int = 6) -> list[Sample]:
    generator = torch.Generator().manual_seed(1)
    return [Sample("image", torch.rand(3, 12, 10, generator=generator)) for _ in range(count)]


def test_the_numbers_are_those_of_the_counts(image):
    health = measure_codebook("image", image, pictures())
    ids = torch.cat([image.encode(sample).ids.flatten() for sample in pictures()])
    counts = torch.bincount(ids, minlength=24)
    assert torch.equal(health.counts, counts) and health.codes == len(ids) == 6 * 30 and health.items == 6
    [depth] = health.depths
    shares = counts[counts > 0] / counts.sum()
    entropy = float(-(shares * shares.log2()).sum())
    assert depth.entropy_bits == pytest.approx(entropy, rel=1e-5)
    assert depth.perplexity == pytest.approx(2**entropy, rel=1e-5)
    assert depth.usage == pytest.approx(float((counts > 0).float().mean()))
    assert set(depth.dead) == set(range(24)) - set(ids.tolist())
    assert health.efficiency == pytest.approx(entropy / math.log2(24), rel=1e-5)
    assert (health.modality, health.quantizer, health.coded_bits) == ("image", "VectorQuantizer", None)


def test_what_the_search_leaves_out_is_no_error():
    """A cosine codebook is searched on the sphere: the length of a latent is none of its business."""
    torch.manual_seed(0)
    config = VQVAEConfig(**TINY | {"quantizer": "cosine_vq", "options": {"kmeans_init": False}})
    tokenizer = ImageTokenizer(ImageTokenizerConfig(vqvae=config)).eval()
    [depth] = measure_codebook("image", tokenizer, pictures()).depths
    z = torch.cat(
        [tokenizer.vqvae.to_latents(tokenizer.prepare(one.data[None])).flatten(2) for one in pictures()], dim=2
    )
    x = F.normalize(z[0].t(), dim=-1)
    codes = tokenizer.vqvae.quantizer.lookup(nearest_code(x, tokenizer.vqvae.quantizer.codes()))
    spread = (x - x.mean(dim=0)).square().sum()
    assert depth.quantization_error == pytest.approx(float((x - codes).square().sum() / spread), rel=1e-3)


def test_the_error_is_a_share_of_the_variance_of_the_latents(image):
    latents, codes = [], []
    for sample in pictures():
        with torch.no_grad():
            z = image.vqvae.encoder(image.prepare(sample.data[None]))
        latents.append(z.movedim(1, -1).reshape(-1, 4))
        codes.append(image.vqvae.quantizer.lookup(image.encode(sample).ids).reshape(-1, 4))
    z, q = torch.cat(latents).double(), torch.cat(codes).double()
    expected = (z - q).square().sum() / (z - z.mean(0)).square().sum()
    [depth] = measure_codebook("image", image, pictures()).depths
    assert depth.quantization_error == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize(
    "kind, books",
    [("residual_vq", 4), ("multi_head_vq", 2), ("grouped_residual_vq", 8), ("hierarchical_vq", 2), ("residual_fsq", 2)],
)
def test_every_codebook_of_a_vector_has_its_row(kind, books):
    torch.manual_seed(0)
    config = VQVAEConfig(**{**TINY, "levels": (3, 3, 3)}, quantizer=kind)
    image = ImageTokenizer(ImageTokenizerConfig(vqvae=config)).eval()
    health = measure_codebook(kind, image, pictures())
    ids = [image.encode(sample).ids for sample in pictures()]
    assert len(health.depths) == books and health.codes == sum(grid.numel() for grid in ids)
    for i, depth in enumerate(health.depths):
        column = torch.cat([image.vqvae.quantizer.by_codebook(grid)[i].flatten() for grid in ids])
        counts = torch.bincount(column, minlength=image.codebook_size)
        assert set(depth.dead) == set(torch.nonzero(counts == 0).flatten().tolist())
        assert depth.quantization_error is not None and depth.quantization_error >= 0
    if kind == "residual_vq":  # the last error is that of the whole
        z = torch.cat([image.vqvae.encoder(image.prepare(s.data[None])).detach().movedim(1, -1) for s in pictures()])
        q = torch.stack([image.vqvae.quantizer.lookup(grid) for grid in ids])
        expected = (z - q).square().sum() / (z - z.flatten(0, 2).mean(0)).square().sum()
        assert health.depths[-1].quantization_error == pytest.approx(float(expected), rel=1e-4)


def test_the_extremes(image):
    """One code alone: perplexity 1, no bits. As many codes as latents: no error."""
    flat = [Sample("image", torch.full((3, 2, 2), 0.5))]
    health = measure_codebook("image", image, flat)
    assert health.depths[0].perplexity == pytest.approx(1) and health.efficiency == pytest.approx(0, abs=1e-9)
    assert len(health.depths[0].dead) == 23
    exact = ImageTokenizer(image.config).eval()
    exact.load_state_dict(image.state_dict())
    sample = Sample("image", torch.rand(3, 8, 12))
    with torch.no_grad():
        z = exact.vqvae.encoder(exact.prepare(sample.data[None]))
        exact.vqvae.quantizer.codebook.copy_(z[0].flatten(1).t())
    [depth] = measure_codebook("image", exact, [sample]).depths
    assert depth.quantization_error == pytest.approx(0, abs=1e-9)
    assert depth.perplexity == pytest.approx(24) and depth.usage == 1 and depth.dead == ()


def test_coded_bits_are_those_of_the_files(image):
    grids = [image.encode(sample).ids for sample in pictures()]
    model = fit_entropy_model(grids, 24)
    health = measure_codebook("image", image, pictures(), model)
    assert health.coded_bits == pytest.approx(8 * sum(len(model.encode(g.numpy())) for g in grids) / health.codes)


def test_vocabularies_quantise_nothing():
    bpe = TextTokenizer.train(["red apple", "green apple"] * 3, 270)
    health = measure_codebook("text", bpe, [Sample("text", "red apple"), Sample("text", "red")])
    assert health.depths[0].quantization_error is None and health.quantizer == "TextTokenizer"
    shown = words(bpe, health.counts)
    assert dict(shown)["red"] == 2 and sum(count for _, count in shown) == health.codes
    assert atlas(bpe, health.counts) is None
    with pytest.raises(UserError, match="no text to measure tokenizer 'text' on"):
        measure_codebook("text", bpe, [])


def test_nothing_is_left_on_the_network(image):
    measure_codebook("image", image, pictures(1))
    assert not any(module._forward_hooks for module in image.modules())


def test_the_atlas_shows_each_code_as_it_decodes(image):
    counts = torch.zeros(24, dtype=torch.int64)
    counts[[5, 7]] = torch.tensor([9, 3])
    picture = atlas(image, counts)
    side = 2 * image.vqvae.downsampling
    assert picture.shape == (3, side + 2, COLUMNS * (side + 1) + 1)
    constant = image.decode_batch(torch.full((1, 5, 5), 5))[0]
    middle = (constant.shape[1] - side) // 2
    assert torch.allclose(
        picture[:, 1 : 1 + side, 1 : 1 + side], constant[:, middle:, middle:][:, :side, :side], atol=1e-5
    )
    assert float(picture.min()) >= 0 and float(picture.max()) <= 1
    in_use = atlas_in_use(image, pictures(2), counts)
    side = 3 * image.vqvae.downsampling
    assert in_use.shape == (3, side + 2, COLUMNS * (side + 1) + 1)


def test_codes_in_use_are_means_over_their_places(image):
    sample = pictures(1)[0]
    tokens = image.encode(sample)
    made, step = image.decode(tokens).data, image.vqvae.downsampling
    inner = [(r, c) for r in range(1, tokens.ids.shape[0] - 1) for c in range(1, tokens.ids.shape[1] - 1)]
    code = int(tokens.ids[inner[0]])
    around = [
        made[:, (r - 1) * step : (r + 2) * step, (c - 1) * step : (c + 2) * step]
        for r, c in inner
        if int(tokens.ids[r, c]) == code
    ]
    counts = torch.zeros(24, dtype=torch.int64)
    counts[code] = 1
    tile = atlas_in_use(image, [sample], counts)[:, 1 : 1 + 3 * step, 1 : 1 + 3 * step]
    assert torch.allclose(tile, torch.stack(around).mean(0), atol=1e-5)


@pytest.mark.parametrize("kind", ["audio", "volume", "series", "text-vqvae"])
def test_atlases_of_other_modalities(kind):
    from vqfusion.config import SeriesTokenizerConfig, VolumeTokenizerConfig

    config = {
        "audio": AudioTokenizerConfig(vqvae=VQVAEConfig(rank=1, channels=257, **TINY)),
        "volume": VolumeTokenizerConfig(vqvae=VQVAEConfig(rank=3, channels=1, **TINY)),
        "series": SeriesTokenizerConfig(vqvae=VQVAEConfig(rank=1, channels=1, **TINY)),
        "text-vqvae": TextVQVAEConfig(vqvae=VQVAEConfig(rank=1, **TINY | {"channels": 8})),
    }[kind]
    torch.manual_seed(0)
    tokenizer = build_network(config).eval()
    counts = torch.arange(24)
    picture = atlas(tokenizer, counts)
    if kind == "text-vqvae":
        assert picture is None and len(words(tokenizer, counts, most=10)) == 10
        return
    assert picture.shape == {"audio": (3, 257, 24), "series": (3, 4, 24), "volume": (3, 6, 161)}[kind]
    assert picture.isfinite().all() and 0 <= float(picture.min()) and float(picture.max()) <= 1
    assert atlas_in_use(tokenizer, [], counts) is None


def test_pitch_goes_from_left_to_right_after_silence():
    spectra = torch.full((4, 50), -0.5)
    for row, peak in ((0, 40), (2, 5), (3, 20)):
        spectra[row, peak : peak + 4] = 1.0
    bright = by_pitch(spectra).sum(0)
    assert bright[:, 0].std() < 1e-6, "silence comes first"
    assert [int(49 - bright[:, column].argmax()) // 5 for column in (1, 2, 3)] == [1, 4, 8]


def test_colours_get_brighter_with_the_value():
    luma = (heat(torch.linspace(-0.1, 1.1, 60)[None]) * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(0)[0]
    assert (luma.diff() >= -1e-6).all() and luma[-1] - luma[0] > 0.8


def test_mosaics_hold_every_tile():
    tiles = torch.rand(40, 3, 2, 3)
    made = mosaic(tiles)
    assert made.shape == (3, 2 * 3 + 1, COLUMNS * 4 + 1)
    assert torch.equal(made[:, 1:3, 1:4], tiles[0]) and torch.equal(made[:, 4:6, 29:32], tiles[39])


def test_samples_are_those_of_the_split_and_fit():
    codec = Codec.from_pretrained(ZOO / "emoji")
    data = open_dataset("emoji")
    shown = samples_for(codec.tokenizers["image"], codec.config, data, "val", 5)
    assert 0 < len(shown) <= 5 and all(sample.data.shape == (3, 64, 64) for sample in shown)
    texts = [sample.data for sample in samples_for(codec.tokenizers["text"], codec.config, data, "val", 10**6)]
    assert (
        len(set(texts)) == len(texts) and len(samples_for(codec.tokenizers["text"], codec.config, data, "val", 7)) <= 7
    )
    assert samples_for(codec.tokenizers["audio"], codec.config, open_dataset("digits"), None, 5) == []


def test_inspect_makes_one_page_and_one_object(cli):
    code, out, err = cli("inspect", "emoji", "--data", "digits", "--limit", "3", "-o", "x.html", "--json")
    assert code == 0, err
    report = json.loads(out)
    assert report["page"] == "x.html" and report["model"] == "emoji"
    [row] = report["tokenizers"]
    assert row["tokenizer"] == "image" and row["items"] == 3 and len(row["counts"]) == row["codebook_size"] == 512
    assert 0 < row["depths"][0]["usage"] < 1 and row["depths"][0]["quantization_error"] > 0
    assert set(report["left_out"]) == {"audio", "text"}
    page = Path("x.html").read_text()
    assert page.count("<img") == 2 and "<svg" in page and "not measured" in page
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page), "it asks for nothing from anywhere else"
    code, _, err = cli("inspect", "emoji", "-o", "x.html")
    assert code == 2 and "exists already" in err
