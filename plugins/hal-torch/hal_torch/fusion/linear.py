"""Products with a constant matrix on the CPU by oneDNN, with the bias after them in one call.

PyTorch multiplies float32 matrices by MKL, which uses no AVX-512 on processors that are not
Intel's; oneDNN does on all of them: 2.2 times as fast on an AMD EPYC. `torch.ops.mkldnn` has what
TorchInductor calls.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from hal.kernels.rewriting import Block, Constants, Step, Value
from hal_torch._compat import opaque_linear
from hal_torch.fusion._uses import Uses
from hal_torch.native import Native, native

__all__ = ["fuse_products"]

Tensor = torch.Tensor
_LEAST = 1 << 19
"""Multiplications below which oneDNN's cost of a call (10 µs) is more than it saves. One row alone
takes the time that its weights take to be read, and MKL reads them where they are."""


def fuse_products(block: Block, constants: Constants, *, traced: bool) -> None:
    """Replace MatMul and Gemm by a constant float32 matrix, and a constant row added to them, in
    place. `traced`: the program is made into a graph, which takes plain weights alone."""
    uses = Uses(block)
    gone: set[int] = set()
    made: dict[int, Step] = {}
    for step in block.steps:
        found = _product(step, constants)
        if found is None:
            continue
        weight, bias = found
        last = step
        follower = uses.only_reader(step.outputs[0]) if bias is None else None
        row = None if follower is None else _row(follower, step.outputs[0], weight, constants)
        if follower is not None and row is not None:
            bias, last = row, follower
            gone.add(id(step))
        make = _traced if traced else _packed
        made[id(last)] = dataclasses.replace(
            last,
            label=step.label,
            op_type=step.op_type,
            args=[step.args[0]],
            function=make(weight, bias),
            keywords={},
            may_be_tuple=False,
            moved=None,
            info=None,
        )
    block.steps = [made.get(id(s), s) for s in block.steps if id(s) not in gone]


def _product(step: Step, constants: Constants) -> tuple[Tensor, Tensor | None] | None:
    """The weight, (outputs, inputs), and the bias of a step that multiplies by a constant."""
    info = step.info
    if info is None or info.domain or step.on_host or step.op_type not in ("MatMul", "Gemm"):
        return None
    weight = step.args[1]
    if weight is None or not _is_matrix(weight):
        return None
    given = info.attributes
    if step.op_type == "MatMul":
        return constants.device(weight).t(), None
    if given["transA"] or given["alpha"] != 1 or given["beta"] != 1:
        return None
    matrix = constants.device(weight)
    matrix = matrix if given["transB"] else matrix.t()
    c = step.args[2] if len(step.args) > 2 else None
    if c is None:
        return matrix, None
    if not c.constant or c.type != "tensor(float)":
        return None
    bias = _as_row(constants.host(c), matrix.shape[0], 2)
    return None if bias is None else (matrix, bias)


def _is_matrix(value: Value) -> bool:
    if not value.constant or value.type != "tensor(float)":
        return False
    return value.shape is not None and len(value.shape) == 2 and 0 not in value.shape


def _row(step: Step, product: Any, weight: Tensor, constants: Constants) -> Tensor | None:
    """The constant row that a step adds to a product, if that is what it does."""
    if step.info is None or step.info.domain or step.op_type != "Add":
        return None
    other = step.args[1] if step.args[0] is product else step.args[0]
    if other is None or not other.constant or other.type != "tensor(float)":
        return None
    return _as_row(constants.host(other), weight.shape[0], 1)


def _as_row(array: np.ndarray[Any, Any], width: int, rank: int) -> Tensor | None:
    """The array as a bias of that width, unless it gives the product it is added to, of at least
    `rank` dimensions, another shape."""
    if array.ndim > rank or array.shape[-1:] != (width,) or array.size != width:
        return None
    return torch.from_numpy(np.array(array, np.float32).reshape(-1))


def _packed(weight: Tensor, bias: Tensor | None) -> Callable[..., Tensor]:
    width, depth = weight.shape
    plain, packed, lock = [weight], list[Tensor](), threading.Lock()
    linear: Callable[..., Tensor] = torch.ops.mkldnn._linear_pointwise.default
    size = width * depth

    def pack(rows: int) -> None:
        # At the first product that is worth it, for its size. The plain weight is let go.
        with lock:
            if not packed:
                packed.append(torch.ops.mkldnn._reorder_linear_weight(plain[0], rows))
                plain.clear()

    def run(x: Tensor) -> Tensor:
        shape = x.shape
        if shape[-1] != depth:
            raise ValueError(f"a product of {tuple(shape)} and ({depth}, {width})")
        rows = x.numel() // depth
        if not packed:
            if rows == 1 or rows * size < _LEAST:
                # Another thread may pack it meanwhile.
                kept = plain[:]
                if kept:
                    return F.linear(x, kept[0], bias)
            else:
                pack(rows)
        if not rows:
            return x.new_empty((*shape[:-1], width))
        if len(shape) == 1:
            return linear(x[None], packed[0], bias, "none", [], "")[0]
        return linear(x, packed[0], bias, "none", [], "")

    return run


def _traced(weight: Tensor, bias: Tensor | None) -> Callable[..., Tensor]:
    own = native()
    if own is not None:
        return _own(own, weight, bias)
    width, plain = weight.shape[0], weight.contiguous()
    linear = opaque_linear()

    def run(x: Tensor) -> Tensor:
        if x.dim() < 2 or x.shape[-1] == x.numel() or x.numel() * width < _LEAST:
            return F.linear(x, weight, bias)
        return linear(x, plain, bias)

    return run


def _own(own: Native, weight: Tensor, bias: Tensor | None) -> Callable[..., Tensor]:
    width, depth = weight.shape
    packed, added = own.pack(weight[None]), own.padded(bias, 1, width)

    def run(x: Tensor) -> Tensor:
        if x.shape[-1] != depth:
            raise ValueError(f"a product of {tuple(x.shape)} and ({depth}, {width})")
        made: Tensor = own.product(x, packed, added, width)
        return made

    return run
