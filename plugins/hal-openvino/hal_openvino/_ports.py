"""Which port of a compiled model is which input or output of the ONNX graph."""

from __future__ import annotations

from typing import Any

from hal.errors import ExecutionError
from hal.graph import Graph, ValueInfo
from hal_openvino._values import type_string

__all__ = ["input_ports", "output_ports"]


def input_ports(compiled: Any, graph: Graph) -> dict[str, Any]:
    """The port of every graph input that the compiled model reads; it has none for the others.

    An input that reaches an output unchanged carries the output's name instead of its own; then it
    is the graph input of that type and shape that no other port is. Raises ExecutionError when two
    could be meant.
    """
    infos = {info.name: info for info in graph.inputs if info.name not in graph.initializers}
    ports: dict[str, Any] = {}
    renamed = []
    for port in compiled.inputs:
        name = next((info for info in infos if info in port.names), "")
        if name:
            ports[name] = port
        else:
            renamed.append(port)
    for port in renamed:
        fits = [n for n, info in infos.items() if n not in ports and _fits(port, info)]
        if len(fits) != 1:
            raise ExecutionError(
                f"OpenVINO has renamed an input to {', '.join(sorted(port.names))}: "
                f"{' or '.join(fits) or 'none'} could be meant"
            )
        ports[fits[0]] = port
    return ports


def output_ports(compiled: Any, graph: Graph) -> dict[str, Any]:
    """The port of every graph output. A tensor may have several names."""
    by_name = {name: port for port in compiled.outputs for name in port.names}
    missing = [output.name for output in graph.outputs if output.name not in by_name]
    if missing:
        raise ExecutionError(f"OpenVINO's compiled model has no output {', '.join(missing)}")
    return {output.name: by_name[output.name] for output in graph.outputs}


def _fits(port: Any, info: ValueInfo) -> bool:
    if info.type and info.type != type_string(port.element_type):
        return False
    shape = port.partial_shape
    if info.shape is None or shape.rank.is_dynamic:
        return True
    return len(shape) == len(info.shape) and all(
        dim.is_dynamic or not isinstance(size, int) or dim.get_length() == size
        for dim, size in zip(shape, info.shape, strict=True)
    )
