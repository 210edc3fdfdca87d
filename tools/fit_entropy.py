"""Fit the entropy models of the tokenizers in a model folder that lacks them: `python tools/fit_entropy.py FOLDER`."""

import sys
from pathlib import Path

from vqfusion.data import open_dataset
from vqfusion.models.codec.codec import Codec
from vqfusion.train.codec.entropy import add_entropy_model

folder = Path(sys.argv[1])
slots = Codec.from_pretrained(folder).slots
dataset = open_dataset(slots.config.data)
for name, tokenizer in slots.by_name.items():
    add_entropy_model(tokenizer, name, dataset, slots.config, folder)
print("\n".join(str(path) for path in sorted(folder.glob("entropy-*.safetensors"))))
