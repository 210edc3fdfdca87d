"""`vqfusion open`, and what a server shows of the user who started it: trainings, files, the bands of gaps."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from serving import Served

from vqfusion.data.display import html_of
from vqfusion.types import Sample

pytest.importorskip("fastapi")
httpx = pytest.importorskip("httpx2")


def made_run(folder: Path, state: str, steps: int = 100) -> None:
    """Folder of a training as far as its page needs it."""
    (folder / "training").mkdir(parents=True)
    (folder / "prior.json").write_text(json.dumps({"name": folder.name, "data": "pictures"}))
    rows = [{"step": step, "loss": 100 / step, "learning_rate": 0.1, "seconds": step} for step in (20, 40, 60)]
    (folder / "training" / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "run.json").write_text(json.dumps({"state": state, "stage": "training", "step": 60, "steps": steps}))


@contextmanager
def opened(folder, *arguments):
    """A server of `vqfusion open` whose browser writes the address that it is given to `asked`."""
    asked = folder / "asked"
    shell = folder / "browser"
    shell.write_text(f'#!/bin/sh\nprintf %s "$1" > {asked}.part && mv {asked}.part {asked}\n')
    shell.chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-m", "vqfusion", "open", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "BROWSER": f"{shell} %s"},
    )
    one = Served(process)
    try:
        yield one
    finally:
        process.send_signal(2)
        assert one.end() == 0
        process.stdout.close()
        process.stderr.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("open")
    Image.effect_noise((24, 20), 60).convert("RGB").save(folder / "a.png")
    made_run(folder / "runs" / "mine", "finished")
    made_run(folder / "runs" / "<other>", "training")
    with opened(folder, "a.png") as one:
        one.folder = folder
        yield one


def test_it_listens_at_a_free_port_of_this_machine_and_opens_the_page(server):
    assert server.url.startswith("http://127.0.0.1:") and not server.url.endswith(":8000/")
    assert httpx.get(f"{server.url}health").json()["status"] == "ok"
    assert (server.folder / "asked").read_text() == server.url


def test_files_and_trainings_are_named_as_they_are_listed_and_not_otherwise(server):
    with httpx.Client(base_url=server.url) as client:
        assert client.get("v1/opened").json() == {"files": ["a.png"]}
        file = client.get("v1/opened/0")
        assert file.content == (server.folder / "a.png").read_bytes() and file.headers["content-type"] == "image/png"
        rows = client.get("v1/trainings").json()["trainings"]
        assert [(row["name"], row["state"], row["step"]) for row in rows] == [
            ("<other>", "interrupted", 60),  # it says that it runs, and nobody holds its lock
            ("mine", "finished", 60),
        ]
        html = client.get("v1/trainings/mine").json()["html"]
        assert "<svg" in html and "Finished" in html and "<script" not in html
        for path in ("opened/1", "opened/-1", "trainings/nothing", "trainings/..", "trainings/%2e%2e%2fruns"):
            answer = client.get(f"v1/{path}")
            assert answer.status_code in (404, 405) and "Traceback" not in answer.text, path
        assert client.get("v1/opened/x").status_code == 422


@pytest.mark.slow
def test_a_gap_that_was_filled_comes_with_its_band(server):
    rows = "".join(f"{i},{'' if 80 <= i < 95 else round(float(np.sin(i / 9)), 4)}\n" for i in range(200))
    form = {"interval": "0.9", "preview": "true"}
    answer = httpx.post(f"{server.url}v1/inpaint", data=form, files={"input": ("a.csv", f"t,x\n{rows}")}, timeout=300)
    (item,) = answer.json()["items"]
    assert item["before"].count("<polyline") == 2 and item["after"][0].count("<polygon") == 1, answer.text[:500]


@pytest.mark.slow
def test_the_page_has_the_file_already_and_shows_a_training(server):
    playwright = pytest.importorskip("playwright.sync_api")
    from test_page_in_browser import CHROMIUM

    if CHROMIUM is None:
        pytest.skip("no Chromium here")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for language, words in (("en-GB", "finished, step 60 of 100"), ("zh-CN", "已完成，第 60 步，共 100 步")):
            page = chromium.new_page(locale=language)
            page.set_default_timeout(120_000)
            errors = []
            page.on("pageerror", lambda error: errors.append(str(error)))  # noqa: B023
            page.goto(server.url)
            page.wait_for_selector("body[data-ready]")
            assert "a.png" in page.text_content("#given") and page.is_checked("input[value=denoise]")
            assert words in page.text_content("#runs")
            page.check("input[name=training][value=mine]")
            page.wait_for_selector("#training svg path")
            assert "Finished" in page.text_content("#training") and not errors, errors
            if folder := os.environ.get("VQFUSION_SCREENSHOTS"):
                page.screenshot(path=f"{folder}/trainings-{language}.png", full_page=True)
        chromium.close()


def test_mistakes_are_one_line(cli, tmp_path):
    (tmp_path / "a.xyz").write_text("?")
    (tmp_path / "large.png").write_bytes(bytes(3000))
    for arguments, words in {
        ("nowhere.png",): "no such file",
        (tmp_path,): "a folder; name its files",
        ("a.xyz",): "of no kind that can be used",
        ("large.png", "--limit", "bytes=2K"): "over the limit of 2,0",
        ("--runs", "nowhere"): "no such folder",
    }.items():
        code, out, err = cli("open", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1) and words in err, err


def test_gaps_of_a_series_are_drawn_with_their_band():
    values = torch.arange(100.0)[None]
    with_gap = values.clone()
    with_gap[:, 40:60] = torch.nan
    shown = html_of(Sample("series", with_gap, rate_hz=1.0))
    assert shown.count("<polyline") == 2 and "polygon" not in shown, "a line never runs over a gap"
    lower, upper = values.clone(), values.clone()
    lower[:, 40:60] -= 10
    upper[:, 40:60] += 10
    shown = html_of(*(Sample("series", one, rate_hz=1.0) for one in (values, lower, upper)))
    assert shown.count("<polyline") == 1 and shown.count("<polygon") == 1
    lower[:, :5] -= 10
    both = html_of(*(Sample("series", one, rate_hz=1.0) for one in (values, lower, upper)))
    assert both.count("<polygon") == 2, "a band at one end does not touch the other"
    points = shown.partition("<polygon")[2].partition('points="')[2].partition('"')[0].split()
    x = np.array([float(point.split(",")[0]) for point in points])
    width = float(html_of(Sample("series", values, rate_hz=1.0)).rpartition('"/>')[0].rpartition(" ")[2].split(",")[0])
    assert (x.min() / width, x.max() / width) == (pytest.approx(39 / 99, abs=0.01), pytest.approx(60 / 99, abs=0.01))
