"""The kernel-backend base: tables, types, compilation, folding, liveness."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest
from numpy_kernels import CPU, I64, F, X, backend, make, node, numpy_table, places, run
from onnx import TensorProto, helper

import hal
from hal.errors import (
    UnsupportedError,
)
from hal.kernels import KernelBackend, KernelTable, NodeInfo, NumpyArrays
from hal.tensor import Tensor


def test_core_needs_four_calls_alone():
    """An object with just devices, supports, compile and run is a backend; ours is one."""

    class Executable:
        def run(self, inputs: Any) -> Any:
            return {"y": inputs["x"]}

    class Least:
        def devices(self) -> Any:
            return [CPU]

        def supports(self, device: Any, model: Any) -> Any:
            return hal.Support()

        def compile(self, device: Any, model: Any, options: Any) -> Any:
            return Executable()

    model = make([node("Neg", ["x"], ["y"])], ["x"])

    def use(any_backend: hal.Backend) -> Any:
        (device,) = any_backend.devices()
        assert any_backend.supports(device, model).supported
        return any_backend.compile(device, model, {}).run({"x": Tensor.from_numpy(X)})["y"]

    assert use(Least()).numpy().tolist() == X.tolist()
    assert use(backend()).numpy().tolist() == (-X).tolist()


def test_versions_are_exact():
    table = KernelTable()
    table.kernel("Clip", 6)(lambda x, *, min=0.0, max=1.0: np.clip(x, min, max))
    old = make([node("Clip", "x", "y")], ["x"], opset_imports=[helper.make_opsetid("", 10)])
    assert run(old, table, x=X)["y"].tolist() == [[1.0, 0.0, 1.0]]
    new = make([node("Clip", "x", "y", "c")], ["x"], opset_imports=[helper.make_opsetid("", 11)])
    support = backend(table).supports(CPU, new)
    assert [(u.node, u.operator) for u in support.unsupported] == [("c", "Clip-11")]
    assert "no kernel for this version" in support.unsupported[0].reason


def test_domain_without_schema_takes_the_greatest_row():
    table = KernelTable()
    table.kernel("Twice", 1, domain="com.test")(lambda x: x + x)
    table.kernel("Twice", 3, domain="com.test")(lambda x: x * 2 + 1)
    table.kernel("Twice", 5, domain="com.test")(lambda x: x * 0)
    for opset, want in ((2, 2.0), (3, 3.0), (4, 3.0)):
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.test", opset)]
        model = make([node("Twice", "x", "y", domain="com.test")], ["x"], opset_imports=opsets)
        assert run(model, table, x=np.ones(1, np.float32))["y"].tolist() == [want]


def test_unknown_attribute_is_refused_and_a_default_is_not():
    table = KernelTable()
    table.kernel("Softmax", 13)(lambda x: x)
    assert backend(table).supports(CPU, make([node("Softmax", "x", "y", axis=-1)], ["x"])).supported
    model = make([node("Softmax", "x", "y", "s", axis=0)], ["x"])
    with pytest.raises(UnsupportedError, match="does not take the attribute 'axis'"):
        backend(table).compile(CPU, model, {})


def test_what_a_function_body_lacks_is_said():
    model = make([node("Softmax", "x", "y", "s")], ["x"])
    (problem,) = backend().supports(CPU, model).unsupported
    assert (problem.node, problem.operator) == ("s", "Softmax-13")
    assert problem.reason.startswith(
        "no kernel (for tensor(float)); its function body lacks Reduce"
    )


def test_a_function_body_that_does_not_take_the_operators_types_is_no_fault_of_the_model():
    """The standard's body of SoftmaxCrossEntropyLoss-13 is over NegativeLogLikelihoodLoss-13, which
    has no bfloat16."""
    inputs = [("x", TensorProto.BFLOAT16, [2, 3]), ("t", TensorProto.INT64, [2])]
    outputs = [("y", TensorProto.BFLOAT16, [])]
    model = make([node("SoftmaxCrossEntropyLoss", ["x", "t"], "y", "loss")], inputs, outputs)
    (problem,) = backend().supports(CPU, model).unsupported
    assert (problem.node, problem.operator) == ("loss", "SoftmaxCrossEntropyLoss-13")
    assert "nor does its function body hold: " in problem.reason
    assert "tensor(bfloat16), which the operator does not allow" in problem.reason


def test_every_problem_is_named_at_compile():
    model = make(
        [
            node("Sin", "x", "a", "first"),
            node("Neg", "a", "b", "fine"),
            node("Det", "b", "y", "second"),
        ],
        ["x"],
    )
    with pytest.raises(UnsupportedError) as caught:
        backend().compile(CPU, model, {})
    assert caught.value.nodes == ("first", "second")
    assert "first (Sin-7): no kernel (for tensor(float))" in str(caught.value)
    assert "second (Det-11)" in str(caught.value)


def test_types_choose_the_row():
    table = KernelTable()
    table.kernel("Add", 14, types={"int32", "int64"})(lambda a, b: a - b)
    table.kernel("Add", 14, types={"T": {"float"}})(lambda a, b: a + b)
    for dtype, proto, want in ((np.float32, F, 3), (np.int64, I64, -1)):
        model = make(
            [node("Add", ["a", "b"], "y")],
            [("a", proto, []), ("b", proto, [])],
            [("y", proto, None)],
        )
        assert run(model, table, a=dtype(1), b=dtype(2))["y"] == want
    half = make(
        [node("Add", ["a", "a"], "y", "n")],
        [("a", TensorProto.FLOAT16, [])],
        [("y", TensorProto.FLOAT16, None)],
    )
    reason = backend(table).supports(CPU, half).unsupported[0].reason
    assert reason == "no kernel for tensor(float16); no kernel for T = tensor(float16)"


def test_specialized_sees_constants_and_defaults():
    table = KernelTable()
    seen: list[NodeInfo] = []

    @table.specialized("Gemm", 13, attributes=("alpha", "beta", "transA", "transB"))
    def gemm(info: NodeInfo) -> Any:
        seen.append(info)
        if info.attributes["transA"]:
            raise UnsupportedError("transA is not done here")
        weight = info.constants[1] * info.attributes["alpha"]
        return lambda x, w, c=None: x @ weight

    w = np.eye(3, dtype=np.float32)
    model = make(
        [node("Gemm", ["x", "w"], "y", alpha=2.0)], [("x", F, ["n", 3])], constants={"w": w}
    )
    assert run(model, table, x=X)["y"].tolist() == (2 * X).tolist()
    (info,) = seen
    assert (info.label, info.input_types) == ("Gemm-13", ("tensor(float)",) * 2)
    assert info.constants[0] is None and info.input_shapes == (("n", 3), (3, 3))
    assert (info.attributes["beta"], info.outputs) == (1.0, 1)
    refused = make([node("Gemm", ["x", "w"], "y", transA=1)], ["x"], constants={"w": w})
    with pytest.raises(UnsupportedError, match="transA is not done here"):
        backend(table).compile(CPU, refused, {})


def test_constants_are_made_when_a_kernel_looks():
    table = KernelTable()
    made: list[tuple[int, ...]] = []

    class Counting(NumpyArrays):
        def from_tensor(self, tensor: Any) -> Any:
            made.append(tensor.shape)
            return super().from_tensor(tensor)

    @table.specialized("Gemm", 13)
    def gemm(info: NodeInfo) -> Any:
        assert len(info.constants) == 3 and not made
        assert info.constants[0] is None and not made
        (bias,) = info.constants[2:]
        assert made == [(3,)] and bias is info.constants[-1]
        with pytest.raises(IndexError):
            info.constants[3]
        assert [c is None for c in info.constants] == [True, False, False]
        return lambda x, w, c: x @ w + c

    constants = {"w": np.eye(3, dtype=np.float32), "c": np.ones(3, np.float32)}
    model = make([node("Gemm", ["x", "w", "c"], "y")], [("x", F, [1, 3])], constants=constants)
    kernels = KernelBackend([CPU], table, Counting())
    found = kernels.compile(CPU, model, {}).run({"x": hal.Tensor.from_numpy(X)})
    assert found["y"].numpy().tolist() == (X + 1).tolist()
    assert made[0] == (3,) and (3, 3) in made


@pytest.mark.parametrize(
    ("inputs", "want"),
    [(["x"], [1, -2, 3]), (["x", "lo"], [1, -1, 3]), (["x", "", "hi"], [1, -2, 2])],
)
def test_optional_inputs(inputs, want):
    constants = {"lo": np.float32(-1), "hi": np.float32(2)}
    model = make([node("Clip", inputs, "y")], ["x"], constants=constants)
    assert run(model, x=X)["y"].tolist() == [want]


def test_optional_and_unused_outputs():
    model = make(
        [node("Split", ["x", "s"], ["", "y", "unused"], axis=1)], ["x"], constants={"s": [1, 1, 1]}
    )
    assert run(model, x=X)["y"].tolist() == [[-2.0]]


def test_shapes_of_graphs():
    """Inputs that are outputs, initializers that are outputs, repeats, unused inputs, no nodes."""
    model = make([], ["x", "unused"], ["x", "w", "x"], constants={"w": X})
    got = run(model, x=X, unused=X)
    assert got["x"].tolist() == got["w"].tolist() == X.tolist()
    assert backend().compile(CPU, make([], [], []), {}).run({}) == {}
    same = make([node("Add", ["x", "x"], "y")], ["x"])
    assert run(same, x=X)["y"].tolist() == (2 * X).tolist()


def test_initializer_is_the_default_of_an_input():
    model = make([node("Add", ["x", "w"], "y")], ["x", "w"], constants={"w": X})
    assert run(model, x=X)["y"].tolist() == (2 * X).tolist()
    executable = backend().compile(CPU, model, {})
    feeds = {n: Tensor.from_numpy(X * k) for n, k in (("x", 1), ("w", 9))}
    assert executable.run(feeds)["y"].numpy().tolist() == (10 * X).tolist()
    assert executable.run({"x": feeds["x"]})["y"].numpy().tolist() == (2 * X).tolist()


def test_constants_are_folded_and_dead_nodes_dropped():
    calls: list[str] = []
    table = numpy_table()
    table.kernel("Sin", 7)(lambda x: calls.append("sin") or np.sin(x))
    nodes = [
        node("Sin", "w", "s", "folded"),
        node("Sin", "x", "z", "dead"),
        node("Add", ["x", "s"], "y", "live"),
    ]
    executable = backend(table).compile(CPU, make(nodes, ["x"], constants={"w": X}), {})
    assert calls == ["sin"]
    executable.run({"x": Tensor.from_numpy(X)})
    assert calls == ["sin"]
    found = {n.node: n.device for n in executable.placement().nodes}
    assert found == {"folded": "", "dead": "", "live": "test:cpu"}


def test_huge_results_are_not_folded():
    shape = np.array([1 << 20, 1 << 20])
    model = make([node("ConstantOfShape", "s", "y", "huge")], constants={"s": shape})
    assert places(model) == {"huge": "test:cpu"}
    small = make([node("ConstantOfShape", "s", "y", "c")], constants={"s": np.array([2, 3])})
    assert places(small) == {"c": ""}


def test_random_operators_are_not_folded():
    table = KernelTable()
    numbers = iter(range(100))
    table.kernel("RandomUniform", 1)(
        lambda *, shape: np.full(shape, next(numbers), dtype=np.float32)
    )
    model = make([node("RandomUniform", [], "y", shape=[1])])
    executable = backend(table).compile(CPU, model, {})
    assert [executable.run({})["y"].numpy()[0] for _ in range(3)] == [0, 1, 2]


def test_values_are_freed_after_last_use():
    alive: list[weakref.ref[Any]] = []
    most = 0
    table = KernelTable()

    @table.kernel("Neg", 13)
    def neg(x: Any) -> Any:
        nonlocal most
        result = -x
        alive.append(weakref.ref(result))
        most = max(most, sum(r() is not None for r in alive))
        return result

    chain = [node("Neg", f"v{i}", f"v{i + 1}") for i in range(50)]
    run(make(chain, ["v0"], ["v50"]), table, v0=X)
    assert most == 2  # a step's input and its output


def test_nothing_of_the_model_gets_into_the_source():
    evil = 'x"\n__import__("os").system("true") #'
    model = make([node("Neg", [evil], ["y'''\\"], evil)], [evil], ["y'''\\"])
    executable = backend().compile(CPU, model, {})
    assert "import" not in executable.source and "system" not in executable.source
    got = executable.run({evil: Tensor.from_numpy(X)})
    assert got["y'''\\"].numpy().tolist() == (-X).tolist()
