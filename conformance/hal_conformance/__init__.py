"""Conformance suites, oracles, scoring and reports for HAL devices."""

__version__ = "0.1.0"
