"""`hal conformance --show`: a case whole, as text or as JSON (`hal.case/1`)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx

from hal import Device, ElementType, MapValue, OptionalValue, SequenceValue, Tensor, Value
from hal.compare import Difference, compare, differences, relative_l2
from hal_conformance.case import Case, CaseFacts, HostedCase
from hal_conformance.inspection import Inspection
from hal_conformance.precision import marked, stated, tolerance

__all__ = ["SCHEMA", "document_of", "model_text", "text_of", "value_text"]

SCHEMA = "hal.case/1"

_ELEMENTS = 200  # of a value, in the text
_JSON_ELEMENTS = 10_000
_DIFFERENCES = 10
_CONSTANT = 64  # elements of an initializer that are printed


def text_of(inspection: Inspection) -> str:
    """The case as a person reads it."""
    return "\n".join(_lines(inspection)) + "\n"


def document_of(inspection: Inspection) -> dict[str, Any]:
    """The case as JSON data; values beyond 10,000 elements are cut off and marked so."""
    case, result = inspection.case, inspection.result
    document: dict[str, Any] = {
        "id": case.id,
        "device": {
            "id": inspection.device.id,
            "emulated": inspection.device.emulated,
            "precision": inspection.device.precision,
            "versions": dict(inspection.device.versions),
        },
        "options": dict(inspection.options),
        "outcome": result.outcome.value,
        "reason": result.reason,
        "evidence": result.evidence,
        "seconds": result.seconds,
        "operators": list(case.operators),
        "cells": list(case.cells),
        "disputed": case.disputed,
    }
    if isinstance(case, HostedCase):
        return {**document, "hosted": True, "note": _hosted(case)}
    return {
        **document,
        "hosted": False,
        "model": model_text(case),
        "opset": case.opset,
        "ir_version": case.ir_version,
        "judge": case.judge,
        "tolerance": {
            "rtol": case.rtol,
            "atol": case.atol,
            "source": case.tolerance_source,
            "precision": stated(inspection.device),
        },
        "oracles": case.oracles,
        "seed": case.seed,
        "data_sets": [
            {
                "inputs": _values_json(data_set.inputs),
                "expected": _values_json(data_set.outputs),
                "got": _values_json(got) if got is not None else None,
                "differences": {
                    name: [
                        {
                            "place": d.place,
                            "expected": _plain(d.expected),
                            "got": _plain(d.got),
                            "error": _plain(d.error),
                        }
                        for d in found
                    ]
                    for name, _, found in _compared(case, inspection.device, data_set.outputs, got)
                },
            }
            for data_set, got in _data_sets(inspection, case)
        ],
    }


def model_text(case: Case) -> str:
    """The model in ONNX's text form; long initializers are named, not printed."""
    model = onnx.ModelProto.FromString(case.model.data)
    notes = []
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) > _CONSTANT:
            kind = onnx.TensorProto.DataType.Name(tensor.data_type).lower()
            notes.append(f"# initializer {tensor.name}: {kind}{list(tensor.dims)}, not printed")
            tensor.ClearField("raw_data")
            tensor.dims[:] = [0]
    return "\n".join([onnx.printer.to_text(model).strip(), *notes])


def value_text(value: Value | None, limit: int = _ELEMENTS) -> str:
    """A value's type, shape and elements, those in the middle left out beyond `limit`."""
    if isinstance(value, Tensor):
        return f"{value.type} {list(value.shape)}\n{_elements(value, limit)}"
    if isinstance(value, SequenceValue):
        items = (f"[{i}] {value_text(item, limit)}" for i, item in enumerate(value.items))
        return "\n".join([f"{value.type} of {len(value.items)}", *items])
    if isinstance(value, MapValue):
        keys, values = (_elements(t, limit) for t in (value.keys, value.values))
        return f"{value.type} of {value.keys.size}\nkeys {keys}\nvalues {values}"
    if isinstance(value, OptionalValue):
        held = "empty" if value.value is None else value_text(value.value, limit)
        return f"{value.type}: {held}"
    return "nothing"


