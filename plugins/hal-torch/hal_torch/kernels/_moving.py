"""Operators that move elements without looking at them, written once for every element type.

A kernel written for `moving` gets tensors of a dtype that PyTorch's kernels take: unsigned integers
and float8 arrive as the signed integer or byte of the same bits, and go back as what they were.
Strings arrive as numbers, each standing for a string; what the kernel makes of the numbers is made
of the strings. Number 0 is the empty string, so that a kernel that fills with zeros fills with it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import torch

from hal.errors import UnsupportedError
from hal.kernels import KernelTable, NodeInfo
from hal_torch.arrays import dtype_of

__all__ = ["CARRIERS", "Host", "Kernel", "Run", "integers", "moving"]

Host = np.ndarray[Any, np.dtype[Any]]
Run = Callable[..., Any]
Kernel = Callable[[NodeInfo], Run]

CARRIERS: dict[torch.dtype, torch.dtype] = {
    torch.uint16: torch.int16,
    torch.uint32: torch.int32,
    torch.uint64: torch.int64,
    torch.float8_e4m3fn: torch.uint8,
    torch.float8_e4m3fnuz: torch.uint8,
    torch.float8_e5m2: torch.uint8,
    torch.float8_e5m2fnuz: torch.uint8,
    torch.float8_e8m0fnu: torch.uint8,
}
"""What carries the bits of the dtypes that few of PyTorch's kernels take."""

STRING = "tensor(string)"


def integers(values: Any) -> tuple[int, ...]:
    """The values of a host input or an attribute as Python integers, whatever the shape."""
    return tuple(np.asarray(values).reshape(-1).tolist())


def moving(
    table: KernelTable,
    op_type: str,
    *versions: int,
    arrays: Collection[int] | None = (0,),
    host: Collection[int] = (),
    attributes: Collection[str] = (),
    constraint: str = "T",
    ranked: bool = False,
) -> Callable[[Kernel], Kernel]:
    """Register a specialized kernel for strings and for all other types.

    `arrays` are the positions of the inputs whose elements are moved (None: all), of the schema's
    type constraint `constraint`. `ranked`: strings get numbers in their order, equal ones the same,
    for kernels that compare.
    """
    first = min(arrays) if arrays is not None else 0

    def register(kernel: Kernel) -> Kernel:
        def strings(node: NodeInfo) -> Run:
            if node.input_types[first] != STRING:  # a type that is not known is mostly a number
                raise UnsupportedError("no strings")
            return _over_strings(kernel, node, first, arrays, host, ranked)

        def tensors(node: NodeInfo) -> Run:
            return _carried(kernel, node, first, arrays)

        table.specialized(
            op_type,
            *versions,
            types={constraint: {"string"}},
            host_only=True,
            attributes=attributes,
        )(strings)
        table.specialized(op_type, *versions, host=host, attributes=attributes)(tensors)
        return kernel

    return register


def _carried(kernel: Kernel, node: NodeInfo, first: int, arrays: Collection[int] | None) -> Run:
    """The kernel over the carriers of its types; the kernel itself where none is needed."""
    type_ = node.input_types[first]
    if type_ == STRING:
        raise UnsupportedError("strings have a row of their own")
    dtype = dtype_of(type_) if type_ else None
    carrier = CARRIERS.get(dtype) if dtype is not None else None
    if dtype is None or carrier is None:
        return kernel(node)
    constants = tuple(
        c.view(carrier) if c is not None and _moves(i, arrays) else c
        for i, c in enumerate(node.constants)
    )
    run = kernel(dataclasses.replace(node, constants=constants))
    back = tuple(t == type_ for t in node.output_types)

    def carry(*inputs: Any) -> Any:
        found = run(
            *(
                x.view(carrier) if x is not None and _moves(i, arrays) else x
                for i, x in enumerate(inputs)
            )
        )
        if isinstance(found, torch.Tensor):
            return found.view(dtype) if back[0] else found
        return tuple(y.view(dtype) if b else y for y, b in zip(found, back, strict=False))

    return carry


def _over_strings(
    kernel: Kernel,
    node: NodeInfo,
    first: int,
    arrays: Collection[int] | None,
    host: Collection[int],
    ranked: bool,
) -> Run:
    """The kernel over numbers that stand for strings."""

    def given(index: int, value: Any) -> Any:
        return value if value is None or index in host else torch.from_numpy(np.array(value))

    constants = tuple(
        None if _moves(i, arrays) else given(i, c) for i, c in enumerate(node.constants)
    )
    types = tuple("tensor(int64)" if t == STRING else t for t in node.input_types)
    run = kernel(dataclasses.replace(node, constants=constants, input_types=types))
    back = tuple(t == STRING for t in node.output_types)

    def move(*inputs: Any) -> Any:
        own = [x for i, x in enumerate(inputs) if x is not None and _moves(i, arrays)]
        codes, pool = (_ranks if ranked else _positions)(own)
        numbers = iter(codes)
        found = run(
            *(
                next(numbers) if x is not None and _moves(i, arrays) else given(i, x)
                for i, x in enumerate(inputs)
            )
        )
        if isinstance(found, torch.Tensor):
            return _strings(pool, found) if back[0] else found.numpy()
        return tuple(
            _strings(pool, y) if b else y.numpy() for y, b in zip(found, back, strict=False)
        )

    return move


def _moves(index: int, arrays: Collection[int] | None) -> bool:
    return arrays is None or index in arrays


def _positions(arrays: list[Host]) -> tuple[list[torch.Tensor], Host]:
    """A number for each string by its place, and the strings by number."""
    start = 1
    codes = []
    for array in arrays:
        codes.append(torch.arange(start, start + array.size).reshape(array.shape))
        start += array.size
    return codes, _pool(arrays)


def _ranks(arrays: list[Host]) -> tuple[list[torch.Tensor], Host]:
    """A number for each string by its order (the empty string is the least), and the strings."""
    pool, ranks = np.unique(_pool(arrays), return_inverse=True)
    split = np.split(ranks.reshape(-1)[1:], np.cumsum([a.size for a in arrays])[:-1])
    codes = [torch.from_numpy(r.reshape(a.shape)) for r, a in zip(split, arrays, strict=True)]
    return codes, pool


def _pool(arrays: list[Host]) -> Host:
    empty = np.full(1, "", dtype=object)
    return np.concatenate([empty, *(a.astype(object).reshape(-1) for a in arrays)])


def _strings(pool: Host, codes: torch.Tensor) -> Host:
    return np.asarray(np.take(pool, codes.numpy()), dtype=object).reshape(tuple(codes.shape))
