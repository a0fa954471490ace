"""Proof that a script needs neither HAL nor onnx."""

from __future__ import annotations

__all__ = ["BLOCKER"]

BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("hal", "onnx") or name.startswith("hal_"):
            raise ModuleNotFoundError(f"blocked: {name}", name=name)

sys.meta_path.insert(0, Blocker())
"""
"""Source to run before a script: after it nothing of HAL, and not onnx, can be imported."""
