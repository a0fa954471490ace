"""Splitting a model that no device takes whole: the fewest parts, each compiled for its device.

`plan` says how; `hal.load(model, split=True)` runs it; `to_dot` and `to_svg` draw it.
"""

from __future__ import annotations

from hal.split._engine import SplitEngine, open_split
from hal.split._picture import to_dot, to_svg
from hal.split._plan import Part, Plan, plan, refusal

__all__ = ["Part", "Plan", "SplitEngine", "open_split", "plan", "refusal", "to_dot", "to_svg"]
