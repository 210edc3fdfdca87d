"""Conformance checks: whether a quantizer or a tokenizer keeps its contract."""
