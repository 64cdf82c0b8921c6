"""The JAX side of a comparison: an NNX model laid beside its PyTorch original and followed, layer by layer."""
