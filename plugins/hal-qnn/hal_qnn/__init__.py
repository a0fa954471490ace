"""Qualcomm's Hexagon NPU as a HAL backend: `qnn:htp` on a Snapdragon, and `qnn:htp-emulator`, the
vendor's emulator of it, on x86-64 Linux.

The engine is onnxruntime's QNN execution provider, a plugin library in the wheel onnxruntime-qnn;
sessions, values and errors are hal-onnxruntime's. `_backend` is the seam, `_options` its options,
`_executable` a compiled model, `_cache` the compiled contexts on disk, `_compat` workarounds.
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
INSTALL = "pip install onnxruntime-qnn"


def _open() -> Backend:
    for module in ("onnxruntime", "onnxruntime_qnn"):
        if importlib.util.find_spec(module) is None:
            raise AbsentError(f"{module} is not installed", next_step=INSTALL)
    try:
        import onnxruntime

        onnxruntime.disable_telemetry_events()
        onnxruntime.set_default_logger_severity(3)  # errors alone, on standard error
        from hal_qnn._backend import QnnBackend
    except (ImportError, AttributeError, OSError) as error:
        raise UnavailableError(
            f"onnxruntime-qnn cannot be used: {error}",
            next_step="pip install --force-reinstall onnxruntime onnxruntime-qnn",
        ) from error
    return QnnBackend()


@hookimpl
def hal_backends() -> list[BackendSpec]:
    """The backend `qnn`."""
    return [
        BackendSpec(
            name="qnn",
            factory=_open,
            summary="Qualcomm's Hexagon NPU, or the vendor's emulator of it",
            requires=("onnxruntime-qnn",),
            install=INSTALL,
            abilities=frozenset({Ability.PLACEMENT, Ability.CLOSE}),
        )
    ]
