"""The hooks that a plugin may implement.

A plugin is a module named by an entry point of the group `hal`. Importing it imports no vendor SDK.
pluggy is not needed to mark an implementation, so that a plugin also loads in an environment that
holds NumPy, `hal` and a vendor's SDK alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from hal.backend import BackendSpec
    from hal.policy import PolicySpec
    from hal.suite import SuiteSpec

__all__ = ["ENTRY_POINT_GROUP", "SEAM_VERSION", "hookimpl"]

PROJECT = "hal"
ENTRY_POINT_GROUP = "hal"
SEAM_VERSION = 1
"""A plugin module states the seam it was made for as `HAL_SEAM = 1`; without it, 1 is meant."""

_F = TypeVar("_F", bound=Callable[..., Any])


def hookimpl(function: _F) -> _F:
    """Mark a module-level function as the implementation of the hook of the same name."""
    # What pluggy's HookimplMarker("hal") sets; the tests hold the two equal.
    setattr(
        function,
        f"{PROJECT}_impl",
        {
            "wrapper": False,
            "hookwrapper": False,
            "optionalhook": False,
            "tryfirst": False,
            "trylast": False,
            "specname": None,
        },
    )
    return function


def _hookspec(function: _F) -> _F:
    setattr(
        function,
        f"{PROJECT}_spec",
        {"firstresult": False, "historic": False, "warn_on_impl": None, "warn_on_impl_args": None},
    )
    return function


@_hookspec
def hal_backends() -> Iterable[BackendSpec]:  # type: ignore[empty-body]
    """Called once when plugins are loaded. Returns the backends that the plugin provides."""


@_hookspec
def hal_suites() -> Iterable[SuiteSpec]:  # type: ignore[empty-body]
    """Called once when plugins are loaded. Returns the conformance suites that the plugin
    provides."""


@_hookspec
def hal_policies() -> Iterable[PolicySpec]:  # type: ignore[empty-body]
    """Called once when plugins are loaded. Returns the routing policies that the plugin
    provides."""
