"""Volume tokenizer."""

from vqfusion.config import VolumeTokenizerConfig
from vqfusion.tokenizers.standardised import StandardisedTokenizer


class VolumeTokenizer(StandardisedTokenizer):
    """3-D VQ-VAE over volumes `[1, D, H, W]` in any unit; mean and standard deviation are stored with the tokens.

    A side that is not a multiple of the downsampling is padded by repeating its edge. The spacing is ignored: codes
    stand for voxels, not for millimetres.
    """

    config_type = VolumeTokenizerConfig
    modality = "volume"
