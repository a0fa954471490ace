"""Routing: which device, options and variant run a model best, by measurement.

`route` decides, and a `Route` is the decision with its evidence; `Candidate` is one way to run a
model; `Engine` answers requests with one.
"""

from __future__ import annotations

from hal.routing._candidate import Candidate
from hal.routing._engine import Bound, Engine, HostedEngine, LocalEngine, open_engine
from hal.routing._evidence import record_evidence, record_times
from hal.routing._policy import GOALS, Policy
from hal.routing._report import Route, Row
from hal.routing._route import route

__all__ = [
    "GOALS",
    "Bound",
    "Candidate",
    "Engine",
    "HostedEngine",
    "LocalEngine",
    "Policy",
    "Route",
    "Row",
    "open_engine",
    "record_evidence",
    "record_times",
    "route",
]
