"""Write the held-out items that ship with the digits: src/vqfusion/data/numerals/items.{png,flac,json}.

The first two test pictures of each digit of MNIST, and takes 0 and 1 of the speaker who is held out of FSDD; nothing is
chosen by how a model does on them. Needs both sets in `$VQFUSION_DATA`.
"""

import json

import numpy as np
import soundfile
from PIL import Image

from vqfusion.data.numerals import FOLDER, UNHEARD
from vqfusion.data.standard import mnist10k, spoken_digits

SHOWN = 2


def main() -> None:
    digits = mnist10k()
    rows = [
        np.concatenate([digits.test[digits.test_labels == digit][number].numpy() for digit in range(10)], axis=1)
        for number in range(SHOWN)
    ]
    Image.fromarray(np.concatenate(rows)).save(FOLDER / "items.png", optimize=True)
    clips = [clip for clip in spoken_digits() if clip.speaker == UNHEARD and clip.take < SHOWN]
    clips.sort(key=lambda clip: (clip.take, clip.digit))
    sounds = [soundfile.read(clip.path, dtype="int16") for clip in clips]
    rate = sounds[0][1]
    soundfile.write(FOLDER / "items.flac", np.concatenate([sound for sound, _ in sounds]), rate, subtype="PCM_16")
    (FOLDER / "items.json").write_text(json.dumps({"clips": [len(sound) for sound, _ in sounds]}) + "\n")


if __name__ == "__main__":
    main()
