"""The explanation: why an experiment is as fast as it is, computed from its profile."""
