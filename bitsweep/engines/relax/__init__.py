"""Today's engine: Relax, of Apache TVM, with this project's own quantizer (`bitsweep.relax`)."""

MAIN = "main"
"""The network, a function of a batch of one image."""
