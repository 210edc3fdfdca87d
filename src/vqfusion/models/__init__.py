"""JOIN: models made of tokenizers, networks and diffusion: codec, fusion, restoration and latent."""
