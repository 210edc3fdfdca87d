"""The page in a real Chromium: what is dropped is worked on, compared and downloaded; mistakes are one line."""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from serving import served

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # sockets of playwright's driver
]
PATIENCE_MS = 120_000


@pytest.fixture(scope="module")
def server():
    pytest.importorskip("fastapi")
    with served("--quiet") as one:
        yield one


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, server):
    """A page of its own, which may ask nothing but the server and may log no error."""
    context = browser.new_context(viewport={"width": 1100, "height": 900}, locale="en-GB", accept_downloads=True)
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE_MS)
    asked, errors = [], []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    opened.goto(server.url)
    opened.wait_for_selector("body[data-ready]")
    yield opened
    context.close()
    foreign = [url for url in asked if not url.startswith((server.url, "blob:", "data:"))]
    assert not foreign and not [line for line in errors if "status of 4" not in line], (foreign, errors)


def noisy(path, size=(48, 40)):
    rng = np.random.default_rng(0)
    ramp = np.linspace(40, 215, size[0])[None, :, None] * np.ones((size[1], 1, 3))
    Image.fromarray(np.clip(ramp + rng.normal(0, 25, ramp.shape), 0, 255).astype("uint8")).save(path)
    return path


def run(page):
    page.click("#run")
    page.wait_for_selector(
        "#result:not([hidden]), #error:not(:empty)"
    )  # no scripts: the page allows none by its policy
    assert page.text_content("#error") == ""


def test_a_picture_is_cleaned_compared_and_downloaded(page, tmp_path):
    page.set_input_files("#file", noisy(tmp_path / "a.png"))
    assert page.is_checked("input[value=denoise]")
    page.select_option("#strength", "25/255")
    page.check("#bars")
    shell = page.text_content("#shell")
    assert shell == "vqfusion denoise a.png --interval 0.9 --sigma 25/255 -o denoise.png"
    assert 'TASKS["denoise"](' in page.text_content("#python") and "sigma=25/255" in page.text_content("#http")
    run(page)
    assert "photo" in page.text_content("#status")
    page.focus(".slide")
    page.keyboard.press("ArrowRight")
    assert page.eval_on_selector(".compare", "one => one.style.getPropertyValue('--at')") == "51%"
    page.check("#uncertain")
    page.hover(".compare")
    assert ", between 0." in page.text_content("#answer")
    with page.expect_download() as download:
        page.click("a.button >> nth=0")
    with Image.open(download.value.path()) as picture:
        assert picture.size == (48, 40)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    if folder := os.environ.get("VQFUSION_SCREENSHOTS"):  # to look at
        page.screenshot(path=f"{folder}/page.png", full_page=True)


def test_a_text_is_translated_and_drawn(page):
    page.fill("#text", "broccoli")
    page.keyboard.press("Enter")
    page.check("input[value=translate]")
    page.fill("#option-target", "de")
    assert page.text_content("#shell") == "vqfusion translate broccoli --to de"
    run(page)
    assert page.text_content(".texts") == "Brokkoli"
    page.check("input[value=classify]")
    run(page)
    assert page.locator(".bar").count() == 5


def test_a_sound_a_table_and_a_volume_are_shown_before_and_after(page, tmp_path):
    import soundfile

    rng = np.random.default_rng(0)
    wave = 0.3 * np.sin(np.arange(8000) * 0.1) + 0.05 * rng.normal(size=8000)
    soundfile.write(tmp_path / "a.wav", wave, 16000)
    page.set_input_files("#file", tmp_path / "a.wav")
    page.check("input[value=denoise]")
    run(page)
    assert page.locator("#answer audio").count() == 2
    assert page.locator("#answer canvas.spectrogram:not([hidden])").count() == 2
    rows = "\n".join(f"{i},{np.sin(i / 9) + 0.1 * rng.normal():.4f}" for i in range(200))
    (tmp_path / "a.csv").write_text("t,x\n" + rows + "\n")
    page.set_input_files("#file", tmp_path / "a.csv")
    run(page)
    assert page.locator("#answer svg polyline").count() >= 2
    volume = rng.normal(size=(12, 14, 16)).astype("float32")
    np.save(tmp_path / "a.npy", volume)
    page.set_input_files("#file", tmp_path / "a.npy")
    page.check("input[value=denoise]")
    run(page)
    assert page.locator("#answer .shown img").count() == 6


