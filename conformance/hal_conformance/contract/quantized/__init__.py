"""Quantised forms: operators between DequantizeLinear and QuantizeLinear, as quantisers write.

See docs/contract-suite.md.
"""
