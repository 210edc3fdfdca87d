"""Training of tokenizers and of entropy models."""
