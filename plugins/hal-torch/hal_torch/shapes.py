"""Shape arithmetic on the host."""
from __future__ import annotations

from hal.kernels import KernelTable

SHAPES = KernelTable()
