"""A sample of ONNX's official cases through the seam, judged without HAL's own comparison."""

from __future__ import annotations

import functools
import importlib
import warnings
from typing import Any

import numpy as np
import onnx
import pytest
from hal_reference._backend import ReferenceBackend

from hal import MapValue, Model, OptionalValue, SequenceValue, Tensor, Value

MODULES = (
    "add",
    "ai_onnx_ml.label_encoder",
    "ai_onnx_ml.tree_ensemble",
    "bitcast",
    "cast",
    "dequantizelinear",
    "gelu",
    "identity",
    "if_",
    "layernormalization",
    "loop",
    "optionalgetelement",
    "optionalhaselement",
    "quantizelinear",
    "reducemax",
    "regex_full_match",
    "sequence_map",
    "sequenceinsert",
    "shape",
    "softmax",
    "splittosequence",
    "string_concat",
    "string_split",
    "stringnormalizer",
    "topk",
    "where",
)
CASE = "onnx.backend.test.case.node"


def _collect() -> list[Any]:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for name in MODULES:
            importlib.import_module(f"{CASE}.{name}")
    # Other tests of the same process may have imported more.
    wanted = tuple(name.partition(".")[2] or name.rstrip("_") for name in MODULES)
    plain = [w.replace("_", "") for w in wanted]
    return [
        case
        for case in importlib.import_module(CASE)._NodeTestCases
        if any(case.name.removeprefix("test_").replace("_", "").startswith(p) for p in plain)
        or case.name.startswith("test_ai_onnx_ml")
    ]


@functools.cache
def _cases() -> dict[str, Any]:
    return {case.name: case for case in _collect()}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case_name" in metafunc.fixturenames:
        metafunc.parametrize("case_name", sorted(_cases()))


def test_official_case(case_name: str) -> None:
    case = _cases()[case_name]
    backend = ReferenceBackend()
    model = Model(case.model.SerializeToString())
    assert backend.supports(backend.devices()[0], model).supported
    executable = backend.compile(backend.devices()[0], model, {})
    for inputs, outputs in case.data_sets:
        feeds = {
            info.name: value_of(raw, info.type)
            for info, raw in zip(case.model.graph.input, inputs, strict=True)
        }
        results = executable.run(feeds)
        assert list(results) == [info.name for info in case.model.graph.output]
        for expected, (name, got) in zip(outputs, results.items(), strict=True):
            same(expected, got, name, case.rtol, case.atol)


def test_the_sample_holds_every_kind_of_value() -> None:
    types = {
        repr(info.type)
        for case in _cases().values()
        for info in (*case.model.graph.input, *case.model.graph.output)
    }
    text = "".join(types)
    assert "sequence_type" in text
    assert "optional_type" in text
    numbers = {
        info.type.tensor_type.elem_type
        for case in _cases().values()
        for info in (*case.model.graph.input, *case.model.graph.output)
    }
    proto = onnx.TensorProto
    assert numbers >= {
        proto.BFLOAT16,
        proto.FLOAT16,
        proto.FLOAT8E4M3FN,
        proto.FLOAT8E5M2FNUZ,
        proto.FLOAT4E2M1,
        proto.INT4,
        proto.UINT4,
        proto.STRING,
        proto.BOOL,
    }


def value_of(raw: Any, proto: onnx.TypeProto) -> Value:
    """HAL's value of a test case's array, list or None."""
    if proto.HasField("optional_type"):
        inner = None if raw is None else value_of(raw, proto.optional_type.elem_type)
        return OptionalValue("optional", inner)
    if proto.HasField("sequence_type"):
        return SequenceValue("seq", tuple(value_of(r, proto.sequence_type.elem_type) for r in raw))
    return Tensor.from_numpy(array_of(raw))


def array_of(raw: Any) -> np.ndarray[Any, Any]:
    """The array of a test case's tensor, which is one already unless NumPy lacks its type."""
    return onnx.numpy_helper.to_array(raw) if isinstance(raw, onnx.TensorProto) else np.asarray(raw)


def same(expected: Any, got: Value, name: str, rtol: float, atol: float) -> None:
    """Assert equality of types, shapes and (within tolerance) values."""
    if isinstance(got, OptionalValue):
        if got.value is None:
            assert expected is None
        else:
            same(expected, got.value, name, rtol, atol)
        return
    if isinstance(got, SequenceValue):
        assert isinstance(expected, list), name
        assert len(got.items) == len(expected), name
        for e, g in zip(expected, got.items, strict=True):
            same(e, g, name, rtol, atol)
        return
    assert not isinstance(got, MapValue)
    array = got.numpy()
    expected = array_of(expected)
    assert array.shape == expected.shape, name
    if expected.dtype.kind in "OUS":
        assert array.dtype == object
        assert array.ravel().tolist() == expected.astype(object).ravel().tolist()
        return
    assert array.dtype == expected.dtype, name
    wide = np.complex128 if array.dtype.kind == "c" else np.float64
    np.testing.assert_allclose(array.astype(wide), expected.astype(wide), rtol=rtol, atol=atol)
