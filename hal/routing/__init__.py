"""Routing: which device, options and variant run a model best, by measurement.

`Candidate` is one way to run a model; `Engine` answers requests with one.
"""

from __future__ import annotations

from hal.routing._candidate import Candidate
from hal.routing._engine import Bound, Engine, HostedEngine, LocalEngine, open_engine

__all__ = ["Bound", "Candidate", "Engine", "HostedEngine", "LocalEngine", "open_engine"]
