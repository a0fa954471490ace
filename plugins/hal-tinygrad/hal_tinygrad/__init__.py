"""tinygrad as a HAL backend: `tinygrad:cl` (OpenCL), `tinygrad:amd`, `tinygrad:nv`, ...

`_devices` lists what tinygrad can open, each tried in a process of its own; `_backend` is the seam;
`_values` are tensors on their way in and out; `_compat` is what HAL needs of tinygrad's internals.
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
INSTALL = "pip install 'tinygrad>=0.14'"


def _open() -> Backend:
    if importlib.util.find_spec("tinygrad") is None:
        raise AbsentError("tinygrad is not installed", next_step=INSTALL)
    try:
        from hal_tinygrad._backend import TinygradBackend
    except ImportError as error:
        raise UnavailableError(
            f"this tinygrad cannot be used: {error}", next_step=INSTALL
        ) from error
    return TinygradBackend()


@hookimpl
def hal_backends() -> list[BackendSpec]:
    """The backend `tinygrad`."""
    return [
        BackendSpec(
            name="tinygrad",
            factory=_open,
            summary="ONNX on the devices that tinygrad reaches",
            requires=("tinygrad",),
            install=INSTALL,
            abilities=frozenset({Ability.PLACEMENT, Ability.CLOSE}),
        )
    ]
