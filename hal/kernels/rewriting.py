"""What a backend that rewrites programs sees of them: see `KernelBackend.rewrite`."""

from __future__ import annotations

from hal.kernels._program import Block, Constants, Step, Value

__all__ = ["Block", "Constants", "Step", "Value"]
