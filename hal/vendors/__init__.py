"""Vendors: under which device ids each one's hardware is reached, what that needs, and how far it
is verified.

`vendors.toml` is the table; `hal doctor VENDOR` and docs/vendors.md derive from it. Nothing here
imports a vendor's package or asks a driver: `inspect` looks for files, commands and distributions.
"""

from __future__ import annotations

from hal.vendors._inspect import Finding, inspect
from hal.vendors._table import Need, Route, Vendor, Verified, find_vendor, markdown, vendors

__all__ = [
    "Finding",
    "Need",
    "Route",
    "Vendor",
    "Verified",
    "find_vendor",
    "inspect",
    "markdown",
    "vendors",
]
