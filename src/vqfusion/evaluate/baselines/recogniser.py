"""Baseline for transcription: pocketsphinx, restricted to a list of names."""

import re
from collections.abc import Iterable

import numpy as np
import soxr
import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.errors import UserError, needs_extra


class NameRecogniser:
    """Recogniser restricted to a list of English names: pocketsphinx (CMU, US English, weights in its wheel).

    Only names whose words are all in its dictionary enter the grammar; `names` maps those to their words. Needs the
    extra `eval`. It is the baseline of `transcribe` and the judge of `speak`; being independent of the model, it does
    not share its errors.
    """

    def __init__(self, names: Iterable[str]):
        try:
            from pocketsphinx import Decoder
        except ImportError:
            raise needs_extra("pocketsphinx", "eval", "the name recogniser") from None
        self._decoder = Decoder(samprate=16000.0, lm=None, loglevel="FATAL")
        self.names: dict[str, str] = {}
        self._name_of: dict[str, str] = {}
        for name in names:
            words = spoken_words(name)
            if not words or words in self._name_of:  # of names with equal words the first is kept
                continue
            if all(self._decoder.lookup_word(word) for word in words.split()):
                self.names[name] = words
                self._name_of[words] = name
        if not self.names:
            raise UserError("no name has all its words in pocketsphinx's English dictionary")
        choices = " | ".join(self._name_of)
        self._decoder.add_jsgf_string("names", f"#JSGF V1.0; grammar names; public <name> = {choices};")
        self._decoder.activate_search("names")

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def hear(self, sound: Float[Tensor, "1 T"], sample_rate_hz: int) -> str:
        """Recognised name, or "" where none fits."""
        wave = sound.reshape(-1).detach().cpu().numpy().astype(np.float64)
        if sample_rate_hz != 16000:
            wave = soxr.resample(wave, sample_rate_hz, 16000)
        peak = max(float(np.abs(wave).max(initial=0.0)), 1e-9)
        silence = np.zeros(3200)  # endpoint detection needs 0.2 s of silence at both ends
        wave = np.concatenate([silence, wave * (0.5 / peak), silence])
        noise = torch.randn(len(wave), generator=torch.Generator().manual_seed(0)).numpy()
        pcm = (np.clip(wave + 1e-4 * noise, -1, 1) * 32767).astype(np.int16)  # it fails on digital silence
        self._decoder.start_utt()
        self._decoder.process_raw(pcm.tobytes(), full_utt=True)
        self._decoder.end_utt()
        hypothesis = self._decoder.hyp()
        return self._name_of.get(hypothesis.hypstr, "") if hypothesis else ""


def spoken_words(name: str) -> str:
    """A name in the spelling of pocketsphinx: lower case words with apostrophes and no other punctuation."""
    name = name.lower().replace("’", "'")
    return " ".join(re.findall(r"[^\W_]+(?:'[^\W_]+)*", name))
