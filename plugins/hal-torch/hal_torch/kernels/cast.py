"""Conversions between element types, and reinterpretation of their bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from hal.errors import UnsupportedError
from hal.kernels import KernelTable, NodeInfo
from hal.types import ElementType
from hal_torch.arrays import DTYPES, FLOAT_TABLES
from hal_torch.kernels._narrow import FLOAT8, float_values, narrowed, scale_codes, small_integers

__all__ = ["convert", "table"]

Tensor = torch.Tensor
Host = np.ndarray[Any, np.dtype[Any]]
Function = Callable[..., Any]
E = ElementType

table = KernelTable()

_CAST = (6, 9, 13, 19, 21, 23, 24, 25, 28)
_CAST_LIKE = (15, 19, 21, 23, 24, 25)
_SMALL = (E.INT4, E.UINT4, E.INT2, E.UINT2)
_ROUNDED = {*FLOAT8, *FLOAT_TABLES, E.FLOAT16, E.BFLOAT16}
_MODES = ("up", "down", "nearest")
_ATTRIBUTES = ("to", "saturate", "round_mode")


def _element_type(type_: str) -> ElementType:
    """Of "tensor(...)". Raises UnsupportedError where the type is not known."""
    name = type_.removeprefix("tensor(").removesuffix(")")
    try:
        return E.from_onnx_name(name)
    except KeyError:
        raise UnsupportedError(f"the type {type_!r} is not known at compile") from None


def convert(
    source: ElementType, to: ElementType, *, saturate: bool = True, round_mode: str = "up"
) -> Function:
    """The function that converts tensors of one element type to another (no strings).

    Floats become integers by truncation, integers of fewer bits keep the low ones; narrower floats
    are rounded to nearest even, float8e8m0 as `round_mode` says ("up", "down", "nearest").
    """
    dtype = DTYPES[to]
    if source is to and not (to is E.FLOAT8E5M2 and saturate):  # infinity would be clamped
        return lambda x: x
    if to is E.FLOAT8E8M0:
        if round_mode not in _MODES:
            raise UnsupportedError(f"round_mode is {round_mode!r}, expected {', '.join(_MODES)}")
        return lambda x: scale_codes(float_values(x), saturate=saturate, round_mode=round_mode)
    if to in _SMALL:
        return lambda x: small_integers(float_values(x).to(torch.int64), to)
    if to in _ROUNDED:
        return lambda x: narrowed(float_values(x), to, dtype, saturate=saturate)
    if source in FLOAT8 or source is E.FLOAT8E8M0:
        return lambda x: float_values(x).to(dtype)
    return lambda x: x.to(dtype)


def _number(text: str) -> float:
    """The value of a numeric literal; Python's reads the standard's "INF", "+inf" and "NaN"."""
    word = text.strip().lower()
    return float(word == "true") if word in ("true", "false") else float(text)


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return int(_number(text))


def _parsed(strings: Host, to: ElementType, saturate: bool, round_mode: str) -> Host:
    """Numbers out of strings, as the adapter takes them: types that NumPy lacks as bit patterns.

    Raises ValueError for a string that is no number.
    """
    flat = strings.reshape(-1).tolist()
    if to.is_native and np.dtype(to.storage).kind in "iu":
        whole: Host = np.array([_whole(s) for s in flat], dtype=to.storage).reshape(strings.shape)
        return whole
    values = np.array([_number(s) for s in flat], dtype=np.float64).reshape(strings.shape)
    if to.is_native:
        with np.errstate(over="ignore"):  # what is out of float16's range is infinite
            native: Host = values.astype(to.storage)
        return native
    made = convert(E.DOUBLE, to, saturate=saturate, round_mode=round_mode)(torch.from_numpy(values))
    if to in FLOAT_TABLES or to in _SMALL:
        found: Host = made.numpy()
        return found
    bits = torch.int16 if made.dtype.itemsize == 2 else torch.uint8
    codes: Host = made.view(bits).numpy().view(to.storage).reshape(strings.shape)
    return codes


def _written(x: Host) -> Host:
    """The shortest decimal literal that gives each number back in its own type."""
    if x.dtype.name in ("int4", "uint4", "int2", "uint2"):
        x = x.astype(np.int8)
    text = x.astype(np.str_) if x.dtype.kind in "biufc" else x.astype(np.float32).astype(np.str_)
    return np.asarray(text, dtype=object)


def _from_strings(node: NodeInfo) -> Function:
    to = _element_type(node.output_types[0])
    saturate = bool(node.attributes.get("saturate", 1))
    round_mode = node.attributes.get("round_mode", "up")

    def run(x: Host, *like: Host) -> Host:
        return x if to is E.STRING else _parsed(x, to, saturate, round_mode)

    return run


def _to_strings(node: NodeInfo) -> Function:
    return lambda x, *like: _written(x)


def _between_numbers(node: NodeInfo) -> Function:
    function = convert(
        _element_type(node.input_types[0]),
        _element_type(node.output_types[0]),
        saturate=bool(node.attributes.get("saturate", 1)),
        round_mode=node.attributes.get("round_mode", "up"),
    )
    return lambda x, *like: function(x)


for _op_type, _versions in (("Cast", _CAST), ("CastLike", _CAST_LIKE)):
    for _types, _kernel in (({"T1": {"string"}}, _from_strings), ({"T2": {"string"}}, _to_strings)):
        table.specialized(
            _op_type, *_versions, types=_types, attributes=_ATTRIBUTES, host_only=True
        )(_kernel)
    table.specialized(_op_type, *_versions, attributes=_ATTRIBUTES)(_between_numbers)


@table.specialized("BitCast", 26, attributes=("to",))
def bit_cast(node: NodeInfo) -> Function:
    """The same bits as another type of that width."""
    source = _element_type(node.input_types[0])
    to = _element_type(node.output_types[0])
    if source.bits != to.bits:
        raise UnsupportedError(
            f"{source.onnx_name} has {source.bits} bits, {to.onnx_name} has {to.bits}"
        )
    if source is to:
        return lambda x: x
    dtype = DTYPES[to]
    if source.bits >= 8:
        return lambda x: x.contiguous().view(dtype)
    codes = _codes_of_float4 if source is E.FLOAT4E2M1 else _codes_of_integers(source.bits)
    if to is E.FLOAT4E2M1:
        return lambda x: _float4_of_codes(codes(x))
    return lambda x: small_integers(codes(x), to)


def _codes_of_integers(bits: int) -> Callable[[Tensor], Tensor]:
    return lambda x: x.view(torch.int8) & ((1 << bits) - 1)


def _codes_of_float4(x: Tensor) -> Tensor:
    """0, 0.5, 1, 1.5, 2, 3, 4, 6 are 0 to 7, and the sign is the bit above."""
    size = x.abs()
    code = torch.where(size <= 2, size * 2, torch.where(size <= 4, size + 2, 7.0))
    return code.to(torch.int8) | (x.signbit().to(torch.int8) << 3)


def _float4_of_codes(codes: Tensor) -> Tensor:
    low = (codes & 7).to(torch.float32)
    size = torch.where(low <= 4, low / 2, torch.where(low <= 6, low - 2, 6.0))
    return torch.where(codes >= 8, -size, size)
