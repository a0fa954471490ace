"""The kernel-backend base: tables, compilation, folding, liveness, placement, errors."""

from __future__ import annotations

import concurrent.futures
import sys
import weakref
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import hal
from hal.errors import (
    ExecutionError,
    ModelError,
    SkewError,
    UnsupportedError,
    UsageError,
)
from hal.kernels import KernelBackend, KernelTable, NodeInfo, NumpyArrays
from hal.tensor import Tensor

CPU = hal.Device("test:cpu", "cpu")
F, I64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def numpy_table() -> KernelTable:
    table = KernelTable()
    table.kernel("Add", 7, 13, 14)(np.add)
    table.kernel("Sub", 7, 13, 14)(np.subtract)
    table.kernel("Mul", 7, 13, 14)(np.multiply)
    table.kernel("Neg", 6, 13)(np.negative)
    table.kernel("Exp", 6, 13)(np.exp)
    table.kernel("Abs", 6, 13)(np.abs)
    table.kernel("Less", 9, 13)(np.less)
    table.kernel("Max", 8, 12, 13)(lambda *xs: np.max(np.broadcast_arrays(*xs), axis=0))
    table.kernel("Concat", 4, 11, 13)(lambda *xs, axis: np.concatenate(xs, axis))
    table.kernel("Gather", 1, 11, 13)(lambda x, i, *, axis=0: np.take(x, i, axis))
    table.kernel("Clip", 11, 12, 13)(
        lambda x, low=None, high=None: x if low is None and high is None else np.clip(x, low, high)
    )

    @table.kernel("Reshape", 5, 13, 14, 19, host=(1,))
    def reshape(x: Any, shape: Any) -> Any:
        assert isinstance(shape, np.ndarray)
        return x.reshape([d or x.shape[i] for i, d in enumerate(shape.tolist())])

    @table.kernel("ConstantOfShape", 9, 20, host=(0,))
    def constant_of_shape(shape: Any, *, value: Any = None) -> Any:
        return np.full(shape.tolist(), np.float32(0) if value is None else value[0])

    @table.kernel("Split", 13, 18, host=(1,))
    def split(x: Any, sizes: Any = None, *, axis: int = 0, num_outputs: int = 0, node: Any) -> Any:
        at = node.outputs if sizes is None else np.cumsum(sizes)[:-1]
        return tuple(np.split(x, at, axis))

    return table


def make(
    nodes: Any, inputs: Any = (), outputs: Any = ("y",), constants: Any = (), **options: Any
) -> hal.Model:
    """A model; inputs are (name, type, shape), outputs names or the like."""
    infos = [i if isinstance(i, tuple) else (i, F, None) for i in inputs]
    results = [o if isinstance(o, tuple) else (o, F, None) for o in outputs]
    graph = helper.make_graph(
        list(nodes),
        "main",
        [helper.make_tensor_value_info(*i) for i in infos],
        [helper.make_tensor_value_info(*o) for o in results],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in dict(constants).items()],
    )
    options.setdefault("opset_imports", [helper.make_opsetid("", 18)])
    return hal.Model(helper.make_model(graph, **options).SerializeToString())


def node(op: str, inputs: Any, outputs: Any, name: str = "", **attributes: Any) -> Any:
    inputs = [inputs] if isinstance(inputs, str) else list(inputs)
    outputs = [outputs] if isinstance(outputs, str) else list(outputs)
    return helper.make_node(op, inputs, outputs, name=name or None, **attributes)


def backend(table: KernelTable | None = None, **options: Any) -> KernelBackend:
    return KernelBackend([CPU], table or numpy_table(), NumpyArrays(), **options)


def run(model: hal.Model, table: KernelTable | None = None, **feeds: Any) -> dict[str, Any]:
    executable = backend(table).compile(CPU, model, {})
    got = executable.run({n: Tensor.from_numpy(np.asarray(a)) for n, a in feeds.items()})
    return {name: value.numpy() for name, value in got.items()}


def places(model: hal.Model) -> dict[str, str]:
    executable = backend().compile(CPU, model, {})
    return {n.node: n.device for n in executable.placement().nodes}


X = np.array([[1.0, -2.0, 3.0]], np.float32)


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
