"""ONNX Runtime as a HAL backend: every execution provider that it offers is a device.

`_providers` is the table of providers, `_backend` the seam, `_session` an executable, `_values` the
way of tensors in and out, `_errors` what its exceptions mean, `_placement` its assignment record,
`_start` the test whether a provider starts, `_support` what it says of a model, `_plugins` the
providers that are not its own. `session` is the public face for the plugins of those.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from hal.backend import Ability, BackendSpec, Choice, ReferenceUse
from hal.errors import AbsentError, UnavailableError
from hal.hookspecs import hookimpl
from hal.policy import PolicySpec

if TYPE_CHECKING:
    from hal.backend import Backend
    from hal.device import Device
    from hal.routing import Row

__all__ = ["HAL_SEAM", "hal_backends", "hal_policies"]

HAL_SEAM = 1
INSTALL = "pip install onnxruntime"


def _open() -> Backend:
    if importlib.util.find_spec("onnxruntime") is None:
        raise AbsentError("onnxruntime is not installed", next_step=INSTALL)
    try:
        import onnxruntime

        onnxruntime.disable_telemetry_events()
        onnxruntime.set_default_logger_severity(3)  # errors alone, on standard error
        from hal_onnxruntime._backend import OrtBackend
    except (ImportError, AttributeError, OSError) as error:
        # AttributeError: wheels that overwrote one another leave a package with holes.
        raise UnavailableError(
            f"onnxruntime cannot be used: {error}",
            next_step="uninstall every onnxruntime wheel, then install one: hal doctor names them",
        ) from error
    return OrtBackend()


def _repro(device: Device) -> str:
    from hal_onnxruntime._providers import of_name

    _, name, index = (*device.id.rpartition("/")[2].split(":"), "")[:3]
    row = of_name(name, ())
    provider = row.provider if row else "CPUExecutionProvider"
    options = dict(row.options) if row else {}
    if row and row.index_option and index:
        options[row.index_option] = index
    return f"""import onnxruntime


def run(model, inputs):
    providers = [({provider!r}, {options})]
    return onnxruntime.InferenceSession(model, providers=providers).run(None, inputs)
"""


@hookimpl
def hal_backends() -> list[BackendSpec]:
    """The backend `ort`. It requires no one distribution: a dozen wheels bring `onnxruntime`."""
    return [
        BackendSpec(
            name="ort",
            factory=_open,
            summary="ONNX Runtime's execution providers",
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
            conformance_options={"intra_op_threads": 1},
            reference=ReferenceUse("ort:cpu", rank=10),
            choices=(
                Choice(speed=1.0),
                Choice({"intra_op_threads": 1}, kinds=("cpu",), speed=0.6),
                Choice(precision="int8", variant="int8", kinds=("cpu",), speed=2.2),
                Choice(precision="int8", variant="int8-static", kinds=("cpu",), speed=1.8),
                Choice(precision="float16", variant="float16", kinds=("gpu", "npu"), speed=1.8),
                Choice(precision="bfloat16", variant="bfloat16", kinds=("gpu",), speed=1.8),
            ),
            repro=_repro,
        )
    ]


def _first_answer(row: Row) -> float:
    return row.compiled + row.median


@hookimpl
def hal_policies() -> tuple[PolicySpec, ...]:
    """`start`, for processes that live for a few runs: there the time to compile decides."""
    return (PolicySpec("start", _first_answer, "seconds from the load to the first answer"),)
