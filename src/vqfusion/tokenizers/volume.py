"""Volumes to codes and back."""

from vqfusion.config import VolumeTokenizerConfig
from vqfusion.tokenizers.standardised import StandardisedTokenizer


class VolumeTokenizer(StandardisedTokenizer):
    """A 3-D VQ-VAE over volumes `[1, D, H, W]` in any unit; their mean and deviation travel with the tokens.

    A side that is no multiple of the downsampling is extended by its edge. The spacing is not looked at: codes
    stand for voxels, not for millimetres.
    """

    config_type = VolumeTokenizerConfig
    modality = "volume"
