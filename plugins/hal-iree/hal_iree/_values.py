"""Tensors on their way into and out of IREE's buffers, as bytes: NumPy need not know the type."""

from __future__ import annotations

import functools
from typing import Any

import iree.runtime as rt
import numpy as np

from hal.errors import UnfedError
from hal.tensor import Tensor, Value
from hal.types import ElementType

__all__ = ["OnDevice", "given", "taken"]

_ELEMENTS = {
    ElementType.FLOAT: "FLOAT_32",
    ElementType.DOUBLE: "FLOAT_64",
    ElementType.FLOAT16: "FLOAT_16",
    ElementType.BFLOAT16: "BFLOAT_16",
    ElementType.BOOL: "BOOL_8",
    ElementType.INT8: "INT_8",
    ElementType.INT16: "INT_16",
    ElementType.INT32: "INT_32",
    ElementType.INT64: "INT_64",
    ElementType.UINT8: "UINT_8",
    ElementType.UINT16: "UINT_16",
    ElementType.UINT32: "UINT_32",
    ElementType.UINT64: "UINT_64",
}
_PLACES = int(rt.MemoryType.DEVICE_LOCAL)
_USES = int(rt.BufferUsage.DEFAULT | rt.BufferUsage.MAPPING)


def given(name: str, value: Value, device: Any) -> Any:
    """A device array of a tensor. Raises UnfedError for what is no tensor or of another type."""
    if not isinstance(value, Tensor) or value.element_type not in _ELEMENTS:
        raise UnfedError(f"input {name!r}: IREE's API takes no {value.type}")
    bits = np.array(value.bits(), order="C")
    view = device.allocator.allocate_buffer_copy(
        memory_type=_PLACES,
        allowed_usage=_USES,
        device=device,
        buffer=bits.view(np.int8) if bits.dtype == np.bool_ else bits,
        element_type=getattr(rt.HalElementType, _ELEMENTS[value.element_type]),
    )
    return rt.DeviceArray(device, view)


def taken(name: str, array: Any, type_: str, device: Any) -> Tensor:
    """The tensor of an output whose type the model declares as `type_`."""
    element = ElementType.from_onnx_name(type_.removeprefix("tensor(").removesuffix(")"))
    if element not in _ELEMENTS:
        raise UnfedError(f"output {name!r}: IREE's API gives no {type_}")
    view = array._buffer_view
    shape = tuple(int(n) for n in view.shape)
    count = element.nbytes(int(np.prod(shape)))
    if not count:
        return Tensor(element, shape, memoryview(b""))
    return Tensor(element, shape, memoryview(_bytes(view.get_buffer(), device)[:count].tobytes()))


class OnDevice:
    """An output on its device. It exports DLPack by way of the host."""

    def __init__(self, name: str, array: Any, type_: str, device: Any) -> None:
        self._taken = functools.partial(taken, name, array, type_, device)

    def __dlpack__(self, **options: Any) -> Any:
        return self._taken().numpy().copy().__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)  # kDLCPU


def _bytes(source: Any, device: Any) -> np.ndarray[Any, Any]:
    """What a buffer holds, by way of one that the host can map: iree-base-runtime 3.13's own
    `to_host` imports unaligned memory into Vulkan, which refuses it."""
    staging = device.allocator.allocate_buffer(
        memory_type=int(rt.MemoryType.HOST_LOCAL | rt.MemoryType.DEVICE_VISIBLE),
        allowed_usage=int(rt.BufferUsage.TRANSFER_TARGET | rt.BufferUsage.MAPPING_SCOPED),
        allocation_size=source.byte_length(),
    )
    done = device.create_semaphore(0)
    device.queue_copy(
        source,
        staging,
        wait_semaphores=rt.HalFence.create_at(done, 0),
        signal_semaphores=rt.HalFence.create_at(done, 1),
    )
    rt.HalFence.create_at(done, 1).wait()
    held: np.ndarray[Any, Any] = staging.map().asarray((source.byte_length(),), np.dtype(np.uint8))
    return np.array(held)
