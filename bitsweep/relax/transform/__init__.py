"""The quantizer's passes: canonicalise, annotate, calibrate, round_weights, realise, pack."""
