"""HAL: what any accelerator must be able to do, who can do it, and where your model runs best."""

from __future__ import annotations

from hal.backend import (
    Ability,
    Backend,
    BackendSpec,
    EnvironmentSpec,
    Executable,
    PlacedExecutable,
    Support,
    UnsupportedNode,
)
from hal.device import Device
from hal.hookspecs import hookimpl
from hal.model import Model
from hal.outcome import Outcome, OutcomeClass
from hal.placement import Evidence, NodePlacement, Placement
from hal.tensor import MapValue, OptionalValue, SequenceValue, Tensor, Value
from hal.types import ElementType

__version__ = "0.1.0"

__all__ = [
    "Ability",
    "Backend",
    "BackendSpec",
    "Device",
    "ElementType",
    "EnvironmentSpec",
    "Evidence",
    "Executable",
    "MapValue",
    "Model",
    "NodePlacement",
    "OptionalValue",
    "Outcome",
    "OutcomeClass",
    "PlacedExecutable",
    "Placement",
    "SequenceValue",
    "Support",
    "Tensor",
    "UnsupportedNode",
    "Value",
    "hookimpl",
]
