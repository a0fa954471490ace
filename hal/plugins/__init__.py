"""Discovery: which plugins are installed, the backends and suites that they provide, and the
state of each."""

from __future__ import annotations

from hal.plugins._load import load_backend, load_plugins
from hal.plugins._registry import Registry
from hal.plugins._status import (
    BackendStatus,
    PluginStatus,
    RegisteredBackend,
    RegisteredPolicy,
    RegisteredSuite,
    State,
)

__all__ = [
    "BackendStatus",
    "PluginStatus",
    "RegisteredBackend",
    "RegisteredPolicy",
    "RegisteredSuite",
    "Registry",
    "State",
    "load_backend",
    "load_plugins",
]
