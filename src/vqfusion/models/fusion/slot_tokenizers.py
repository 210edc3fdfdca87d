"""From samples to the tokens of a slot and back: the views of each modality are made here."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn import functional as F

from vqfusion.config import ChainConfig, SlotConfig
from vqfusion.data.transforms import fit_picture, resample
from vqfusion.errors import UserError
from vqfusion.models.fusion.slots import SlotName, check_slot, patch_size
from vqfusion.tokenizers.audio import AudioTokenizer
from vqfusion.tokenizers.build import AnyTokenizer
from vqfusion.tokenizers.image import ImageTokenizer
from vqfusion.tokenizers.label import LabelTokenizer
from vqfusion.types import Sample, Tokens


class SlotTokenizers:
    """The tokenizers of a chain, spoken to by slot."""

    def __init__(self, config: ChainConfig, tokenizers: dict[str, AnyTokenizer]):
        self.config = config
        self.by_name = tokenizers

    def __getitem__(self, slot: str) -> AnyTokenizer:
        return self.by_name[check_slot(slot, self.config.fusion.slots).tokenizer]

    @property
    def vocabularies(self) -> dict[str, int]:
        """Number of ids of each tokenizer that a slot speaks."""
        used = {slot.tokenizer for slot in self.config.fusion.slots.values()}
        return {name: tokenizer.codebook_size for name, tokenizer in self.by_name.items() if name in used}

    @property
    def codebooks(self) -> dict[str, Tensor]:
        """Code vectors `[codebook_size, D]` of the tokenizers that have them: those with one code for a position."""
        spoken = {name: self.by_name[name] for name in self.vocabularies}
        networks = {n: t for n, t in spoken.items() if isinstance(t, ImageTokenizer | AudioTokenizer)}
        return {
            name: network.vqvae.quantizer.lookup(torch.arange(network.codebook_size, device=_device(network))).cpu()
            for name, network in networks.items()
            if network.vqvae.quantizer.index_shape((8,)) == (8,)
        }

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the sounds that come out; UserError when the chain has no sound."""
        for tokenizer in self.by_name.values():
            if isinstance(tokenizer, AudioTokenizer):
                return tokenizer.config.sample_rate_hz
        raise UserError("this model has no sound")

    def longest_s(self, slot: str) -> float:
        """Longest sound that a slot can hold, in seconds."""
        tokenizer = self[slot]
        assert isinstance(tokenizer, AudioTokenizer), f"{slot} holds no sound"
        return self.config.fusion.slots[slot].shape[0] * tokenizer.samples_per_code / tokenizer.config.sample_rate_hz

    def names(self, tokenizer: str) -> list[str]:
        """Names of a label vocabulary."""
        labels = self.by_name[tokenizer]
        if not isinstance(labels, LabelTokenizer):
            raise UserError(f"{tokenizer!r} is not a closed list of names")
        return list(labels.names)

    def encode(self, slot: str, sample: Sample) -> Int[Tensor, "..."]:
        """Ids of one sample in the grid of a slot; UserError when it does not fit."""
        return self.encode_many(slot, [sample])[0]

    def encode_many(self, slot: str, samples: list[Sample]) -> list[Int[Tensor, "..."]]:
        """Ids of several samples; those of one size go through the network together."""
        encoded = self.encode_fitting(slot, samples)
        for sample, ids in zip(samples, encoded, strict=True):
            if ids is None:
                raise UserError(f"slot {slot!r}: {self._misfit(slot, sample)}")
        return [ids for ids in encoded if ids is not None]

    def encode_fitting(self, slot: str, samples: list[Sample]) -> list[Int[Tensor, "..."] | None]:
        """Like `encode_many`, with None for texts and sounds that are empty or longer than the slot."""
        config, tokenizer = check_slot(slot, self.config.fusion.slots), self[slot]
        expected = "label" if isinstance(tokenizer, LabelTokenizer) else SlotName.parse(slot).modality
        for sample in samples:
            if sample.modality != expected:
                raise UserError(f"slot {slot!r} takes {expected}, not {sample.modality}")
        if isinstance(tokenizer, ImageTokenizer):
            size = config.shape[0] * tokenizer.vqvae.downsampling
            pictures = torch.stack([fit_picture(sample.data, size) for sample in samples])
            parts = [tokenizer.encode_batch(part.to(_device(tokenizer))).cpu() for part in pictures.split(64)]
            return list(torch.cat(parts))
        if isinstance(tokenizer, AudioTokenizer):
            return self._encode_sounds(config, tokenizer, samples)
        encoded = [tokenizer.encode(sample).ids for sample in samples]
        return [ids if 0 < len(ids) <= config.shape[0] else None for ids in encoded]

    def decode(self, slot: str, ids: Int[Tensor, "..."]) -> Sample:
        """Sample of a grid of ids."""
        tokenizer = self[slot]
        if isinstance(tokenizer, ImageTokenizer | AudioTokenizer):
            ids = ids.to(_device(tokenizer))
        return tokenizer.decode(Tokens(ids, tokenizer.codebook_size, tokenizer.modality))

    def known(
        self, slot: str, sample: Sample, keep: Bool[Tensor, "H W"] | None
    ) -> tuple[Int[Tensor, "..."], Bool[Tensor, "..."]]:
        """Ids of a partly known sample and which of them are known.

        A token of a picture is known when every pixel under it is; with no mask everything is.
        """
        tokenizer = self[slot]
        if keep is None:
            ids = self.encode(slot, sample)
            return ids, torch.ones_like(ids, dtype=torch.bool)
        if not isinstance(tokenizer, ImageTokenizer):
            raise UserError(f"slot {slot!r}: only pictures can be filled in by a mask")
        if keep.shape != sample.data.shape[1:]:
            raise UserError(
                f"the mask is {keep.shape[1]} x {keep.shape[0]} pixels, the picture {sample.data.shape[2]} x "
                f"{sample.data.shape[1]}; make them the same size"
            )
        visible = torch.where(keep, sample.data, 1.0)
        ids = self.encode(slot, Sample("image", visible))
        size = len(ids) * tokenizer.vqvae.downsampling
        kept = fit_picture(keep[None].float(), size)[:1]
        lost = F.max_pool2d(1 - kept[None], tokenizer.vqvae.downsampling)[0, 0]
        return ids, lost < 1e-3

    def _encode_sounds(
        self, config: SlotConfig, tokenizer: AudioTokenizer, samples: list[Sample]
    ) -> list[Int[Tensor, " n"] | None]:
        step = tokenizer.samples_per_code * patch_size(config)
        out: list[Tensor | None] = [None] * len(samples)
        by_length: dict[int, list[tuple[int, Tensor]]] = {}
        for i, sample in enumerate(samples):
            sound = resample(sample, tokenizer.config.sample_rate_hz).data
            sound = F.pad(sound, (0, -sound.shape[1] % step))
            if 0 < sound.shape[1] <= config.shape[0] * tokenizer.samples_per_code:
                by_length.setdefault(sound.shape[1], []).append((i, sound))
        for items in by_length.values():
            for at in range(0, len(items), 64):
                part = items[at : at + 64]
                ids = tokenizer.encode_batch(torch.cat([sound for _, sound in part]).to(_device(tokenizer))).cpu()
                for (i, _), one in zip(part, ids, strict=True):
                    out[i] = one
        return out

    def _misfit(self, slot: str, sample: Sample) -> str:
        """Why a sample does not fit a slot, and the mend."""
        config, tokenizer = self.config.fusion.slots[slot], self[slot]
        if isinstance(tokenizer, AudioTokenizer):
            longest = self.longest_s(slot)
            lasts = sample.data.shape[1] / (sample.sample_rate_hz or 1)
            return f"the sound lasts {lasts:.2f} s, this model takes up to {longest:.2f} s; cut it into pieces"
        if not sample.data:
            return "the text is empty"
        length = len(tokenizer.encode(sample).ids)
        return (
            f"the text has {length} tokens, this model takes at most {config.shape[0]}; shorten {sample.data[:24]!r}..."
        )


def _device(tokenizer: ImageTokenizer | AudioTokenizer) -> torch.device:
    return next(tokenizer.parameters()).device
