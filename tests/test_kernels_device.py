"""Arrays that are not in host memory: what goes to the host, and what is placed where."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import hal
from hal.kernels import Arrays, KernelBackend, KernelTable, NumpyArrays
from hal.tensor import SequenceValue, Tensor
from hal.types import ElementType

NPU = hal.Device("fake:npu", "npu")
HOST = NumpyArrays()
F, I64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


@dataclasses.dataclass(frozen=True, eq=False)
class Remote:
    """An array that lies on a device: nothing but the adapter looks inside."""

    hidden: Any


class RemoteArrays(Arrays):
    """Counts every wait for the device."""

    is_host = False

    def __init__(self) -> None:
        self.waits = 0

    def supports(self, element_type: ElementType) -> bool:
        return HOST.supports(element_type)

    def from_tensor(self, tensor: Tensor) -> Remote:
        return Remote(tensor.numpy())

    def to_tensor(self, array: Any, element_type: ElementType) -> Tensor:
        return HOST.to_tensor(array.hidden, element_type)

    def from_host(self, array: Any, element_type: ElementType) -> Remote:
        assert isinstance(array, np.ndarray)
        return Remote(array)

    def to_host(self, array: Any, element_type: ElementType | None) -> Any:
        self.waits += 1
        return array.hidden

    def shape(self, array: Any) -> tuple[int, ...]:
        return np.shape(array.hidden)

    def element_type(self, array: Any) -> ElementType | None:
        return HOST.element_type(array.hidden)

    def take(self, array: Any, index: int, axis: int) -> Remote:
        return Remote(HOST.take(array.hidden, index, axis))

    def slice(self, array: Any, start: int, stop: int, axis: int) -> Remote:
        return Remote(HOST.slice(array.hidden, start, stop, axis))

    def stack(self, arrays: Sequence[Any], axis: int) -> Remote:
        return Remote(HOST.stack([a.hidden for a in arrays], axis))

    def concat(self, arrays: Sequence[Any], axis: int) -> Remote:
        return Remote(HOST.concat([a.hidden for a in arrays], axis))

    def squeeze(self, array: Any, axis: int) -> Remote:
        return Remote(HOST.squeeze(array.hidden, axis))

    def zeros(self, shape: Sequence[int], element_type: ElementType) -> Remote:
        return Remote(HOST.zeros(shape, element_type))


def remote(function: Any) -> Any:
    def run(*xs: Any) -> Remote:
        return Remote(function(*(x.hidden for x in xs)))

    return run


def tables() -> tuple[KernelTable, KernelTable]:
    table, host = KernelTable(), KernelTable()
    table.kernel("Add", 14)(remote(np.add))
    table.kernel("Mul", 14)(remote(np.multiply))
    table.kernel("Neg", 13)(remote(np.negative))
    table.kernel("Less", 13)(remote(np.less))
    table.kernel("Gather", 13)(remote(np.take))
    table.kernel("Reshape", 14, host=(1,))(lambda x, s: Remote(x.hidden.reshape(s.tolist())))
    table.kernel("StringNormalizer", 10, host_only=True)(
        lambda x, *, case_change_action="NONE": np.array([s.upper() for s in x], dtype=object)
    )
    host.kernel("Mul", 14)(np.multiply)
    host.kernel("Gather", 13)(np.take)
    return table, host


def compiled(
    nodes: Any, inputs: Any, outputs: Any, constants: Any = ()
) -> tuple[Any, RemoteArrays]:
    graph = helper.make_graph(
        nodes,
        "main",
        [helper.make_tensor_value_info(*i) for i in inputs],
        [o if not isinstance(o, tuple) else helper.make_tensor_value_info(*o) for o in outputs],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in dict(constants).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    arrays = RemoteArrays()
    table, host = tables()
    backend = KernelBackend([NPU], table, arrays, host_table=host, host_device="ort:cpu")
    executable = backend.compile(NPU, hal.Model(model.SerializeToString()), {})
    arrays.waits = 0
    return executable, arrays


def run(executable: Any, **feeds: Any) -> dict[str, Any]:
    got = executable.run({n: Tensor.from_numpy(np.asarray(a)) for n, a in feeds.items()})
    return {n: v.numpy().tolist() for n, v in got.items()}


def places(executable: Any) -> dict[str, str]:
    return {n.node: n.device for n in executable.placement().nodes}


X = np.arange(6, dtype=np.float32).reshape(2, 3)
node = helper.make_node


def test_shape_arithmetic_runs_on_the_host_without_waiting():
    nodes = [
        node("Neg", ["x"], ["n"], name="neg"),
        node("Shape", ["n"], ["s"], name="shape"),
        node("Gather", ["s", "order"], ["t"], name="gather"),
        node("Mul", ["t", "one"], ["u"], name="mul"),
        node("Reshape", ["n", "u"], ["y"], name="reshape"),
    ]
    executable, arrays = compiled(
        nodes, [("x", F, None)], [("y", F, None)], {"order": [1, 0], "one": [1, 1]}
    )
    assert run(executable, x=X)["y"] == (-X).reshape(3, 2).tolist()
    assert arrays.waits == 0
    assert places(executable) == {
        "neg": "fake:npu",
        "shape": "",
        "gather": "",
        "mul": "",
        "reshape": "fake:npu",
    }


def test_a_shape_that_is_an_output_goes_to_the_device():
    nodes = [
        node("Shape", ["x"], ["s"], name="shape"),
        node("Mul", ["s", "two"], ["y"], name="mul"),
    ]
    executable, arrays = compiled(nodes, [("x", F, None)], [("y", I64, None)], {"two": [2, 2]})
    assert run(executable, x=X)["y"] == [4, 6]
    assert arrays.waits == 0
    assert places(executable) == {"shape": "fake:npu", "mul": "fake:npu"}


def test_a_size_that_the_device_reads_too_is_copied_there_without_waiting():
    nodes = [
        node("Shape", ["x"], ["s"], name="shape"),
        node("Mul", ["s", "one"], ["u"], name="mul"),
        node("Add", ["u", "fed"], ["sum"], name="add"),
        node("Reshape", ["x", "u"], ["y"], name="reshape"),
    ]
    inputs = [("x", F, None), ("fed", I64, None)]
    outputs = [("y", F, None), ("sum", I64, None)]
    executable, arrays = compiled(nodes, inputs, outputs, {"one": [1, 1]})
    assert run(executable, x=X, fed=[5, 5]) == {"y": X.tolist(), "sum": [7, 8]}
    assert arrays.waits == 0
    assert places(executable)["add"] == "fake:npu"


def test_a_shape_that_is_fed_waits_once():
    nodes = [
        node("Reshape", ["x", "s"], ["a"], name="r1"),
        node("Reshape", ["a", "s"], ["y"], name="r2"),
    ]
    executable, arrays = compiled(nodes, [("x", F, None), ("s", I64, None)], [("y", F, None)])
    assert run(executable, x=X, s=[6]) == {"y": X.reshape(6).tolist()}
    assert arrays.waits == 1


def test_host_only_kernels_are_placed_on_the_host():
    nodes = [node("StringNormalizer", ["x"], ["y"], name="s", case_change_action="UPPER")]
    executable, _ = compiled(
        nodes, [("x", TensorProto.STRING, None)], [("y", TensorProto.STRING, None)]
    )
    assert run(executable, x=np.array(["a", "b"], object))["y"] == ["A", "B"]
    assert places(executable) == {"s": "ort:cpu"}
    assert executable.placement().fell_back("fake:npu", accelerator=True)


def body(nodes: Any, inputs: Any, outputs: Any) -> Any:
    return helper.make_graph(
        nodes,
        "body",
        [helper.make_tensor_value_info(n, t, s) for n, t, s in inputs],
        [helper.make_tensor_value_info(n, t, s) for n, t, s in outputs],
    )


@pytest.mark.parametrize(("trips", "total"), [(4, 10.0), (0, 0.0)])
def test_loop_captures_and_stacks(trips, total):
    loop = body(
        [
            node("Add", ["sum", "x"], ["next"], name="add"),
            node("Identity", ["c"], ["c2"], name="same"),
            node("Neg", ["next"], ["out"], name="out"),
        ],
        [("i", I64, []), ("c", BOOL, []), ("sum", F, [])],
        [("c2", BOOL, []), ("next", F, []), ("out", F, [])],
    )
    executable, arrays = compiled(
        [node("Loop", ["m", "", "zero"], ["y", "all"], name="loop", body=loop)],
        [("m", I64, []), ("x", F, [])],
        [("y", F, []), ("all", F, None)],
        {"zero": np.float32(0)},
    )
    got = run(executable, m=np.int64(trips), x=np.float32(2.5))
    assert got == {"y": total, "all": [-2.5 * (k + 1) for k in range(trips)]}
    assert arrays.waits == 1  # for the trip count alone: the condition is passed on unchanged
    assert places(executable) == dict.fromkeys(("loop", "add", "same", "out"), "fake:npu")


def test_loop_without_end_is_refused():
    loop = body(
        [node("Identity", ["c"], ["c2"]), node("Neg", ["s"], ["s2"])],
        [("i", I64, []), ("c", BOOL, []), ("s", F, [])],
        [("c2", BOOL, []), ("s2", F, [])],
    )
    executable, _ = compiled(
        [node("Loop", ["", "", "x"], ["y"], name="l", body=loop)], [("x", F, [])], [("y", F, [])]
    )
    with pytest.raises(hal.errors.ExecutionError, match=r"'l'.*never ends"):
        run(executable, x=np.float32(1))


def test_known_condition_leaves_one_branch():
    then = body([node("Neg", ["x"], ["a"], name="then")], [], [("a", F, None)])
    other = body([node("Det", ["x"], ["b"], name="else")], [], [("b", F, None)])
    branch = {"then_branch": then, "else_branch": other}
    executable, _ = compiled(
        [node("If", ["c"], ["y"], name="if", **branch)],
        [("x", F, None)],
        [("y", F, None)],
        {"c": True},
    )
    assert run(executable, x=X)["y"] == (-X).tolist()
    assert places(executable) == {"if": "", "then": "fake:npu", "else": ""}


def test_condition_at_run_time_takes_one_branch():
    graphs = [body([node(op, ["x", "x"], ["a"])], [], [("a", F, None)]) for op in ("Add", "Mul")]
    branch = dict(zip(("then_branch", "else_branch"), graphs, strict=True))
    executable, arrays = compiled(
        [node("If", ["c"], ["y"], **branch)], [("x", F, None), ("c", BOOL, [])], [("y", F, None)]
    )
    assert run(executable, x=X, c=np.bool_(True))["y"] == (X + X).tolist()
    assert run(executable, x=X, c=np.bool_(False))["y"] == (X * X).tolist()
    assert arrays.waits == 2


def test_sequences_stay_on_the_device():
    nodes = [
        node("SplitToSequence", ["x"], ["s"], axis=0, keepdims=0),
        node("SequenceAt", ["s", "last"], ["z"]),
        node("SequenceInsert", ["s", "z"], ["t"]),
        node("ConcatFromSequence", ["t"], ["y"], axis=0, new_axis=1),
    ]
    sequence = helper.make_tensor_sequence_value_info("t", F, None)
    executable, arrays = compiled(
        nodes, [("x", F, None)], [("y", F, None), sequence], {"last": np.int64(-1)}
    )
    got = executable.run({"x": Tensor.from_numpy(X)})
    assert got["y"].numpy().tolist() == [*X.tolist(), X[1].tolist()]
    assert isinstance(got["t"], SequenceValue) and got["t"].type == "seq(tensor(float))"
    assert arrays.waits == 0
