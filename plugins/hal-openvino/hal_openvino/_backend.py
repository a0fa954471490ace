"""The backend `openvino`: its devices, what they support, and how a model is compiled for one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hal.backend import Option, Support, UnsupportedNode
from hal.device import Device, DeviceKind
from hal.errors import UnavailableError, UnsupportedError, UsageError, did_you_mean
from hal.graph import ModelGraph, Node, read_model
from hal.model import Model
from hal_openvino._compat import on_disk, openvino
from hal_openvino._errors import explain, refused_operators, words
from hal_openvino._forms import Form, Forms
from hal_openvino._logits import keep_logits
from hal_openvino._placement import all_nodes
from hal_openvino._session import OpenVinoExecutable

__all__ = ["OpenVinoBackend"]

_KINDS: Mapping[str, DeviceKind] = {"CPU": "cpu", "GPU": "gpu", "NPU": "npu"}
_PRECISIONS = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}
_HINT = "INFERENCE_PRECISION_HINT"
_DEFAULT_PRECISION = "float32"
_OPTIONS = ("precision", "threads", "streams", "fixed_shapes")
_PROPERTY_PREFIX = "ov."


class OpenVinoBackend:
    """The devices that OpenVINO's Core lists; AUTO, HETERO, MULTI and BATCH are none."""

    def __init__(self) -> None:
        self._core: Any = openvino.Core()

    def devices(self) -> Sequence[Device]:
        """Each device that the Core can open, float32 its arithmetic unless asked otherwise."""
        try:
            names = [n for n in self._core.available_devices if n.partition(".")[0] in _KINDS]
        except RuntimeError as error:
            raise UnavailableError(f"OpenVINO's Core lists no devices: {words(error)}") from error
        if not names:
            raise UnavailableError("OpenVINO finds no device here", next_step="hal doctor openvino")
        return tuple(self._device(name) for name in names)

    def _device(self, name: str) -> Device:
        kind, _, index = name.partition(".")
        versions = {"openvino": openvino.get_version()}
        full_name = self._property(name, "FULL_DEVICE_NAME")
        driver = self._property(name, "NPU_DRIVER_VERSION") if kind == "NPU" else ""
        if driver:
            versions["driver"] = driver
        return Device(
            id=f"openvino:{kind.lower()}" + (f":{index}" if index not in ("", "0") else ""),
            kind=_KINDS[kind],
            name=full_name or name,
            vendor="" if kind == "CPU" and "intel" not in full_name.lower() else "Intel",
            memory=int(self._property(name, "GPU_DEVICE_TOTAL_MEM_SIZE") or 0)
            if kind == "GPU"
            else 0,
            versions=versions,
        )

    def _property(self, name: str, key: str) -> str:
        try:
            return str(self._core.get_property(name, key))
        except RuntimeError:
            return ""  # not every device has every property

    def supports(self, device: Device, model: Model) -> Support:
        """The nodes that have no conversion rule, all at once; of a model that converts, those that
        `query_model` leaves out."""
        graph = read_model(model)
        nodes = tuple(all_nodes(graph.graph))
        name = self._name(device)
        try:
            converted = self._read(model, graph)
        except UnsupportedError as error:
            at_fault = error.nodes or ([nodes[0].name] if len(nodes) == 1 else [""])
            return _support(graph, nodes, dict.fromkeys(at_fault, str(error)))
        try:
            taken = self._core.query_model(converted, name)
        except RuntimeError as error:
            raise explain(error) from error
        left = {o.get_friendly_name() for o in converted.get_ops()} - set(taken)
        reasons = {
            node.name: f"OpenVINO's {name} plugin does not take it"
            for node in nodes
            if not left.isdisjoint((node.name, *node.outputs))
        }
        if left and not reasons:
            reasons = {"": f"OpenVINO's {name} plugin does not take {', '.join(sorted(left))}"}
        return _support(graph, nodes, reasons)

    def compile(
        self, device: Device, model: Model, options: Mapping[str, Option]
    ) -> OpenVinoExecutable:
        """A compiled model on one device.

        Options: precision (float32, float16, bfloat16: the arithmetic that the device may use),
        threads and streams (counts, 0: OpenVINO's choice), fixed_shapes (whether shapes that come
        again get a compiled model of their own), and ov.KEY for a property of OpenVINO's own.
        Raises UsageError for others, UnsupportedError with every node that has no conversion rule.
        """
        name, properties = self._name(device), _properties(options)
        fixed = options.get("fixed_shapes", True)
        if not isinstance(fixed, bool):
            raise UsageError(f"option fixed_shapes is true or false, got {fixed!r}")
        graph = read_model(model)
        converted = self._read(model, graph)
        if properties[_HINT] != _PRECISIONS["float32"]:
            keep_logits(converted)
        try:
            usual = Form(self._core.compile_model(converted, name, properties), graph.graph)
        except RuntimeError as error:
            raise explain(error) from error
        open_ = {n: p for n, p in usual.inputs.items() if p.partial_shape.is_dynamic}
        if not (fixed and open_):
            return OpenVinoExecutable(usual, graph.graph, device.id)
        called = {name: port.get_any_name() for name, port in open_.items()}

        def make(shapes: Mapping[str, Sequence[int]]) -> Form:
            own = converted.clone()
            own.reshape({called[n]: list(shape) for n, shape in shapes.items()})
            return Form(self._core.compile_model(own, name, properties), graph.graph)

        return OpenVinoExecutable(usual, graph.graph, device.id, Forms(tuple(open_), make))

    def _read(self, model: Model, graph: ModelGraph) -> Any:
        try:
            with on_disk(model) as file:
                return self._core.read_model(model.data if file is None else file)
        except RuntimeError as error:
            explained = explain(error)
            operators = refused_operators(error)
            if not isinstance(explained, UnsupportedError) or not operators:
                raise explained from error
            known = {name.rpartition("::")[2] for name in operators}
            nodes = [n.name for n in all_nodes(graph.graph) if n.op_type in known]
            raise UnsupportedError(str(explained), nodes=nodes) from error

    def _name(self, device: Device) -> str:
        """OpenVINO's name of a device of `devices`."""
        kind, _, index = device.id.rpartition("/")[2].partition(":")[2].partition(":")
        names = self._core.available_devices
        for name in (f"{kind.upper()}.{index or 0}", kind.upper()):
            if name in names:
                return str(name)
        known = [d.id for d in self.devices()]
        raise UsageError(
            f"openvino has no device {device.id!r}.{did_you_mean(device.id, known)}",
            next_step="hal devices",
        )


