"""Whether a quantizer or a tokenizer keeps its contract."""
