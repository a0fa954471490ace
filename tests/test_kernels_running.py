"""The kernel-backend base: bad calls, errors, functions, threads, large and random graphs."""

from __future__ import annotations

import concurrent.futures
import sys
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy_kernels import CPU, I64, F, X, backend, make, node, places, run
from onnx import helper

from hal.errors import (
    ExecutionError,
    ModelError,
    SkewError,
    UsageError,
)
from hal.kernels import KernelTable
from hal.tensor import Tensor


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({}, "input 'x' (tensor(float)[n, 3]) is missing"),
        ({"x": X, "zz": X}, "the model has no input 'zz', it has 'x'."),
        ({"X": X, "x": X}, "no input 'X'"),
        (
            {"x": X.astype(np.float64)},
            "input 'x': expected tensor(float)[n, 3], got tensor(double)[1, 3]",
        ),
        ({"x": X[0]}, "input 'x': expected tensor(float)[n, 3], got tensor(float)[3]"),
        ({"x": X[:, :2]}, "input 'x': expected tensor(float)[n, 3], got tensor(float)[1, 2]"),
    ],
    ids=["missing", "unknown", "case", "dtype", "rank", "size"],
)
def test_bad_feeds(feeds, message):
    model = make([node("Neg", "x", "y")], [("x", F, ["n", 3])])
    with pytest.raises(UsageError) as caught:
        run(model, **feeds)
    assert message in str(caught.value)


def test_unknown_option():
    with pytest.raises(UsageError, match=r"no option 'modes'\. Did you mean 'mode'\?"):
        backend(options=("mode",)).compile(CPU, make([], [], []), {"modes": 1})


def test_what_a_kernel_raises_names_its_node():
    nodes = [node("Neg", "x", "a", "first"), node("Add", ["a", "b"], "y", "second")]
    with pytest.raises(ExecutionError, match=r"^node 'second' \(Add\): ValueError: operands"):
        run(make(nodes, ["x", "b"]), x=X, b=np.zeros(2, np.float32))


def test_a_wrong_dtype_is_reported():
    table = KernelTable()
    table.kernel("Neg", 13)(lambda x: x.astype(np.float64))
    with pytest.raises(ExecutionError, match=r"output 'y' .*float64, expected float32"):
        run(make([node("Neg", "x", "y")], ["x"]), table, x=X)


def test_skew():
    newer = make([], [], [], opset_imports=[helper.make_opsetid("", 99)])
    with pytest.raises(SkewError, match=r"imports opset 99 of ai\.onnx; the contract"):
        backend().compile(CPU, newer, {})
    ir = make([], [], [], ir_version=99)
    with pytest.raises(SkewError, match="IR version 99"):
        backend().supports(CPU, ir)


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ([node("Neg", ["x", "x"], "y")], "2 inputs, Neg-13 takes 1 to 1"),
        ([node("Neg", [""], "y")], "0 inputs"),
        ([node("Neg", "x", ["y", "z"])], "2 outputs"),
        ([node("Concat", "x", "y")], "attribute 'axis' is missing"),
        ([node("Add", ["x", "i"], "y")], "inputs 0 and 1 both have the type T"),
        (
            [node("Less", ["x", "x"], "b"), node("Neg", "b", "y")],
            r"input 0 \(X\) is tensor\(bool\)",
        ),
        ([node("Neg", "x", "y", domain="what")], "does not import the domain 'what'"),
    ],
)
def test_invalid_calls(nodes, reason):
    model = make(nodes, ["x", ("i", I64, None)])
    with pytest.raises(ModelError, match=reason):
        backend().compile(CPU, model, {})


def test_local_functions_run_without_onnx(monkeypatch):
    body = [
        helper.make_node("Neg", ["p"], ["n"]),
        helper.make_node("Concat", ["n", "q"], ["r"]),
    ]
    body[1].attribute.append(onnx.AttributeProto(name="axis", ref_attr_name="at", type=2))
    inner = helper.make_function(
        "local", "Inner", ["p", "q"], ["r"], body, [helper.make_opsetid("", 13)], ["at"]
    )
    outer_node = helper.make_node("Inner", ["a", "a"], ["b"], domain="local")
    outer_node.attribute.append(onnx.AttributeProto(name="at", ref_attr_name="axis", type=2))
    outer = helper.make_function(
        "local",
        "Outer",
        ["a"],
        ["b"],
        [outer_node],
        [helper.make_opsetid("local", 1)],
        [],
        [helper.make_attribute("axis", 1)],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("local", 1)]
    model = make(
        [node("Outer", "x", "y", "call", domain="local")],
        ["x"],
        functions=[inner, outer],
        opset_imports=opsets,
    )
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert run(model, x=X)["y"].tolist() == [[-1, 2, -3, 1, -2, 3]]
    assert places(model) == {"call": "test:cpu"}


