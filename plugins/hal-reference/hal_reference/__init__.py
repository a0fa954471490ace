"""ONNX's reference evaluator as a HAL backend: the one device `reference:cpu`.

The evaluator is the operators' specification written in Python and NumPy: slow, and right unless
the specification says otherwise. `_backend` is the seam, `_values` the way of values in and out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hal.backend import Ability, BackendSpec, Choice, ReferenceUse
from hal.hookspecs import hookimpl

if TYPE_CHECKING:
    from hal.backend import Backend
    from hal.device import Device

__all__ = ["HAL_SEAM", "hal_backends"]

HAL_SEAM = 1


def _make() -> Backend:
    from hal_reference._backend import ReferenceBackend

    return ReferenceBackend()


def _repro(device: Device) -> str:
    return """from onnx.reference import ReferenceEvaluator


def run(model, inputs):
    return ReferenceEvaluator(model).run(None, inputs)
"""


@hookimpl
def hal_backends() -> list[BackendSpec]:
    """The backend `reference`."""
    return [
        BackendSpec(
            name="reference",
            factory=_make,
            summary="ONNX's reference evaluator",
            requires=("onnx",),
            install="pip install onnx",
            abilities=frozenset({Ability.PLACEMENT, Ability.CLOSE}),
            reference=ReferenceUse("reference:cpu", rank=30),  # last: minutes for a convolution
            repro=_repro,
            choices=(Choice(speed=0.01),),
        )
    ]
