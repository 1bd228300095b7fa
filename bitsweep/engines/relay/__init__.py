"""The classic engine: Relay and `relay.quantize`, of TVM 0.19 or before."""
