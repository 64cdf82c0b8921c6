"""What PyTorch's layers, functions, gradients and optimizers compute, in NumPy and float64.

Written to be varied: each takes as an argument what a port may get wrong. parity_tests hold it to PyTorch.
"""
