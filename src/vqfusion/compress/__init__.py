"""Smaller and more portable forms of trained models."""

from vqfusion.lazy import public

__getattr__, __dir__, __all__ = public(__name__, onnx_export="export_prior", compressor="compress Compressed Form")
