"""A reference engine: PyTorch itself, with its own static quantization."""
