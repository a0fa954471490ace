"""HAL: what any accelerator must be able to do, who can do it, and where your model runs best."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hal.backend import (
    Ability,
    Backend,
    BackendSpec,
    EnvironmentSpec,
    Executable,
    NumpyExecutable,
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

if TYPE_CHECKING:
    from hal.session import Session, load

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
    "NumpyExecutable",
    "OptionalValue",
    "Outcome",
    "OutcomeClass",
    "PlacedExecutable",
    "Placement",
    "SequenceValue",
    "Session",
    "Support",
    "Tensor",
    "UnsupportedNode",
    "Value",
    "hookimpl",
    "load",
]


def __getattr__(name: str) -> Any:
    # On first use: a plugin's environment has no pluggy, and `import hal` stays cheap.
    if name in ("Session", "load"):
        from hal import session

        return getattr(session, name)
    raise AttributeError(f"module 'hal' has no attribute {name!r}")
