"""Series tokenizer."""

from vqfusion.config import SeriesTokenizerConfig
from vqfusion.tokenizers.standardised import StandardisedTokenizer
from vqfusion.tokenizers.units import moments, restored, standardised
from vqfusion.types import Sample, Tokens


class SeriesTokenizer(StandardisedTokenizer):
    """1-D VQ-VAE over each channel of a series `[C, T]` separately, for any number of channels.

    Independent channels as in Nie, Nguyen, Sinthong, Kalagnanam (2023), "A time series is worth 64 words". Mean and
    standard deviation of each channel are stored with the tokens. The end is padded by repeating the last value. The
    sampling rate is ignored: codes stand for values, not for seconds.
    """

    config_type = SeriesTokenizerConfig
    modality = "series"

    def encode(self, sample: Sample, search: int = 0) -> Tokens:
        """Tokens `[C, T / downsampling]`; `search` as in `BaseTokenizer.encode`."""
        offset, scale = moments(sample.data)
        ids = self.encode_batch(standardised(sample.data, offset, scale)[:, None], search)
        return Tokens(ids, self.codebook_size, self.modality, offset=offset, scale=scale)

    def decode(self, tokens: Tokens) -> Sample:
        return restored(Sample(self.modality, self.decode_batch(tokens.ids)[:, 0]), tokens)

    def extent(self, sample: Sample) -> tuple[int, ...]:
        return tuple(sample.data.shape)
