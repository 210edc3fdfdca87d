"""`encode` says how near a picture is that is decoded again, which is far where a model was not trained on its like."""

import json

import pytest
import torch

import vqfusion
from vqfusion import Sample
from vqfusion.evaluate.metrics import psnr


def test_the_quality_of_the_round_trip_is_said(cli):
    Sample("image", torch.rand(3, 32, 40, generator=torch.Generator().manual_seed(0))).save("noise.png")
    code, out, err = cli("encode", "noise.png")
    assert code == 0 and "decodes with a PSNR of " in out, err
    cli("decode", "noise.vqf", "-o", "back.png")
    kept = float(psnr(vqfusion.read("back.png").data, vqfusion.read("noise.png").data))
    assert float(out.split("PSNR of ")[1].split(" dB")[0]) == pytest.approx(kept, abs=0.1)
    row = json.loads(cli("encode", "noise.png", "--json", "--force")[1])["items"][0]
    assert row["psnr_db"] == pytest.approx(kept, abs=0.1)
