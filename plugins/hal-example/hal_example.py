"""A HAL backend to clone: copy this folder, rename `example`, and swap NumPy for your runtime.

A row names exact operator versions; a kernel takes arrays, and attributes as keywords. HAL's base
runs graphs, folds constants and inlines ONNX's function bodies made of these operators.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

import hal
from hal.kernels import KernelBackend, KernelTable, NumpyArrays

table = KernelTable()
table.kernel("Add", 7, 13, 14)(np.add)
table.kernel("Sub", 7, 13, 14)(np.subtract)
table.kernel("Mul", 7, 13, 14)(np.multiply)
table.kernel("Div", 7, 13, 14, types={"float16", "float", "double"})(np.divide)
table.kernel("MatMul", 1, 9, 13)(np.matmul)
table.kernel("Exp", 6, 13)(np.exp)
table.kernel("Abs", 6, 13)(np.abs)
table.kernel("Neg", 6, 13)(np.negative)
table.kernel("Relu", 6, 13, 14)(lambda x: np.maximum(x, x.dtype.type(0)))
table.kernel("Sqrt", 6, 13)(np.sqrt)
table.kernel("Concat", 4, 11, 13)(lambda *xs, axis: np.concatenate(xs, axis))
table.kernel("Transpose", 1, 13, 21, 23, 24, 25)(lambda x, *, perm=None: np.transpose(x, perm))


@table.kernel("Reshape", 5, 13, 14, 19, 21, 23, 24, 25, host=(1,))
def reshape(x: Any, shape: Any, *, allowzero: int = 0) -> Any:
    return x.reshape([d or (0 if allowzero else x.shape[i]) for i, d in enumerate(shape.tolist())])


@hal.hookimpl
def hal_backends() -> Iterator[hal.BackendSpec]:
    device = hal.Device("example:cpu", "cpu", name="NumPy")
    backend = KernelBackend([device], table, NumpyArrays())
    yield hal.BackendSpec("example", lambda: backend, abilities=backend.abilities)
