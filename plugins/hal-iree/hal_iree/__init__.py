"""IREE as a HAL backend: `iree:cpu` (local-task), and `iree:vulkan`, `:cuda`, `:hip`, `:metal`.

`_devices` lists what the runtime's drivers find, each asked in a process of its own; `_compiler`
makes a module of a model, and keeps it on disk; `_backend` is the seam.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from hal.backend import Ability, BackendSpec
from hal.errors import AbsentError, UnavailableError
from hal.hookspecs import hookimpl

if TYPE_CHECKING:
    from hal.backend import Backend

__all__ = ["HAL_SEAM", "hal_backends"]

HAL_SEAM = 1
INSTALL = "pip install iree-base-compiler iree-base-runtime"


def _open() -> Backend:
    for module in ("iree.compiler", "iree.runtime"):
        try:
            found = importlib.util.find_spec(module)
        except ModuleNotFoundError:
            found = None
        if found is None:
            raise AbsentError(f"{module} is not installed", next_step=INSTALL)
    try:
        from hal_iree._backend import IreeBackend
    except ImportError as error:
        raise UnavailableError(f"this IREE cannot be used: {error}", next_step=INSTALL) from error
    return IreeBackend()


@hookimpl
def hal_backends() -> list[BackendSpec]:
    """The backend `iree`."""
    return [
        BackendSpec(
            name="iree",
            factory=_open,
            summary="ONNX compiled by IREE",
            requires=("iree-base-compiler", "iree-base-runtime"),
            install=INSTALL,
            abilities=frozenset({Ability.PLACEMENT, Ability.CLOSE, Ability.BIND}),
            conformance_options={"cache": False},
        )
    ]
