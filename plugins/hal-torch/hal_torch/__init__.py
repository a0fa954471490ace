"""PyTorch as a HAL backend: one table of operator kernels for every device that PyTorch reaches.

`kernels` is the table, a module an operator family; `arrays` the way of values in and out;
`devices` what PyTorch and its out-of-tree backends list; `backend` options and the seam.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING

from hal.backend import Ability, BackendSpec, Choice, ReferenceUse
from hal.errors import AbsentError, UnavailableError
from hal.hookspecs import hookimpl

if TYPE_CHECKING:
    from hal.backend import Backend
    from hal.suite import SuiteSpec

__all__ = ["HAL_SEAM", "hal_backends", "hal_suites"]

HAL_SEAM = 1
INSTALL = "pip install torch"


def _backend() -> Backend:
    if importlib.util.find_spec("torch") is None:
        raise AbsentError("torch is not installed", next_step=INSTALL)
    try:
        importlib.import_module("hal_torch._compat")
    except (ImportError, OSError, AttributeError) as error:
        raise UnavailableError(
            f"torch is installed, but cannot be imported: {error}",
            next_step="pip install --force-reinstall torch",
        ) from error
    from hal_torch.backend import TorchBackend

    return TorchBackend()


@hookimpl
def hal_backends() -> list[BackendSpec]:
    """The backend `torch`."""
    return [
        BackendSpec(
            name="torch",
            factory=_backend,
            summary="ONNX on PyTorch's devices",
            requires=("torch",),
            install=INSTALL,
            abilities=frozenset(
                {
                    Ability.PLACEMENT,
                    Ability.CLOSE,
                    Ability.THREAD_SAFE_RUN,
                    Ability.BIND,
                    Ability.NUMPY,
                }
            ),
            reference=ReferenceUse("torch:cpu", {"precision": "float64"}, "float64", rank=0),
            choices=(
                Choice(speed=0.5),
                Choice({"mode": "compile"}, speed=0.75, seconds=10.0),
                Choice({"precision": "bfloat16"}, "bfloat16", speed=0.6),
                Choice(
                    {"mode": "compile", "precision": "bfloat16"},
                    "bfloat16",
                    speed=1.0,
                    seconds=10.0,
                ),
            ),
        )
    ]


@hookimpl
def hal_suites() -> tuple[SuiteSpec, ...]:
    """PyTorch's own operators: `torch` in float32, `torch-all` in every dtype."""
    from hal_torch.opinfo import SUITES

    return SUITES
