"""The contract: every ONNX operator, version and type that a backend can be measured on.

At run time it needs only the standard library; its data comes from a file generated from the pinned
onnx package (see `hal.contract.generate`).
"""

from __future__ import annotations

from hal.contract._contract import Contract, contract, count
from hal.contract.model import (
    CONTRIBUTED_DOMAIN,
    DEFAULT_DOMAIN,
    STABLE_DOMAINS,
    UNBOUNDED,
    Attribute,
    Cell,
    Operator,
    Parameter,
    TypeConstraint,
    operator_key,
)
from hal.contract.profiles import Profile, ProfileGroup, profile_for_kind, profile_names

__all__ = [
    "CONTRIBUTED_DOMAIN",
    "DEFAULT_DOMAIN",
    "STABLE_DOMAINS",
    "UNBOUNDED",
    "Attribute",
    "Cell",
    "Contract",
    "Operator",
    "Parameter",
    "Profile",
    "ProfileGroup",
    "TypeConstraint",
    "contract",
    "count",
    "operator_key",
    "profile_for_kind",
    "profile_names",
]
