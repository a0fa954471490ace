"""The operator table: every family's rows.

One module a family of the standard, each with a `table` of rows; how a kernel is written is in
`hal.kernels`.
"""

from __future__ import annotations

import importlib

from hal.kernels import KernelTable

__all__ = ["FAMILIES", "TABLE"]

FAMILIES = (
    "math",
    "logical",
    "reduction",
    "activation",
    "cast",
    "quantization",
    "generator",
    "conv",
    "pool",
    "norm",
    "resize",
    "vision",
    "rnn",
    "loss",
    "linear",
    "attention",
    "shape",
    "indexing",
    "signal",
    "ml",
    "trees",
    "text",
    "training",
    "microsoft",
)
"""The modules of this package that hold rows, in the order in which the table takes them."""


def _merged() -> KernelTable:
    table = KernelTable()
    for family in FAMILIES:
        table.update(importlib.import_module(f"{__name__}.{family}").table)
    return table


TABLE = _merged()
"""Every kernel of the backend."""
