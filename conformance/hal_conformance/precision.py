"""The tolerance for a device that computes a model's float32 in half precision.

Only a device that declares it (`hal.Device.precision`) is judged so, only where float32 or float64
is expected, and the report says it. |got - expected| <= atol + rtol * |expected| with, in units of
the last place of the half-precision type (`CLASSES["composed"]`, halves):

- rtol = 4 ULP: the operands, the result and what is computed between them are each rounded;
- atol = 2 ULP of the largest number expected in that output: where terms cancel, the roundings of
  the operands stay, and they are as large as the operands.
"""

from __future__ import annotations

import numpy as np

from hal import Device, ElementType, OptionalValue, SequenceValue, Tensor, Value
from hal_conformance.case import CaseFacts
from hal_conformance.contract.numbers import epsilon
from hal_conformance.contract.tolerance import CLASSES

__all__ = ["marked", "stated", "tolerance"]

_RELATIVE = CLASSES["composed"].half
_OF_LARGEST = 2.0
_TYPES = {"float16": ElementType.FLOAT16, "bfloat16": ElementType.BFLOAT16}
_WIDER = (ElementType.FLOAT, ElementType.DOUBLE)


def tolerance(case: CaseFacts, device: Device, expected: Value) -> tuple[float, float]:
    """rtol and atol, as `hal.compare.compare` takes them, for one output of a case on a device."""
    half = _TYPES.get(device.precision)
    if half is None:
        return case.rtol, case.atol
    largest = _largest(expected)
    if largest is None:
        return case.rtol, case.atol
    ulp = epsilon(half)
    return max(case.rtol, _RELATIVE * ulp), max(case.atol, _OF_LARGEST * ulp * largest)


def stated(device: Device) -> str:
    """What a report says of it; "" for a device that is judged by the suite's own tolerances."""
    half = _TYPES.get(device.precision)
    if half is None:
        return ""
    ulp = epsilon(half)
    return (
        f"computes float32 in {device.precision}, and is judged by that type's tolerance where "
        f"float32 is expected: {_OF_LARGEST * ulp:.3g} * the largest |expected| + "
        f"{_RELATIVE * ulp:.3g} * |expected|"
    )


def marked(device: Device) -> str:
    """What stands behind the device's name in tables, e.g. " (emulated, float16)"."""
    return f" ({', '.join(device.marks)})" if device.marks else ""


def _largest(value: Value | None) -> float | None:
    """The largest finite magnitude of what is of a wider type; None if nothing is."""
    if isinstance(value, Tensor):
        if value.element_type not in _WIDER:
            return None
        numbers = np.abs(value.bits())
        return float(np.max(numbers, initial=0.0, where=np.isfinite(numbers)))
    if isinstance(value, OptionalValue):
        return _largest(value.value)
    if isinstance(value, SequenceValue):
        found = [each for item in value.items if (each := _largest(item)) is not None]
        return max(found, default=None)
    return None
