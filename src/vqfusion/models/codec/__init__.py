"""Codec: samples compressed to .vqf files by the tokenizers of a model."""