def _lines(inspection: Inspection) -> Iterator[str]:
    case, result, device = inspection.case, inspection.result, inspection.device
    yield f"{case.id} on {device.id}{marked(device)}"
    yield _row("outcome", result.outcome.value + (f" ({result.evidence})" * bool(result.evidence)))
    if result.reason:
        yield _row("reason", result.reason)
    if case.disputed:
        yield _row("disputed", f"not counted: {case.disputed}")
    versions = ", ".join(f"{k} {v}" for k, v in device.versions.items())
    if versions:
        yield _row("versions", versions)
    if inspection.options:
        yield _row("options", ", ".join(f"{k}={v}" for k, v in inspection.options.items()))
    yield _row("operators", ", ".join(case.operators))
    if isinstance(case, HostedCase):
        yield _hosted(case)
        return
    yield _row("cells", ", ".join(case.cells) or "none")
    yield _row("judged by", case.judge)
    yield _row("tolerance", f"{case.atol:g} + {case.rtol:g} * |expected|")
    yield _row("source", case.tolerance_source or "not stated")
    if stated(device):
        yield _row("but", f"{device.id} {stated(device)}")
    yield _row("expected by", case.oracles or "not stated")
    yield _row("seed", case.seed or "none: nothing is drawn")
    yield "model"
    yield _indented(model_text(case))
    for number, (data_set, got) in enumerate(_data_sets(inspection, case)):
        yield f"data set {number}" + ("" if got is not None else ": did not run to its end")
        for name, value in data_set.inputs.items():
            yield _indented(f"input {name} {value_text(value)}")
        for name, value in data_set.outputs.items():
            yield _indented(f"expected {name} {value_text(value)}")
            if got is not None:
                yield _indented(f"got {name} {value_text(got.get(name))}")
        for name, reason, found in _compared(case, device, data_set.outputs, got):
            yield _indented(f"output {name}: {reason}")
            yield from (_indented(_difference(d), 4) for d in found)


def _row(name: str, text: str) -> str:
    return f"  {name:<12}{text}"


def _indented(text: str, by: int = 2) -> str:
    return "\n".join((" " * by + line).rstrip() for line in text.splitlines())


def _hosted(case: CaseFacts) -> str:
    return (
        f"  The suite {case.suite} makes and judges its cases itself, in the backend's host "
        "process:\n  HAL knows the id, the operator and the verdict. There is no ONNX model, no "
        "input and no\n  tolerance to show here, and --repro has nothing to write."
    )


def _data_sets(
    inspection: Inspection, case: Case
) -> Iterator[tuple[Any, Mapping[str, Value] | None]]:
    for number, data_set in enumerate(case.data_sets):
        yield data_set, inspection.got[number] if number < len(inspection.got) else None


def _compared(
    case: Case,
    device: Device,
    expected: Mapping[str, Value],
    got: Mapping[str, Value] | None,
) -> Iterator[tuple[str, str, list[Difference]]]:
    """Name, reason and first differences of each output that is not as expected."""
    if got is None or case.judge == "statistics":
        return
    for name, value in expected.items():
        if name not in got:
            yield name, "missing", []
            continue
        rtol, atol = tolerance(case, device, value)
        reason = compare(value, got[name], rtol=rtol, atol=atol)
        if reason:
            norm = relative_l2(value, got[name])
            reason += f"; relative L2 error {norm:.3g}" if math.isfinite(norm) else ""
            found = differences(value, got[name], rtol=rtol, atol=atol, limit=_DIFFERENCES)
            yield name, reason, found


def _difference(difference: Difference) -> str:
    error = "" if math.isnan(difference.error) else f", error {difference.error:.3g}"
    values = (_shown(v) for v in (difference.expected, difference.got))
    return "{} expected {}, got {}".format(difference.place, *values) + error


def _shown(value: Any) -> str:
    plain = value.item() if isinstance(value, np.generic) else value
    return f"{plain:.9g}" if isinstance(plain, (float, complex)) else repr(plain)


def _elements(tensor: Tensor, limit: int) -> str:
    array = _array(tensor)
    return np.array2string(array, threshold=limit, floatmode="unique", separator=", ")


def _array(tensor: Tensor) -> Any:
    array = tensor.numpy()
    if tensor.element_type.is_native or tensor.element_type is ElementType.STRING:
        return array
    wide = "float32" if "FLOAT" in tensor.element_type.name else "int64"
    return array.astype(wide)


def _values_json(values: Mapping[str, Value]) -> dict[str, Any]:
    return {name: _value_json(value) for name, value in values.items()}


def _value_json(value: Value | None) -> Any:
    if isinstance(value, Tensor):
        flat = _array(value).reshape(-1)[:_JSON_ELEMENTS]
        return {
            "type": value.type,
            "shape": list(value.shape),
            "elements": _plain_all(flat),
            "truncated": value.size > _JSON_ELEMENTS,
        }
    if isinstance(value, SequenceValue):
        return {"type": value.type, "items": [_value_json(item) for item in value.items]}
    if isinstance(value, OptionalValue):
        return {"type": value.type, "value": _value_json(value.value)}
    if isinstance(value, MapValue):
        keys, values = _value_json(value.keys), _value_json(value.values)
        return {"type": value.type, "keys": keys, "values": values}
    return None


def _plain_all(values: Iterable[Any]) -> list[Any]:
    return [_plain(v) for v in values]


def _plain(value: Any) -> Any:
    """A JSON value: numbers that JSON lacks as "NaN", "Infinity" and "-Infinity", complex ones as
    [real, imaginary]."""
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, complex):
        return [_plain(plain.real), _plain(plain.imag)]
    if isinstance(plain, float) and not math.isfinite(plain):
        return "NaN" if math.isnan(plain) else "Infinity" if plain > 0 else "-Infinity"
    return plain
