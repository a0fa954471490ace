"""The table of layers that the compiler prints: which layer of which node runs where.

The compiler derives a layer's name from the node or the tensor that it comes of: "Conv:n0" for the
node n0, "Cast:n0_2fp_mul_cast" for a part of it, "Reshape:x_rs" for the tensor x made to fit.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence

from hal.graph import ModelGraph, Node
from hal.placement import Evidence, NodePlacement, Placement

__all__ = ["Layer", "placed", "read_layers"]

_HEADER = "FullName"
# ID, OpType, DataType, Target, InputShape, OutputShape, Cycles(DDR/NPU/Total), RW(KB), FullName
_ROW = re.compile(
    r"\] \d+ +(?P<kind>\S+) +\S+ +(?P<target>NPU|CPU|GPU) .*"
    r" \d+/\d+/\d+ +[\d.]+ +[^ :]+:(?P<name>.*\S)"
)
_PORTS = ("InputOperator", "OutputOperator")
_ADAPTERS = frozenset({"Cast", "Reshape", "Transpose", "Identity", "exDataConvert", "exNorm"})
"""Layers that only fit a tensor to the layout or the type of the next one."""
_SUFFIX = re.compile(r"[_\-#.:/]")


@dataclasses.dataclass(frozen=True)
class Layer:
    """One layer as compiled: `target` is "NPU", "CPU" (the chip's own) or "GPU"."""

    kind: str
    target: str
    name: str


def read_layers(log: Iterable[str]) -> list[Layer] | None:
    """The layers of the last table in the compiler's log, without the model's inputs and outputs.
    None if there is no table."""
    layers: list[Layer] | None = None
    for line in log:
        if _HEADER in line:
            layers = []
        elif layers is not None and (found := _ROW.search(line)):
            layers.append(Layer(found["kind"], found["target"], found["name"]))
    return layers and [layer for layer in layers if layer.kind not in _PORTS]


def placed(graph: ModelGraph, layers: Sequence[Layer], device: str) -> Placement:
    """Where each node runs: on `device` if its layers do, on "CPU" or the like if one of them
    does not, and folded if it has none. Layers that adapt a tensor count for a node that has no
    others."""
    places: dict[str, list[Layer]] = {node.name: [] for node in graph.graph.nodes}
    owners = _owners(graph.graph.nodes)
    for layer in layers:
        for node in _owner(layer, owners):
            places[node].append(layer)
    return Placement(
        tuple(
            NodePlacement(name, _place(own, device), Evidence.ASSIGNED)
            for name, own in places.items()
        )
    )


def _place(layers: Sequence[Layer], device: str) -> str:
    telling = [layer for layer in layers if layer.kind not in _ADAPTERS] or layers
    elsewhere = [layer.target for layer in telling if layer.target != "NPU"]
    return elsewhere[0] if elsewhere else device if telling else ""


def _owners(nodes: Sequence[Node]) -> dict[str, list[str]]:
    """The nodes that a layer's name may come of, by the name it begins with: that of the node, of
    one of its outputs or, for what goes into the model, of one of its inputs."""
    owners: dict[str, list[str]] = {}
    for node in nodes:
        for value in filter(None, node.inputs):
            owners.setdefault(value, []).append(node.name)
    for node in nodes:
        for value in filter(None, node.outputs):
            owners[value] = [node.name]
    for node in nodes:
        owners[node.name] = [node.name]
    return owners


def _owner(layer: Layer, owners: dict[str, list[str]]) -> list[str]:
    """Those of the longest name that the layer's begins with; none if no name fits."""
    name = layer.name
    ends = [len(name), *(match.start() for match in reversed(list(_SUFFIX.finditer(name))))]
    for end in ends:
        if name[:end] in owners:
            return owners[name[:end]]
    return []
