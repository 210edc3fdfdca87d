"""The codec: samples to .vqf files and back, with the tokenizers of a model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn import functional as F

from vqfusion.data.transforms import resample
from vqfusion.errors import UserError
from vqfusion.models.codec.vqf import VqfFile, VqfHeader
from vqfusion.models.fusion.pretrained import load_entropy_model, load_tokenizers
from vqfusion.models.fusion.slot_tokenizers import SlotTokenizers
from vqfusion.tokenizers.audio import AudioTokenizer
from vqfusion.tokenizers.build import AnyTokenizer
from vqfusion.tokenizers.codec.entropy_model import EntropyModel
from vqfusion.tokenizers.codec.range_coder import decode_adaptive, encode_adaptive, pack, unpack
from vqfusion.tokenizers.label import LabelTokenizer
from vqfusion.tokenizers.network import TokenizerNetwork
from vqfusion.types import Sample, Tokens


class Codec:
    """Encodes what the tokenizers of a model can take, at its own size, and decodes to the original extent.

    Pictures of any size (in tiles where they are large), grey ones come back grey; sounds come back at their own rate
    and length; volumes with spacing and affine, series with rate, names and units. `entropy_models` by the name of
    the tokenizer; without one the codes are packed by adaptive counts or bit by bit, whichever is shortest.
    """

    def __init__(self, tokenizers: SlotTokenizers, entropy_models: dict[str, EntropyModel]):
        self.config = tokenizers.config
        self.model = tokenizers.config.name
        self.tokenizers = {n: t for n, t in tokenizers.by_name.items() if not isinstance(t, LabelTokenizer)}
        self.entropy_models = entropy_models

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: str | None = "cpu") -> "Codec":
        """The codec of the model in a folder; what makes no codes is not loaded."""
        slots = load_tokenizers(Path(folder), device)
        loaded = {n: load_entropy_model(Path(folder), n, t.fingerprint()) for n, t in slots.by_name.items()}
        return cls(slots, {name: model for name, model in loaded.items() if model})

    @property
    def modalities(self) -> tuple[str, ...]:
        """What can be encoded."""
        return tuple(dict.fromkeys(tokenizer.modality for tokenizer in self.tokenizers.values()))

    def encode(self, sample: Sample, search: int = 0) -> VqfFile:
        """The file of a sample; UserError where the model has no tokenizer for it.

        `search` is the number of rounds that networks look for codes that decode better than the nearest ones.
        """
        name = next((n for n, t in self.tokenizers.items() if t.modality == sample.modality), None)
        if name is None:
            known = ", ".join(self.modalities) or "nothing"
            raise UserError(f"model {self.model!r} has no tokenizer for {sample.modality}; it encodes {known}")
        tokenizer = self.tokenizers[name]
        taken = fitted(sample, tokenizer)
        if isinstance(tokenizer, TokenizerNetwork):
            tokens = tokenizer.encode(taken, search)
        else:
            tokens = tokenizer.encode(taken)
        ids = tokens.ids.cpu().numpy()
        coding, payload = self._shortest(name, ids, tokens.codebook_size)
        header = VqfHeader(
            modality=sample.modality,
            model=self.model,
            tokenizer=name,
            fingerprint=tokenizer.fingerprint(),
            codebook_size=tokens.codebook_size,
            grid=ids.shape,
            size=_extent(sample),
            sample_rate_hz=sample.sample_rate_hz,
            rate_hz=sample.rate_hz,
            spacing_mm=sample.spacing_mm,
            affine=sample.affine,
            channel_names=sample.channel_names,
            offset=_exact(tokens.offset),
            scale=_exact(tokens.scale),
            coding=coding,
        )
        return VqfFile(header, payload)

    def decode(self, file: VqfFile, name: str = "this file") -> Sample:
        """The sample of a file; UserError where it is damaged or was made with other tokenizers."""
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
            if isinstance(tokenizer, nn.Module):
                ids = ids.to(next(tokenizer.parameters()).device)
            made = tokenizer.decode(Tokens(ids, header.codebook_size, header.modality, offset=offset, scale=scale))
            return _cut(made, header)
        except UserError:
            raise
        except (ValueError, RuntimeError, IndexError, MemoryError, OverflowError) as error:
            reason = " ".join(str(error).split())[:120]
            raise UserError(f"{name}: is damaged (its codes do not fit its header: {reason})") from None

    def _shortest(self, name: str, ids: Int[np.ndarray, "..."], size: int) -> tuple[str, bytes]:
        """The codes in the coding that takes the fewest bytes."""
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
        model = self.entropy_models.get(header.tokenizer)
        if model is None or header.coding != f"model:{model.fingerprint}":
            here = f"that of fingerprint {model.fingerprint}" if model else "none"
            raise UserError(
                f"{name}: was packed by entropy {header.coding} of tokenizer {header.tokenizer!r}, this model has "
                f"{here}; give the model it was made with"
            )
        return model.decode(file.payload, header.grid)


def fitted(sample: Sample, tokenizer: AnyTokenizer) -> Sample:
    """The sample as the tokenizer takes it: at its sample rate, on its device."""
    if isinstance(tokenizer, AudioTokenizer):
        sample = resample(sample, tokenizer.config.sample_rate_hz)
    if isinstance(sample.data, Tensor) and isinstance(tokenizer, nn.Module):
        return replace(sample, data=sample.data.to(next(tokenizer.parameters()).device))
    return sample


def _extent(sample: Sample) -> tuple[int, ...]:
    if isinstance(sample.data, str):
        return (len(sample.data.encode()),)
    return tuple(sample.data.shape[1:] if sample.modality in ("audio", "volume") else sample.data.shape)


def _cut(made: Sample, header: VqfHeader) -> Sample:
    """What was decoded, cut to the extent of the original and with what the header knows of it."""
    if header.modality == "text":
        return made
    data, size = made.data.cpu(), header.size
    if header.modality == "image":
        data = data.mean(dim=0, keepdim=True) if size[0] == 1 else data
    if header.modality == "audio":
        sound = resample(replace(made, data=data), header.sample_rate_hz or made.sample_rate_hz or 1)
        data = F.pad(sound.data, (0, max(0, size[0] - sound.data.shape[1]))).clamp(-1, 1)
    extent = (len(data), *size[-(data.ndim - 1) :])
    if any(wanted > there for wanted, there in zip(extent, data.shape, strict=True)):
        raise ValueError(f"{list(data.shape)} holds no {list(size)}")
    return Sample(
        header.modality,
        data[tuple(slice(n) for n in extent)],
        sample_rate_hz=header.sample_rate_hz,
        rate_hz=header.rate_hz,
        spacing_mm=header.spacing_mm,
        affine=header.affine,
        channel_names=header.channel_names,
    )


def _exact(values: Tensor | None) -> tuple[float, ...] | None:
    """Float32 numbers in the nine digits that give them back."""
    return None if values is None else tuple(float(f"{value:.9g}") for value in values.tolist())
