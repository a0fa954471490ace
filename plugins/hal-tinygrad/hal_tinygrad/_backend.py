"""The backend `tinygrad`: what it supports, and a model made ready for one of its devices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hal.backend import Option, Support, UnsupportedNode
from hal.device import Device
from hal.errors import UnavailableError, UnsupportedError, UsageError
from hal.graph import Graph, Node, read_model
from hal.model import Model
from hal.placement import Evidence, Placement
from hal.tensor import Value
from hal_tinygrad import _compat
from hal_tinygrad._devices import list_devices, tinygrad_name, told
from hal_tinygrad._values import given, taken

__all__ = ["TinygradBackend", "TinygradExecutable"]


class TinygradBackend:
    """tinygrad's own ONNX runner, on the devices that it opens here."""

    def devices(self) -> Sequence[Device]:
        """The devices that start. Raises UnavailableError when none does."""
        found = list_devices()
        if all(device.unavailable for device in found):
            reasons = "; ".join(f"{d.id}: {d.unavailable}" for d in found)
            raise UnavailableError(
                f"tinygrad opens no device here: {reasons}",
                next_step="apt-get install pocl-opencl-icd (an OpenCL device on any CPU)",
            )
        return found

    def supports(self, device: Device, model: Model) -> Support:
        """The nodes that tinygrad has no function for, or whose attribute it does not take."""
        graph = read_model(model)
        found = [
            UnsupportedNode("", f"{domain}::", f"tinygrad knows no domain {domain!r}")
            for domain in graph.opset_import
            if not _compat.known_domain(domain)
        ]
        for node in _all_nodes(graph.graph):
            opset = graph.opset_import.get(node.domain, 1)
            reason = _refusal(node, opset)
            if reason:
                found.append(UnsupportedNode(node.name, f"{node.operator}-{opset}", reason))
        return Support(tuple(found))

    def compile(
        self, device: Device, model: Model, options: Mapping[str, Option]
    ) -> TinygradExecutable:
        """A model with its weights on the device; its kernels are made when it first runs.

        There are no options. Raises UnsupportedError with every node that tinygrad does not take.
        """
        if options:
            raise UsageError(f"tinygrad has no option {next(iter(options))!r}: it takes none")
        refused = self.supports(device, model).unsupported
        if refused:
            said = ", ".join(f"{n.node} ({n.operator}): {n.reason}" for n in refused)
            raise UnsupportedError(
                f"{device.id} does not take {len(refused)} nodes: {said}"
                if len(refused) > 1
                else f"{device.id} does not take 1 node: {said}",
                nodes=[n.node for n in refused if n.node],
            )
        return TinygradExecutable(device, model)


class TinygradExecutable:
    """A model on one device. One thread at a time: tinygrad's device is a global setting."""

    def __init__(self, device: Device, model: Model) -> None:
        graph = read_model(model).graph
        self._device, self._name = device, tinygrad_name(device)
        self._nodes = [node.name for node in _all_nodes(graph)]
        self._types = {output.name: output.type for output in graph.outputs}
        with _compat.on_device(self._name), _explained(device):
            self._runner: Any = _compat.runner(model)

    def run(self, inputs: Mapping[str, Value]) -> dict[str, Value]:
        """Run once; kernels for shapes that are new are compiled on the way."""
        with _compat.on_device(self._name), _explained(self._device):
            _compat.forget_run(self._runner)
            feeds = {name: given(name, value) for name, value in inputs.items()}
            results = self._runner(feeds)
            return {n: taken(n, results[n], kind) for n, kind in self._types.items()}

    def placement(self) -> Placement:
        """tinygrad has no other device to compute on: it was made on this one alone."""
        return Placement.everywhere(self._nodes, self._device.id, Evidence.SOLE)

    def close(self) -> None:
        """Let go of the weights."""
        self._runner = None


class _explained:
    """Turns what tinygrad says of an operator that it lacks into UnsupportedError."""

    def __init__(self, device: Device) -> None:
        self._device = device

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        missing = isinstance(error, NotImplementedError)
        # A type of ONNX that tinygrad lacks is no member of its enumeration or table of types.
        typed = isinstance(error, (KeyError, ValueError)) and "OnnxDataType" in str(error)
        if error is not None and (missing or typed):
            raise UnsupportedError(f"{self._device.id}: {told(error)}") from error


def _refusal(node: Node, opset: int) -> str:
    function = _compat.kernel_of(node.domain, node.op_type, opset)
    if function is None:
        return "tinygrad has no such operator"
    unknown = _compat.unknown_attributes(function, node.attributes)
    return f"tinygrad's takes no attribute {', '.join(unknown)}" if unknown else ""


def _all_nodes(graph: Graph) -> Iterator[Node]:
    """The nodes of a graph and of its subgraphs."""
    for node in graph.nodes:
        yield node
        for value in node.attributes.values():
            for inner in value if isinstance(value, tuple) else (value,):
                if isinstance(inner, Graph):
                    yield from _all_nodes(inner)
