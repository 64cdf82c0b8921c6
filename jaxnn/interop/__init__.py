"""Models and training states from and to PyTorch, ONNX and StableHLO."""