def test_recursive_function_is_refused():
    call = helper.make_node("F", ["a"], ["b"], domain="local")
    opset = helper.make_opsetid("local", 1)
    function = helper.make_function("local", "F", ["a"], ["b"], [call], [opset])
    model = make(
        [node("F", "x", "y", domain="local")], ["x"], functions=[function], opset_imports=[opset]
    )
    with pytest.raises(ModelError, match="calls itself"):
        backend().compile(CPU, model, {})


def test_function_bodies_that_explode_are_refused(monkeypatch):
    monkeypatch.setattr("hal.kernels._lower.LARGEST_PROGRAM", 1000)
    functions = []
    for level in range(12):
        inner, domain = ("Neg", "") if not level else (f"F{level - 1}", "local")
        calls = [helper.make_node(inner, [f"v{i}"], [f"v{i + 1}"], domain=domain) for i in range(4)]
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid("local", 1)]
        functions.append(helper.make_function("local", f"F{level}", ["v0"], ["v4"], calls, opsets))
    model = make(
        [node("F11", "x", "y", domain="local")], ["x"], functions=functions, opset_imports=opsets
    )
    with pytest.raises(ModelError, match="more than 1000 nodes"):
        backend().compile(CPU, model, {})


def test_without_onnx_the_reason_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setitem(sys.modules, "onnx.defs", None)
    model = make([node("HardSwish", "x", "y", "h")], ["x"])
    reason = backend().supports(CPU, model).unsupported[0].reason
    assert "install onnx in this environment to inline its function body" in reason


def test_runs_from_many_threads():
    model = make([node("Add", ["x", "w"], "a"), node("Neg", "a", "y")], ["x"], constants={"w": X})
    executable = backend().compile(CPU, model, {})

    def one(k: int) -> bool:
        got = executable.run({"x": Tensor.from_numpy(X * k)})["y"].numpy()
        return bool((got == -(X * k + X)).all())

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert all(pool.map(one, range(200)))


def test_ten_thousand_nodes():
    chain = [node("Add", [f"v{i}", "x"], f"v{i + 1}") for i in range(10_000)]
    got = run(make(chain, ["x", "v0"], ["v10000"]), x=np.float32(1), v0=np.float32(0))
    assert got["v10000"] == 10_000


UNARY, BINARY = ("Neg", "Abs"), ("Add", "Sub", "Mul")
NUMPY = {"Neg": np.negative, "Abs": np.abs, "Add": np.add, "Sub": np.subtract, "Mul": np.multiply}


@st.composite
def dags(draw: Any) -> Any:
    """Nodes over small integers, in any order, with outputs picked at random."""
    names = ["x", "w"]
    nodes = []
    for index in range(draw(st.integers(0, 12))):
        op = draw(st.sampled_from(UNARY + BINARY))
        count = 1 if op in UNARY else 2
        inputs = [draw(st.sampled_from(names)) for _ in range(count)]
        nodes.append((op, inputs, f"n{index}"))
        names.append(f"n{index}")
    outputs = draw(st.lists(st.sampled_from(names), min_size=1, max_size=4, unique=True))
    return nodes, outputs, draw(st.permutations(nodes))


@settings(max_examples=60, deadline=None)
@given(dags())
def test_random_graphs_match_a_naive_interpreter(dag):
    nodes, outputs, shuffled = dag
    x, w = np.array([3, -5], np.int64), np.array([-2, 7], np.int64)
    values = {"x": x, "w": w}
    with np.errstate(all="ignore"):
        for op, inputs, output in nodes:
            values[output] = NUMPY[op](*(values[i] for i in inputs))
        model = make(
            [node(op, i, [o], o) for op, i, o in shuffled],
            [("x", I64, [2])],
            [(o, I64, None) for o in outputs],
            {"w": w},
        )
        got = run(model, x=x)
    assert {o: v.tolist() for o, v in got.items()} == {o: values[o].tolist() for o in outputs}
