"""A small NumPy backend on the kernel base, and models for it."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

import hal
from hal.kernels import KernelBackend, KernelTable, NumpyArrays
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
