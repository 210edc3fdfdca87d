"""Rows about the tokenizers: the quality of pictures and sounds after encoding and decoding."""

import math

import torch

from vqfusion.evaluate.baselines.pictures import jpeg, mean_picture
from vqfusion.evaluate.baselines.sounds import opus
from vqfusion.evaluate.bench import Bench, row
from vqfusion.evaluate.metrics import psnr, ratio_interval, ssim, stoi, usage_and_perplexity
from vqfusion.evaluate.report import Row
from vqfusion.types import Sample


def image_tokenizer(bench: Bench) -> list[Row]:
    """PSNR, SSIM and code usage on pictures of unseen concepts, compared with JPEG at the size of the codes."""
    records = bench.pick(bench.held_out("concept", "image"), 400)
    pictures = bench.pictures(records)
    tokenizer = bench.system.tokenizers["image"]
    tokens = [tokenizer.encode(Sample("image", picture)) for picture in pictures]
    back = bench.pictures([tokenizer.decode(t) for t in tokens])
    count, size = tokens[0].ids.numel(), tokens[0].codebook_size
    budget = math.floor(count * math.log2(size) / 8)
    coded = [jpeg(picture, budget) for picture in pictures]
    jpegs = torch.stack([c.data.expand_as(p) for c, p in zip(coded, pictures, strict=True)])
    mean = mean_picture(bench.pictures(bench.sample(bench.training("image"), 500))).expand_as(pictures)
    too_large = sum(not c.within_budget for c in coded)
    mean_bytes = sum(c.size_bytes for c in coded) / len(coded)
    note = f"the codes cost {budget} bytes per picture; JPEG took {mean_bytes:.0f} bytes on average"
    if too_large:
        note += (
            f"; for {too_large} of {len(coded)} pictures even its smallest file is above the budget "
            "and was taken all the same"
        )
    usage, perplexity = usage_and_perplexity(torch.cat([t.ids.flatten() for t in tokens]), size)
    what = f"image tokenizer, {pictures.shape[-1]} px, {count} tokens, {bench.unseen('concept')}"

    def baselines(measure) -> dict[str, float]:
        return {
            "mean picture": float(measure(mean, pictures).mean()),
            f"JPEG at {budget} bytes": float(measure(jpegs, pictures).mean()),
        }

    quality, similarity = ratio_interval(psnr(back, pictures)), ratio_interval(ssim(back, pictures))
    return [
        row("image-tokenizer", what, "PSNR", quality, "dB", target=24.0, baselines=baselines(psnr), note=note),
        row("image-tokenizer", what, "SSIM", similarity, baselines=baselines(ssim)),
        row(
            "image-tokenizer",
            what,
            f"usage of {size} codes",
            usage,
            "%",
            n=len(records),
            target=90.0,
            note=f"perplexity {perplexity:.0f}",
        ),
    ]


def audio_tokenizer(bench: Bench) -> list[Row]:
    """Intelligibility and bit rate on unseen voices, compared with Opus at its lowest rate."""
    records = bench.pick(bench.held_out("voice", "audio"), 200)
    clips, rate = bench.sounds(records), bench.system.sample_rate_hz
    tokenizer = bench.system.tokenizers["audio"]
    tokens = [tokenizer.encode(clip) for clip in clips]
    back = [tokenizer.decode(t).data for t in tokens]
    seconds = sum(clip.data.shape[-1] for clip in clips) / rate
    per_second = sum(t.ids.numel() for t in tokens) / seconds
    bits = per_second * math.log2(tokens[0].codebook_size)
    theirs = opus([clip.data for clip in clips], rate)
    ours = _stoi([clip.data for clip in clips], back, rate)
    opuses = _stoi([clip.data for clip in clips], theirs.sounds, rate)
    defined = ~(ours.isnan() | opuses.isnan())
    usage, perplexity = usage_and_perplexity(torch.cat([t.ids.flatten() for t in tokens]), tokens[0].codebook_size)
    left_out = int((~defined).sum())
    what = f"audio tokenizer, {per_second:.0f} tokens/s, {bench.unseen('voice')}"
    note = f"{bits:.0f} bit/s against Opus at {theirs.bits_per_second:.0f} bit/s, the lowest it offers"
    if left_out:
        note += f"; {left_out} clips have too little speech (under 0.4 s) for STOI and are left out"
    return [
        row(
            "audio-tokenizer",
            what,
            "STOI",
            ratio_interval(ours[defined]),
            target=0.80,
            baselines={"Opus": float(opuses[defined].mean())},
            note=note,
        ),
        row(
            "audio-tokenizer",
            what,
            "token rate",
            per_second,
            "tokens/s",
            n=len(records),
            sense="<=",
            target=100.0,
            note=f"{100 * usage:.0f} % of {tokens[0].codebook_size} codes used, perplexity {perplexity:.0f}",
        ),
    ]


def _stoi(clean: list[torch.Tensor], sounds: list[torch.Tensor], rate: int) -> torch.Tensor:
    return torch.tensor([stoi(s, c, rate) for s, c in zip(sounds, clean, strict=True)], dtype=torch.float64)
