"""Series to codes and back."""

from vqfusion.config import SeriesTokenizerConfig
from vqfusion.tokenizers.standardised import StandardisedTokenizer
from vqfusion.tokenizers.units import moments, restored, standardised
from vqfusion.types import Sample, Tokens


class SeriesTokenizer(StandardisedTokenizer):
    """A 1-D VQ-VAE that takes each channel of a series `[C, T]` by itself, so that any number of them will do.

    Independent channels as in Nie, Nguyen, Sinthong, Kalagnanam (2023), "A time series is worth 64 words". Mean and
    deviation of each channel travel with the tokens. The end is extended by its last value. The rate is not looked
    at: codes stand for values, not for seconds.
    """

    config_type = SeriesTokenizerConfig
    modality = "series"

    def encode(self, sample: Sample, search: int = 0) -> Tokens:
        """Tokens `[C, T / downsampling]`."""
        offset, scale = moments(sample.data)
        ids = self.encode_batch(standardised(sample.data, offset, scale)[:, None], search)
        return Tokens(ids, self.codebook_size, self.modality, offset=offset, scale=scale)

    def decode(self, tokens: Tokens) -> Sample:
        return restored(Sample(self.modality, self.decode_batch(tokens.ids)[:, 0]), tokens)

    def extent(self, sample: Sample) -> tuple[int, ...]:
        return tuple(sample.data.shape)
