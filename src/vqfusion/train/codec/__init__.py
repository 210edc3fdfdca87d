"""Training of tokenizers and of the entropy models of their codes."""
