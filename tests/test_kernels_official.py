"""The base against ONNX's official node cases, with the reference evaluator's operators as kernels.

The reference's classes give a nearly complete NumPy table, so that what is judged here is the base:
reading, types, attributes, optional inputs and outputs, control flow, sequences, inlining.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases
from onnx.reference.ops import load_op

import hal
from hal.contract import contract
from hal.graph import read_model
from hal.kernels import KernelBackend, KernelTable, NodeInfo, NumpyArrays
from hal.tensor import OptionalValue, SequenceValue, Tensor

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::DeprecationWarning")

CPU = hal.Device("test:cpu", "cpu")
PILLOW = "image_decoder"  # needs a library that is not installed
RANDOM = "bernoulli"
NOT_HERE = {  # operators that the reference evaluator has no loadable class for
    "ai.onnx.ml",
    "ai.onnx.preview.training",
}


def kernel(cls: type, op_type: str, domain: str) -> Any:
    def run(*xs: Any, node: NodeInfo, **attributes: Any) -> Any:
        given = {
            k: numpy_helper.from_array(v) if isinstance(v, np.ndarray) else v
            for k, v in attributes.items()
        }
        proto = helper.make_node(
            op_type,
            [f"i{i}" if x is not None else "" for i, x in enumerate(xs)],
            [f"o{i}" for i in range(node.outputs)],
            domain=domain,
            **given,
        )
        params = {
            "log": lambda *_: None,
            "opsets": {"": contract().newest_opset(""), domain: node.opset},
            "verbose": 0,
            "new_ops": None,
            "existing_functions": {},
            "evaluator_cls": None,
        }
        results = cls(proto, params).run(*xs)
        return tuple(results) if node.outputs > 1 else results[0]

    return run


def reference_table(*, functions: bool) -> KernelTable:
    table = KernelTable()
    for operator in contract().all_versions:
        domain = "" if operator.domain == "ai.onnx" else operator.domain
        if operator.deprecated or (operator.function and not functions):
            continue
        try:
            cls = load_op(domain, operator.name, operator.since_version)
        except (AssertionError, ValueError, NotImplementedError, RuntimeError):
            continue
        row = table.kernel(operator.name, operator.since_version, domain=domain)
        row(kernel(cls, operator.name, domain))
    return table


def value(item: Any, type_: str) -> Any:
    if isinstance(item, list):
        inner = type_.removeprefix("optional(").removeprefix("seq(").rstrip(")") + ")"
        return SequenceValue(f"seq({inner})", tuple(value(i, inner) for i in item))
    if isinstance(item, onnx.TensorProto):
        item = numpy_helper.to_array(item)
    return Tensor.from_numpy(np.asarray(item))


def plain(item: Any) -> Any:
    if isinstance(item, Tensor):
        return item.numpy()
    if isinstance(item, SequenceValue):
        return [plain(i) for i in item.items]
    return plain(item.value) if isinstance(item, OptionalValue) else item


def close(want: Any, got: Any, rtol: float, atol: float) -> None:
    if isinstance(want, list):
        assert len(got) == len(want)
        for w, g in zip(want, got, strict=True):
            close(w, g, rtol, atol)
        return
    if want is None:
        assert got is None
        return
    want = numpy_helper.to_array(want) if isinstance(want, onnx.TensorProto) else np.asarray(want)
    assert got.shape == want.shape
    if want.dtype.kind in "OUT":
        assert got.astype(str).tolist() == want.astype(str).tolist()
        return
    assert got.dtype == want.dtype
    if want.dtype.name == "bfloat16":  # the official 1e-3 is below its rounding, 2**-8
        rtol = max(rtol, 2**-7)
    wide = np.complex128 if want.dtype.kind == "c" else np.float64
    np.testing.assert_allclose(got.astype(wide), want.astype(wide), rtol=rtol, atol=atol)


def same(first: Any, second: Any) -> None:
    if isinstance(first, list):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            same(one, other)
    else:
        assert first.dtype == second.dtype
        np.testing.assert_array_equal(first, second)


def run_case(backend: KernelBackend, case: Any, *, judge: bool = True) -> Any:
    model = hal.Model(case.model.SerializeToString())
    executable = backend.compile(CPU, model, {})
    declared = read_model(model).graph.inputs
    for inputs, outputs in case.data_sets:
        feeds = {
            info.name: value(item, info.type)
            for info, item in zip(declared, inputs, strict=False)
            if item is not None
        }
        got = executable.run(feeds)
        if judge:
            for info, want in zip(case.model.graph.output, outputs, strict=True):
                close(want, plain(got[info.name]), case.rtol, max(case.atol, 1e-6))
    return executable


@functools.cache
def cases() -> dict[str, Any]:
    return {case.name: case for case in collect_testcases()}


@pytest.mark.parametrize("functions", [True, False], ids=["whole-table", "functions-inlined"])
def test_official_cases(functions: bool) -> None:
    backend = KernelBackend([CPU], reference_table(functions=functions), NumpyArrays())
    failed: dict[str, str] = {}
    passed = 0
    for name, case in cases().items():
        if PILLOW in name:
            continue
        try:
            run_case(backend, case, judge=RANDOM not in name)
            passed += 1
        except (hal.errors.HalError, AssertionError) as error:
            failed[name] = f"{type(error).__name__}: {str(error)[:150]}"
    assert {n: why for n, why in failed.items() if not excused(n, why)} == {}
    assert passed > 1840


def excused(name: str, why: str) -> bool:
    """Cases that fail for want of a kernel, or by the reference's own fault."""
    lacks = why.startswith("UnsupportedError") and (
        any(f"{domain}::" in why for domain in NOT_HERE) or "Scatter-9" in why
    )
    # The reference evaluator ignores the default axes of MeanVarianceNormalization, too.
    return lacks or (name == "test_mvn" and "AssertionError" in why)


def test_expansions_give_what_the_operator_gives() -> None:
    """An official expanded case and its operator, inlined here, agree to the last bit."""
    table = reference_table(functions=False)
    backend = KernelBackend([CPU], table, NumpyArrays())
    compared = 0
    for name, case in cases().items():
        expanded = cases().get(f"{name}_expanded")
        if expanded is None or RANDOM in name or not name.startswith("test_s"):
            continue
        results = []
        for each in (case, expanded):
            inputs = [v.name for v in each.model.graph.input]
            executable = backend.compile(CPU, hal.Model(each.model.SerializeToString()), {})
            declared = read_model(hal.Model(each.model.SerializeToString())).graph.inputs
            feeds = {
                n: value(i, info.type)
                for n, i, info in zip(inputs, each.data_sets[0][0], declared, strict=True)
            }
            results.append(list(executable.run(feeds).values()))
        for whole, part in zip(*results, strict=True):
            same(plain(whole), plain(part))
        compared += 1
    assert compared > 40
