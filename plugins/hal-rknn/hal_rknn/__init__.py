"""Rockchip's NPUs as a HAL backend: `rknn:rk3588-sim` and its kin, the vendor's simulator on a PC,
and `rknn:rk3588` for a board that adb reaches.

The engine is rknn-toolkit2, whose pins clash with everyone else's, so that it lives in an
environment of its own (`rknn.lock.txt`; `hal env create rknn`). `_backend` is the seam, `_toolkit`
the calls into the SDK and what it prints, `_layers` its table of layers, `_boards` what adb finds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hal.backend import Ability, BackendSpec, EnvironmentSpec
from hal.errors import UnavailableError
from hal.hookspecs import hookimpl

if TYPE_CHECKING:
    from hal.backend import Backend

__all__ = ["HAL_SEAM", "hal_backends"]

HAL_SEAM = 1


def _open() -> Backend:
    try:
        from hal_rknn._backend import RknnBackend
    except (ImportError, OSError) as error:
        raise UnavailableError(
            f"rknn-toolkit2 cannot be used: {error}", next_step="hal env create rknn"
        ) from error
    return RknnBackend()


@hookimpl
def hal_backends() -> list[BackendSpec]:
    """The backend `rknn`."""
    return [
        BackendSpec(
            name="rknn",
            factory=_open,
            summary="Rockchip's NPUs, or the vendor's simulator of them",
            requires=("rknn-toolkit2",),
            install="hal env create rknn",
            abilities=frozenset({Ability.PLACEMENT, Ability.CLOSE}),
            environment=EnvironmentSpec("rknn", "rknn.lock.txt", python=">=3.10,<3.13"),
        )
    ]
