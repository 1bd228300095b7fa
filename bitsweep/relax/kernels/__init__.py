"""The kernels of convolutions: TIR functions with explicit vectors, made for one shape each."""
