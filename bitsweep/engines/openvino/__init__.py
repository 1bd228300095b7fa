"""A reference engine: OpenVINO, with NNCF's post-training quantization."""
