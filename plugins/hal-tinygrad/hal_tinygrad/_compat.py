"""What HAL needs of tinygrad 0.14 beyond its documented face, in one place.

`OnnxRunner` takes a path or a Tensor, and has no way to say where external data lies; it also keeps
the values of inputs that become attributes (shapes, axes) from one run for the next, which gives a
wrong answer when they change (tinygrad/nn/onnx.py, `_python_const_cache`), and the sizes of
symbolic dimensions, so that the next run takes no others (`variable_dims`). And it reads a constant
by way of its device CPU, whatever the device of the context is, and so needs clang everywhere
(tinygrad/tensor.py, `Tensor._buffer`).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from tinygrad import Device, Tensor, dtypes
from tinygrad.device import ALL_DEVICES
from tinygrad.helpers import Context
from tinygrad.nn.onnx import Domain, OnnxPBParser, OnnxRunner, OpSetId, onnx_ops

from hal.model import Model

__all__ = [
    "KINDS",
    "Device",
    "Tensor",
    "dtypes",
    "forget_run",
    "kernel_of",
    "known_domain",
    "on_device",
    "runner",
    "unknown_attributes",
]

_buffer = Tensor._buffer


def _own_buffer(self: Any) -> Any:
    """As tinygrad's, for a constant on the device of the context."""
    placed = self.uop.device is not None
    return _buffer(self if placed else self.contiguous().clone(Device.DEFAULT))


Tensor._buffer = _own_buffer

KINDS = tuple(ALL_DEVICES)
"""tinygrad's names of the kinds of devices that compute."""


def on_device(name: str) -> Any:
    """A context in which tensors are made and computed on tinygrad's device of that name."""
    return Context(DEV=name)


def runner(model: Model) -> OnnxRunner:
    """A model read by tinygrad, its weights on the device of the context."""
    parser = OnnxPBParser(Tensor(model.data, device="PYTHON"))
    if model.folder is not None:
        parser.file_path = model.folder / "model.onnx"
    made: OnnxRunner = OnnxRunner.__new__(OnnxRunner)
    made._init_from_graph(parser.parse()["graph"])
    return made


def forget_run(made: OnnxRunner) -> None:
    """Forget an earlier run's inputs that became attributes, and its sizes; in subgraphs too."""
    made._python_const_cache.clear()
    made.variable_dims.clear()
    for node in made.graph_nodes:
        for value in node.opts.values():
            if isinstance(value, OnnxRunner):
                forget_run(value)


def kernel_of(domain: str, op_type: str, opset: int) -> Any:
    """tinygrad's function for an operator at an opset; None if it has none."""
    found = onnx_ops.get(op_type)
    if found is None or inspect.isfunction(found):
        return found if not domain or known_domain(domain) else None
    eligible = {
        key.version: function
        for key, function in found.items()
        if known_domain(domain) and key == OpSetId(Domain.from_onnx(domain), key.version)
        if key.version <= opset
    }
    return eligible[max(eligible)] if eligible else None


def unknown_attributes(function: Any, attributes: Mapping[str, Any]) -> list[str]:
    """The attributes that a kernel does not take."""
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return []
    names = {p.name for p in parameters}
    return [name for name in attributes if name not in names]


def known_domain(domain: str) -> bool:
    """Whether tinygrad knows a domain of operators; it reads no model that imports another."""
    try:
        Domain.from_onnx(domain)
    except ValueError:
        return False
    return True