def _properties(options: Mapping[str, Option]) -> dict[str, Any]:
    precision = str(options.get("precision", _DEFAULT_PRECISION))
    if precision not in _PRECISIONS:
        raise UsageError(
            f"option precision takes {', '.join(_PRECISIONS)}, got {precision!r}."
            f"{did_you_mean(precision, _PRECISIONS)}"
        )
    properties: dict[str, Any] = {_HINT: _PRECISIONS[precision]}
    for name, value in options.items():
        if name in ("threads", "streams"):
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise UsageError(
                    f"option {name} takes a count, 0 for OpenVINO's own, got {value!r}"
                )
            if value:
                properties["INFERENCE_NUM_THREADS" if name == "threads" else "NUM_STREAMS"] = value
        elif name.startswith(_PROPERTY_PREFIX):
            properties[name[len(_PROPERTY_PREFIX) :]] = value
        elif name not in _OPTIONS:
            raise UsageError(
                f"openvino has no option {name!r}.{did_you_mean(name, _OPTIONS)}",
                next_step=f"use one of {', '.join(_OPTIONS)}, or {_PROPERTY_PREFIX}KEY",
            )
    return properties


def _support(graph: ModelGraph, nodes: Iterable[Node], reasons: Mapping[str, str]) -> Support:
    by_name = {node.name: node for node in nodes}
    found = []
    for name, reason in reasons.items():
        node = by_name.get(name)
        opset = graph.opset_import.get(node.domain, 0) if node else 0
        found.append(UnsupportedNode(name, f"{node.operator}-{opset}" if node else "", reason))
    return Support(tuple(found))
