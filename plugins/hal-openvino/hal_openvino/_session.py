"""A model compiled by OpenVINO for one device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hal.errors import ExecutionError, UnfedError
from hal.graph import Graph
from hal.placement import Placement
from hal.tensor import Value
from hal_openvino._errors import explain
from hal_openvino._placement import layers, placed
from hal_openvino._ports import input_ports, output_ports
from hal_openvino._values import feed, taken

__all__ = ["OpenVinoExecutable"]


class OpenVinoExecutable:
    """Runs one compiled model; every thread that is in `run` has an infer request of its own."""

    def __init__(self, compiled: Any, graph: Graph, device: str) -> None:
        self._compiled: Any = compiled
        self._graph = graph
        self._device = device
        self._inputs = input_ports(compiled, graph)
        self._outputs = output_ports(compiled, graph)
        self._idle: list[Any] = []

    def run(self, inputs: Mapping[str, Value]) -> dict[str, Value]:
        """Run once. Raises UnfedError for a value that OpenVINO's API cannot take."""
        compiled = self._compiled
        if compiled is None:
            raise ExecutionError("the executable is closed")
        missing = [name for name in self._inputs if name not in inputs]
        if missing:
            # The request would run on what its memory happens to hold.
            raise ExecutionError(f"no value for input {', '.join(missing)}")
        given = {name: feed(name, value) for name, value in inputs.items()}
        try:
            request = self._idle.pop()  # atomic, as append is
        except IndexError:
            request = compiled.create_infer_request()
        try:
            for name, tensor in given.items():
                port = self._inputs.get(name)
                if port is not None:
                    request.set_tensor(port, tensor)
                elif name in self._graph.initializers:
                    raise UnfedError(
                        f"input {name!r}: OpenVINO has made its initializer a constant"
                    )
            request.infer(share_outputs=True)  # or it copies every output
            results: dict[str, Value] = {
                n: taken(n, request.get_tensor(p)) for n, p in self._outputs.items()
            }
        except RuntimeError as error:
            raise explain(error) from error
        self._idle.append(request)
        return results

    def placement(self) -> Placement:
        """Where each node ran, by the names in the compiled model's layers."""
        if self._compiled is None:
            raise ExecutionError("the executable is closed")
        return placed(self._graph, layers(self._compiled.get_runtime_model()), self._device)

    def close(self) -> None:
        """Let the compiled model and its requests go; their memory is freed with them."""
        self._idle.clear()
        self._compiled = None
        self._inputs, self._outputs = {}, {}
