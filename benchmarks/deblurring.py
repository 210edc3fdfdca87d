"""`deblur` on the middle 256 x 256 pixels of Kodak24, beside the file and the best Wiener filter.

Each picture is blurred with a wider border of the scene ("valid"), gets noise of 2/255 (seed i for picture i) and is
rounded to 8 bits. `deblur` is told the blur and estimates the noise. The Wiener filter, which takes pictures as
periodic, has the regularisation that is best for each picture, chosen with the truth. PSNR over all channels, mean over
pictures, of all pixels and of those farther than 24 pixels from the border.

    VQFUSION_DATA=... python benchmarks/deblurring.py
"""

import json
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import vqfusion
from vqfusion import Sample
from vqfusion.data.standard import grey_pictures
from vqfusion.diffusion.operators import Blur, ValidBlur
from vqfusion.tasks import TASKS
from vqfusion.tasks.deblurring import Deblur

RESULT = Path(__file__).parent / "results" / "deblurring.json"
BLURS, SIGMA, SIZE, INNER = ("gaussian:1.6", "disk:3", "motion:15:30"), 2 / 255, 256, 24
STRENGTHS = np.geomspace(3e-4, 0.3, 13)


def scene(path: Path, margin: int) -> Tensor:
    """Middle of a picture `[1, 3, H, W]` with a border."""
    x = torch.from_numpy(np.asarray(Image.open(path).convert("RGB")).astype(np.float32) / 255).permute(2, 0, 1)[None]
    side = SIZE + margin
    top, left = (x.shape[2] - side) // 2, (x.shape[3] - side) // 2
    return x[:, :, top : top + side, left : left + side]


def psnr(made: Tensor, truth: Tensor) -> np.ndarray:
    error = (((made.clamp(0, 1) * 255).round() / 255) - truth).square()
    inner = error[..., INNER:-INNER, INNER:-INNER]
    return np.array([float(-10 * part.mean().log10()) for part in (error, inner)])


def wiener(y: Tensor, kernel: Tensor, truth: Tensor) -> np.ndarray:
    gain = Blur(kernel).transfer(tuple(y.shape[2:]), y)
    seen = torch.fft.fftn(y, dim=(2, 3)) * gain.conj()
    made = [torch.fft.ifftn(seen / (gain.abs().square() + s), dim=(2, 3)).real for s in STRENGTHS]
    return np.max([psnr(one, truth) for one in made], axis=0)


def main() -> None:
    torch.set_num_threads(1)
    prior, table = vqfusion.load("photo", "cpu"), {}
    for words in BLURS:
        operator = ValidBlur(Deblur(blur=words)._kernel(2))
        rows, seconds = [], []
        for i, path in enumerate(grey_pictures("kodak24")):
            x = scene(path, operator.kernel.shape[0] - 1)
            truth = operator.under(x)
            noise = SIGMA * torch.randn(truth.shape, generator=torch.Generator().manual_seed(i))
            y = ((operator.A(x.double()).float() + noise).clamp(0, 1) * 255).round() / 255
            start = time.process_time()
            answer = TASKS["deblur"](blur=words)(prior, Sample("image", y[0]))
            seconds.append(time.process_time() - start)
            made = answer.samples[0][0].data[None]
            rows.append([psnr(y, truth), wiener(y, operator.kernel, truth), psnr(made, truth)])
            print(words, path.name, [[round(float(n), 2) for n in row] for row in rows[-1]], flush=True)
        mean = np.mean(rows, axis=0).round(2).tolist()
        names = ("blurred", "wiener, best", "deblur")
        table[words] = {name: {"all": row[0], "inner": row[1]} for name, row in zip(names, mean, strict=True)}
        table[words]["cpu_s"] = round(float(np.mean(seconds)), 1)
        RESULT.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
