"""The classic engine: Relay and `relay.quantize`, of TVM 0.19 or before."""

INPUT = "input"
"""The name of the network's one input."""
