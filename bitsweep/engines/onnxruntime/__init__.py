"""A reference engine: ONNX Runtime, with its own static quantization (QDQ)."""
