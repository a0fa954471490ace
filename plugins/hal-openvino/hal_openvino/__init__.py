"""OpenVINO as a HAL backend: the devices that its Core lists, in float32 unless asked otherwise.

`_backend` is the seam, `_session` an executable, `_bound` one with its inputs in place, `_values`
the way of tensors in and out, `_errors` what its exceptions mean, `_placement` what its compiled
model tells of the nodes.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from hal.backend import Ability, BackendSpec, Choice, ReferenceUse
from hal.errors import AbsentError, UnavailableError
from hal.hookspecs import hookimpl

if TYPE_CHECKING:
    from hal.backend import Backend
    from hal.device import Device

__all__ = ["HAL_SEAM", "hal_backends"]

HAL_SEAM = 1
INSTALL = "pip install openvino"


def _open() -> Backend:
    if importlib.util.find_spec("openvino") is None:
        raise AbsentError("openvino is not installed", next_step=INSTALL)
    try:
        from hal_openvino._backend import OpenVinoBackend
    except (ImportError, AttributeError, OSError) as error:
        raise UnavailableError(
            f"openvino cannot be used: {error}",
            next_step="pip install --force-reinstall openvino",
        ) from error
    return OpenVinoBackend()


def _repro(device: Device) -> str:
    _, name, index = (*device.id.rpartition("/")[2].split(":"), "")[:3]
    target = name.upper() + (f".{index}" if index else "")
    return f"""import openvino


def run(model, inputs):
    hints = {{"INFERENCE_PRECISION_HINT": "f32"}}
    compiled = openvino.Core().compile_model(model, {target!r}, hints)
    ports = [name for port in compiled.inputs for name in port.names]
    return list(compiled({{k: v for k, v in inputs.items() if k in ports}}).values())
"""


@hookimpl
def hal_backends() -> list[BackendSpec]:
    """The backend `openvino`."""
    return [
        BackendSpec(
            name="openvino",
            factory=_open,
            summary="OpenVINO on Intel's and Arm's CPUs, Intel's GPUs and NPUs",
            requires=("openvino",),
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
            conformance_options={"threads": 1},
            reference=ReferenceUse("openvino:cpu", {"precision": "float32"}, rank=20),
            choices=(
                Choice(speed=1.0),
                Choice({"threads": 1}, kinds=("cpu",), speed=0.6),
                Choice({"ov.PERFORMANCE_HINT": "THROUGHPUT"}, speed=1.2, goal="throughput"),
                Choice({"precision": "bfloat16"}, "bfloat16", kinds=("cpu",), speed=1.7),
                Choice({"precision": "float16"}, "float16", kinds=("gpu", "npu"), speed=1.7),
                Choice(precision="int8", variant="int8-static", speed=2.2),
            ),
            repro=_repro,
        )
    ]