def test_several_files_come_back_as_a_zip_and_pictures_are_enlarged(page, tmp_path):
    import zipfile

    (tmp_path / "c.png").write_bytes(b"no picture")
    page.set_input_files("#file", [noisy(tmp_path / "a.png"), tmp_path / "c.png", noisy(tmp_path / "b.png")])
    assert page.text_content("#given") == "Given: a.png and 2 more"
    run(page)
    assert page.locator(".compare").count() == 2 and page.locator("#answer .warn").count() == 1
    with page.expect_download() as download:
        page.click("#all")
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.testzip() is None
        assert [name[:2] for name in archive.namelist()] == ["a-", "b-"]
    page.locator(".zoom").first.fill("4")
    width = "one => one.scrollWidth / one.clientWidth"
    assert page.eval_on_selector(".frame", width) == pytest.approx(4, abs=0.1)


def test_mistakes_are_one_line(page, tmp_path):
    (tmp_path / "a.exe").write_bytes(b"MZ")
    page.set_input_files("#file", tmp_path / "a.exe")
    assert "of no kind that can be used here" in page.text_content("#given")
    (tmp_path / "a.png").write_bytes(b"no picture")
    page.set_input_files("#file", tmp_path / "a.png")
    page.click("#run")
    page.wait_for_selector("#error:not(:empty)")
    assert "the input" in page.text_content("#error") and page.is_hidden("#result")


def test_work_is_cancelled(page, tmp_path):
    page.set_input_files("#file", noisy(tmp_path / "a.png", (256, 256)))
    page.check("input[value=upscale]")
    page.click("#more summary")
    page.fill("#option-steps", "200")
    page.click("#run")
    page.wait_for_selector("#status:has-text('Working')")
    page.click("#cancel")
    page.wait_for_selector("#status:has-text('Cancelled')")
    assert page.is_enabled("#run") and page.text_content("#error") == ""


def test_it_speaks_chinese_fits_a_phone_and_is_dark(browser, server, tmp_path):
    context = browser.new_context(viewport={"width": 360, "height": 740}, locale="zh-CN", color_scheme="dark")
    page = context.new_page()
    page.goto(server.url)
    page.wait_for_selector("body[data-ready]")
    page.set_input_files("#file", noisy(tmp_path / "a.png"))
    assert page.get_attribute("html", "lang") == "zh" and page.text_content("#run") == "运行"
    assert "去噪" in page.text_content("#tasks")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, dark[4:-1].split(","))) < 150
    if folder := os.environ.get("VQFUSION_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/phone.png", full_page=True)
    page.select_option("#language", "en")
    assert page.text_content("#run") == "Run"
    context.close()


def test_screen_readers_find_everything(page, tmp_path):
    found = [path for folder in sys.path for path in Path(folder).glob("axe_*/**/axe*.js")]
    if not found:
        pytest.skip("axe-core is not installed")
    page.set_input_files("#file", noisy(tmp_path / "a.png"))
    run(page)
    page.evaluate(found[0].read_text(encoding="utf-8"))
    wrong = page.evaluate(
        "axe.run().then(found => found.violations.map(one => [one.impact, one.id, one.nodes[0].html]))"
    )
    assert not [one for one in wrong if one[0] in ("serious", "critical")], wrong


def test_a_server_that_ended_is_said_in_one_line(browser, tmp_path):
    with served("--quiet") as server:
        page = browser.new_page(locale="en-GB")
        page.goto(server.url)
        page.wait_for_selector("body[data-ready]")
        page.set_input_files("#file", noisy(tmp_path / "a.png"))
        server.process.kill()
        server.process.wait(timeout=30)
        page.click("#run")
        page.wait_for_selector("#error:not(:empty)")
        assert "does not answer" in page.text_content("#error")
        page.close()
