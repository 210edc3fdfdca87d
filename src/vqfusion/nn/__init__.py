"""PARTS: blocks, convolutional networks, U-Net, transformer, tiling, and weights on disk."""
