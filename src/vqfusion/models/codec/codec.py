"""The codec: samples to .vqf files and back, by the tokenizers of a model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from vqfusion.config import FusionConfig
from vqfusion.data.io.stored import Stored
from vqfusion.data.loudness import gain_to_be_heard
from vqfusion.errors import UserError
from vqfusion.modalities import MODALITIES
from vqfusion.models.codec.vqf import VqfFile, VqfHeader
from vqfusion.models.fusion.pretrained import load_tokenizers
from vqfusion.models.fusion.slot_tokenizers import SlotTokenizers
from vqfusion.models.fusion.system import System
from vqfusion.models.unfinished import warn_unfinished
from vqfusion.nn.pretrained import read_stored
from vqfusion.nn.weights import pick_device
from vqfusion.tokenizers.codec.entropy_model import EntropyModel
from vqfusion.tokenizers.codec.range_coder import decode_adaptive, encode_adaptive, pack, unpack
from vqfusion.tokenizers.familiarity import UNLIKE
from vqfusion.tokenizers.photo import PhotoTokenizer
from vqfusion.types import Sample, Tokens

CONTEXT = "context"  # coding of photographs, by the context model of their tokenizer


class Codec:
    """Encodes samples of any size with the tokenizers of a model, and decodes them at their original size.

    Pictures are processed in tiles where they are large, and grey ones stay grey; sounds keep their sample rate and
    length, volumes spacing and affine, series rate, names and units. Codes are stored by the entropy model, by adaptive
    counts or bit by bit, whichever is shortest.

    Args:
        tokenizers: The tokenizers.
        entropy_models: Entropy models by the name of the tokenizer; by default those of the tokenizers.
    """

    def __init__(self, tokenizers: SlotTokenizers, entropy_models: dict[str, EntropyModel] | None = None):
        self.config, self.slots = tokenizers.config, tokenizers
        self.model = tokenizers.config.name
        self.tokenizers = {n: t for n, t in tokenizers.by_name.items() if not t.closed}
        own = {name: one.entropy_model for name, one in tokenizers.by_name.items()}
        known = own if entropy_models is None else entropy_models
        self.entropy_models = {name: model for name, model in known.items() if model is not None}

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: str | None = "cpu") -> "Codec":
        """Load the codec of the system in a folder, without its transformer."""
        warn_unfinished(Path(folder))
        return cls(load_tokenizers(read_stored(folder), pick_device(device)))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write tokenizers and entropy models as a system without a transformer."""
        for name, tokenizer in self.slots.by_name.items():
            tokenizer.entropy_model = self.entropy_models.get(name)
        config = self.config.model_copy(update={"fusion": FusionConfig(), "draws": ()})
        System(config, SlotTokenizers(config, self.slots.by_name), None).save_pretrained(folder)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities that can be encoded."""
        return tuple(dict.fromkeys(tokenizer.modality for tokenizer in self.tokenizers.values()))

    def warnings(self, sample: Sample) -> tuple[str, ...]:
        """Warnings for the user about a sample unlike those that the model was trained on, and about a lost band."""
        tokenizer = next((one for one in self.tokenizers.values() if one.modality == sample.modality), None)
        if tokenizer is None:
            return ()
        lines, rate = [], tokenizer.sample_rate_hz
        if rate and (sample.sample_rate_hz or 0) > rate:
            lines.append(f"codes hold the band up to {rate / 2:g} Hz; what lies above is left out")
        if tokenizer.is_unfamiliar(sample, self.config.image_size):
            kind = MODALITIES[sample.modality].bare
            lines.append(f"the {kind} is {UNLIKE}, so much of it may be lost")
        return tuple(lines)

    def encode(self, sample: Sample, search: int = 0, bits: float | None = None) -> VqfFile:
        """Encode a sample.

        Args:
            sample: The sample.
            search: Rounds of search for codes that decode better than the nearest ones, see `search_codes`.
            bits: Most bits a pixel of the codes, for a tokenizer of pictures with several rates; None takes its usual
                rate.

        Returns:
            The content of a .vqf file.

        Raises:
            UserError: The model has no tokenizer for this modality, or one of a single rate and `bits` are given.
        """
        name = next((n for n, t in self.tokenizers.items() if t.modality == sample.modality), None)
        if name is None:
            known = ", ".join(self.modalities) or "nothing"
            raise UserError(f"model {self.model!r} has no tokenizer for {sample.modality}; it encodes {known}")
        tokenizer = self.tokenizers[name]
        taken, gain = sample, 1.0
        if sample.sample_rate_hz:
            gain = gain_to_be_heard(sample.data[0], sample.sample_rate_hz)
            taken = replace(sample, data=sample.data * gain)
        if bits is None:
            tokens = tokenizer.encode(tokenizer.fitted(taken), search)
        elif isinstance(tokenizer, PhotoTokenizer):
            tokens = tokenizer.encode_at(tokenizer.fitted(taken), bits, search)
        else:
            raise UserError(f"model {self.model!r} has a single rate for {sample.modality}; leave --bits out")
        ids = tokens.ids.cpu().numpy()
        coding, payload = self._shortest(name, tokens)
        header = VqfHeader(
            modality=sample.modality,
            model=self.model,
            tokenizer=name,
            fingerprint=tokenizer.fingerprint(),
            codebook_size=tokens.codebook_size,
            grid=ids.shape,
            size=tokenizer.extent(sample),
            sample_rate_hz=sample.sample_rate_hz,
            rate_hz=sample.rate_hz,
            dtype=_whole(sample),
            spacing_mm=sample.spacing_mm,
            affine=sample.affine,
            channel_names=sample.channel_names,
            offset=_exact(tokens.offset),
            scale=_exact(tokens.scale) if gain == 1 else (1 / gain,),
            coding=coding,
        )
        return VqfFile(header, payload)

    def decode(self, file: VqfFile, name: str = "this file") -> Sample:
        """Decode a file.

        Args:
            file: Content of the file.
            name: Name of the file in messages.

        Returns:
            The sample, at its original size.

        Raises:
            UserError: The file is damaged or was made with other tokenizers.
        """
        header = file.header
        tokenizer = self.tokenizers.get(header.tokenizer)
        if tokenizer is None or tokenizer.fingerprint() != header.fingerprint:
            here = f"has {tokenizer.fingerprint()}" if tokenizer else "has no such tokenizer"
            raise UserError(
                f"{name}: was made with tokenizer {header.tokenizer!r} {header.fingerprint} of model {header.model!r}, "
                f"model {self.model!r} {here}; give the model it was made with"
            )
        if (header.codebook_size, header.modality) != (tokenizer.codebook_size, tokenizer.modality):
            raise UserError(f"{name}: is damaged (its header is not that of tokenizer {header.tokenizer!r})")
        offset, scale = (None if v is None else torch.tensor(v) for v in (header.offset, header.scale))
        try:
            ids = torch.from_numpy(self._unpacked(file, name))
            if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < tokenizer.codebook_size:
                raise ValueError(f"a code above {tokenizer.codebook_size - 1}")
            tokens = Tokens(ids.to(tokenizer.device), header.codebook_size, header.modality, offset=offset, scale=scale)
            made = tokenizer.cut(tokenizer.decode(tokens), header.size, header.sample_rate_hz)
            if header.sample_rate_hz and header.scale:  # back to the original loudness
                made = replace(made, data=made.data * header.scale[0])
            return replace(
                made,
                sample_rate_hz=header.sample_rate_hz,
                rate_hz=header.rate_hz,
                extras=Stored(np.empty(0, header.dtype)) if header.dtype else None,
                spacing_mm=header.spacing_mm,
                affine=header.affine,
                channel_names=header.channel_names,
            )
        except UserError:
            raise
        except (ValueError, RuntimeError, LookupError, MemoryError, OverflowError) as error:
            reason = " ".join(str(error).split())[:120]
            raise UserError(f"{name}: is damaged (its codes do not fit its header: {reason})") from None

    def _shortest(self, name: str, tokens: Tokens) -> tuple[str, bytes]:
        """Name and bytes of the shortest coding; of photographs there is one."""
        ids, size, tokenizer = tokens.ids.cpu().numpy(), tokens.codebook_size, self.tokenizers[name]
        if isinstance(tokenizer, PhotoTokenizer):
            return CONTEXT, tokenizer.pack(tokens)
        made = {"packed": pack(ids.reshape(-1), size), "adaptive": encode_adaptive(ids.reshape(-1), size)}
        model = self.entropy_models.get(name)
        if model is not None and model.axes == ids.ndim:
            made[f"model:{model.fingerprint}"] = model.encode(ids)
        return min(made.items(), key=lambda item: len(item[1]))

    def _unpacked(self, file: VqfFile, name: str) -> Int[np.ndarray, "..."]:
        header = file.header
        if header.coding == "adaptive":
            return decode_adaptive(file.payload, file.codes, header.codebook_size).reshape(header.grid)
        if header.coding == "packed":
            try:
                return unpack(file.payload, file.codes, header.codebook_size).reshape(header.grid)
            except ValueError as error:
                raise UserError(f"{name}: is damaged ({error})") from None
        tokenizer = self.tokenizers[header.tokenizer]
        if header.coding == CONTEXT and isinstance(tokenizer, PhotoTokenizer):
            return tokenizer.unpack(file.payload, header.grid, header.scale or ())
        model = self.entropy_models.get(header.tokenizer)
        if model is None or header.coding != f"model:{model.fingerprint}":
            here = f"that of fingerprint {model.fingerprint}" if model else "none"
            raise UserError(
                f"{name}: was packed by entropy {header.coding} of tokenizer {header.tokenizer!r}, this model has "
                f"{here}; give the model it was made with"
            )
        return model.decode(file.payload, header.grid)


def _exact(values: Tensor | None) -> tuple[float, ...] | None:
    """Float32 numbers with nine digits, from which they can be restored exactly."""
    return None if values is None else tuple(float(f"{value:.9g}") for value in values.tolist())


def _whole(sample: Sample) -> str | None:
    """Integer type of the values of a volume or series in their file; None for other types."""
    stored = sample.extras
    if not isinstance(stored, Stored) or (stored.slope, stored.intercept) != (1.0, 0.0):
        return None
    return stored.raw.dtype.str if stored.raw.dtype.kind in "iu" else None
