"""Fused nearest-code searches: C++ for CPUs, Triton for CUDA. `nearest.py` selects one."""
