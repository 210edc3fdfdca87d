"""Denoising a photograph by its size: processor time, wall time and peak memory, against non-local means.

From file to file, sigma 25 given, one process each: start of the process, reading, denoising, writing PNG. The picture
is the colour photographs of scikit-image, mirrored to the size. Memory is the high-water mark of the whole process.
Non-local means: patches of 5 in windows of 13, h = 0.6 sigma (fast mode, sigma given), as in the tables of denoising;
OpenCV: its defaults of 7 and 21 with h = 25. BM3D is quoted: about 15 s for 0.07 to 0.26 megapixels of grey on the
same kind of core. Wall time means something on free cores alone; processor time always does.

    python benchmarks/restoration_speed.py                      # about 10 minutes
    python benchmarks/restoration_speed.py --megapixels 1 --methods vqfusion --model photo
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIGMA, THREADS = 25 / 255, 2
MEGAPIXELS = (0.25, 1.0, 3.0, 12.0)
METHODS = ("vqfusion", "nlm scikit-image", "nlm opencv")
LIMIT_S, LIMIT_MB = 60.0, 2048.0  # wanted of 12 megapixels
RESULT = Path(__file__).parent / "results" / "restoration_speed.json"


def make_pictures(folder: Path, megapixels: float) -> None:
    """`clean.png` and `noisy.png` of 4 : 3."""
    import numpy as np
    import skimage.data
    from PIL import Image

    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    width = round(height * 4 / 3)
    tiles = [skimage.data.astronaut(), skimage.data.chelsea(), skimage.data.coffee(), skimage.data.rocket()]
    side = min(min(tile.shape[:2]) for tile in tiles)
    row = np.concatenate([tile[:side, :side] for tile in tiles], 1)
    block = np.concatenate([row, row[::-1, ::-1]], 0)
    block = np.concatenate([block, block[:, ::-1]], 1)
    clean = np.tile(block, (-(-height // block.shape[0]), -(-width // block.shape[1]), 1))[:height, :width]
    noise = np.random.default_rng(0).standard_normal(clean.shape, np.float32)
    noisy = np.clip(clean + 255 * SIGMA * noise, 0, 255).round().astype(np.uint8)
    Image.fromarray(clean).save(folder / "clean.png", compress_level=1)
    Image.fromarray(noisy).save(folder / "noisy.png", compress_level=1)


def denoise(method: str, folder: Path, model: str) -> None:
    """From `noisy.png` to `made.png`, in this process."""
    if method == "vqfusion":
        import torch

        from vqfusion.cli import main

        torch.set_num_threads(THREADS)
        paths = [str(folder / "noisy.png"), "-o", str(folder / "made.png"), "--force"]
        assert main(["denoise", *paths, "--sigma", str(SIGMA), "--model", model]) == 0
        return
    import numpy as np
    from PIL import Image

    noisy = np.asarray(Image.open(folder / "noisy.png"))
    if method == "nlm scikit-image":
        from skimage.restoration import denoise_nl_means

        floats = noisy.astype(np.float32) / 255
        made = denoise_nl_means(floats, 5, 6, h=0.6 * SIGMA, sigma=SIGMA, fast_mode=True, channel_axis=-1)
        made = (made.clip(0, 1) * 255).round().astype(np.uint8)
    else:
        import cv2

        cv2.setNumThreads(THREADS)
        made = cv2.fastNlMeansDenoisingColored(noisy, None, 25, 25, 7, 21)
    Image.fromarray(made).save(folder / "made.png")


def measure(method: str, folder: Path, model: str, python: str) -> dict[str, float]:
    """One denoising in a process of its own, and the PSNR of what it made."""
    import numpy as np
    from PIL import Image

    command = [python, __file__, "--one", method, "--folder", str(folder), "--model", model]
    environment, start = os.environ | {"OMP_NUM_THREADS": str(THREADS)}, time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{method} failed")
    wall, cpu, peak = time.perf_counter() - start, used.ru_utime + used.ru_stime, int(said.split()[-1]) / 1024
    errors = [np.asarray(Image.open(folder / f"{name}.png")).astype(np.float32) for name in ("made", "clean")]
    psnr = float(20 * np.log10(255 / np.sqrt(np.mean((errors[0] - errors[1]) ** 2))))
    return {"cpu_s": round(cpu, 2), "wall_s": round(wall, 2), "peak_mb": round(peak), "psnr_db": round(psnr, 2)}


def peak_kb() -> int:
    """The high-water mark of this process since it began."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, nargs="*", default=MEGAPIXELS)
    parser.add_argument("--methods", nargs="*", default=METHODS, choices=METHODS)
    parser.add_argument("--model", default="photo")
    parser.add_argument("--opencv-python", default=sys.executable, help="interpreter with opencv-python-headless")
    parser.add_argument("--note", default="", help="what else ran on the machine")
    parser.add_argument("-o", "--output", type=Path, help=f"such as {RESULT}; default: print only")
    parser.add_argument("--one", choices=METHODS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        denoise(options.one, options.folder, options.model)
        print(peak_kb())
        return
    report: dict = {
        "processor": platform.processor() or platform.machine(),
        "threads": THREADS,
        "sigma": 25,
        "model": options.model,
        "note": options.note,
        "wanted": {"megapixels": 12, "wall_s": LIMIT_S, "peak_mb": LIMIT_MB},
        "rows": [],
    }
    for megapixels in options.megapixels:
        with tempfile.TemporaryDirectory() as folder:
            make_pictures(Path(folder), megapixels)
            for method in options.methods:
                python = options.opencv_python if method.endswith("opencv") else sys.executable
                row = {"method": method, "megapixels": megapixels}
                report["rows"].append(row | measure(method, Path(folder), options.model, python))
                print(report["rows"][-1], flush=True)
                if options.output:
                    options.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
