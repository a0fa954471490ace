"""What a candidate will probably cost, so that few of them need to be measured.

A roofline of the model (arithmetic, bytes moved, calls) gives a first guess, with the speed that
its backend declares; what this machine has measured of other models corrects it, the more the more
alike they are. Where a conformance run has timed operators on the device, their times added up
count as one model more.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from hal._work import product_operations
from hal.device import DeviceKind
from hal.errors import HalError
from hal.graph import Graph, ModelGraph, Node, read_model
from hal.model import Model
from hal.routing._candidates import Entry
from hal.routing._evidence import Times, operator_times
from hal.store import Store

__all__ = ["CostModel", "NodeCosts", "Work", "work_of"]

_PEAKS: Mapping[DeviceKind, tuple[float, float]] = {"cpu": (1e11, 2e10)}
"""Operations and bytes a second: orders of magnitude, which measurements correct."""
_ACCELERATOR = 1e13, 5e11
_LINK = 1e10
"""Bytes a second to an accelerator and back."""
_CALL = 2e-6
"""Seconds a node costs, whatever it does."""
_NEAR = 0.6
"""The distance of two models, in the units of `Work.features`, at which they tell half of each
other."""
_PRIOR = 0.3
"""How many models like this one a declared speed is worth."""
_OPERATORS = 1.0
"""How many models like this one the times of its operators, one by one, are worth."""
_VIEWS = frozenset(
    ["Constant", "Dropout", "Flatten", "Identity", "Reshape", "Shape", "Squeeze", "Unsqueeze"]
)
"""They copy by themselves, and not within a model."""


@dataclasses.dataclass(frozen=True)
class Work:
    """What one run of a model takes: operations (two a multiply-add) in convolutions, in grouped
    ones, in matrix products and elsewhere; bytes of all operands; bytes in and out; nodes. `known`
    says that the shapes were. `operators`: by key the operations in products, and the bytes."""

    convolution: float
    grouped: float
    product: float
    other: float
    bytes: float
    transfer: float
    nodes: int
    known: bool
    operators: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)

    @property
    def operations(self) -> float:
        return self.convolution + self.grouped + self.product + self.other

    @property
    def features(self) -> tuple[float, ...]:
        """Where models that are alike lie near one another."""
        total = max(self.operations, 1.0)
        size = math.log10(total)
        return (
            self.convolution / total,
            2 * self.grouped / total,
            self.product / total,
            (size - math.log10(max(self.nodes, 1))) / 3,
            size / 4,
        )

    def seconds(self, kind: DeviceKind) -> float:
        """The roofline."""
        peak, bandwidth = _PEAKS.get(kind, _ACCELERATOR)
        link = 0.0 if kind == "cpu" else self.transfer / _LINK
        return max(self.operations / peak, self.bytes / bandwidth) + self.nodes * _CALL + link


class CostModel:
    """Predicts seconds. `machine` is that of `hal.routing`'s facts: other machines' measurements do
    not count."""

    def __init__(self, store: Store, machine: Mapping[str, str], *, without: str = "") -> None:
        self._store, self._machine = store, machine
        self._times: dict[str, dict[str, tuple[Times, ...]]] = {}
        self._found: dict[str, list[tuple[tuple[float, ...], float]]] = {}
        self._kinds: dict[str, dict[Any, list[tuple[tuple[float, ...], float]]]] = {}
        for row in store.rows("measurements"):
            document = row.document
            if document.get("machine") != dict(machine) or document.get("model") == without:
                continue
            try:
                known = tuple(map(float, document["features"])), float(document["correction"])
            except (KeyError, TypeError, ValueError):
                continue
            self._found.setdefault(row.group, []).append(known)
            kind = str(document.get("kind", ""))
            self._kinds.setdefault(kind, {}).setdefault(document.get("model"), []).append(known)

    def predict(self, entry: Entry, work: Work) -> float:
        """Seconds of one run."""
        # The time of one run, which is what was measured, says little of what is for another goal.
        if entry.goal:
            return guess(entry, work)
        return guess(entry, work) * math.exp(self._correction(entry, work))

    def _correction(self, entry: Entry, work: Work) -> float:
        label, device = entry.candidate.label, entry.candidate.device
        # What has not been measured is as far from its roofline as what was on such a device; in
        # another type, as the device itself in its usual form.
        prior = self._usual(device.kind, work)
        if entry.precision != "float32":
            prior = self._blended(device.id, prior, work)
        usual = self._blended(label, prior, work)
        if label != device.id:
            return usual
        # Operators were timed in the usual form alone.
        if label not in self._times:
            self._times[label] = operator_times(self._store, device, self._machine)
        added = added_up(self._times[label], entry, work)
        if not added:
            return usual
        weight = _PRIOR + sum(_alike(features, work) for features, _ in self._found.get(label, ()))
        of_operators = math.log(added / guess(entry, work))
        return (weight * usual + _OPERATORS * of_operators) / (weight + _OPERATORS)

    def _blended(self, label: str, prior: float, work: Work) -> float:
        """The correction by what was measured of a candidate, the more of models like this one; a
        prior for the rest."""
        total, weights = _PRIOR * prior, _PRIOR
        for features, correction in self._found.get(label, ()):
            weight = _alike(features, work)
            total += weight * correction
            weights += weight
        return total / weights

    def _usual(self, kind: DeviceKind, work: Work) -> float:
        """The correction of models like this one on devices of a kind, whatever the candidate."""
        total, weights = 0.0, _PRIOR
        for rows in self._kinds.get(kind, {}).values():
            weight = _alike(rows[0][0], work)
            total += weight * statistics.fmean(correction for _, correction in rows)
            weights += weight
        return total / weights


def _alike(features: Sequence[float], work: Work) -> float:
    """What a measurement of a model with these features tells of another: 1 of the same."""
    distance = math.dist(features, work.features) / _NEAR
    return math.pow(0.5, distance * distance)


def guess(entry: Entry, work: Work) -> float:
    """The roofline, by the speed that the backend declares."""
    seconds = work.seconds(entry.candidate.device.kind)
    if entry.precision == "float32":
        return seconds / entry.speed
    # Another type speeds up products and convolutions, dynamic int8 products alone.
    fast = work.product if entry.candidate.variant == "int8" else (
        work.convolution + work.grouped + work.product
    )  # fmt: skip
    share = fast / max(work.operations, 1.0)
    return seconds * ((1 - share) + share / entry.speed)


def added_up(times: Mapping[str, tuple[Times, ...]], entry: Entry, work: Work) -> float:
    """The seconds of a model by those of its operators, each at the rate of its own sizes: of
    operations for products, else of bytes. 0 where too little of the model was timed.

    The shortest time of all is what a run costs whatever it does; it counts once. The work of
    operators that were not timed takes its share of the roofline.
    """
    floor = min((s for sizes in times.values() for s, _, _ in sizes), default=0.0)
    total, roofline, known = floor, 0.0, 0.0
    peak, bandwidth = _PEAKS.get(entry.candidate.device.kind, _ACCELERATOR)
    for key, (operations, moved) in work.operators.items():
        if key in _VIEWS:
            continue
        share = max(operations / peak, moved / bandwidth)
        roofline += share
        sizes = times.get(key, ())
        base = sum(o if operations else b for _, o, b in sizes)
        if base:
            net = sum(max(s - floor, 0.0) for s, _, _ in sizes)
            total += net / base * (operations or moved)
            known += share
        else:
            total += share / entry.speed
    return total + work.nodes * _CALL if known > roofline / 2 else 0.0


def measured(entry: Entry, work: Work, seconds: float) -> dict[str, Any]:
    """What a measurement teaches, for the table "measurements"."""
    correction = math.log(max(seconds, 1e-9) / guess(entry, work))
    kind = entry.candidate.device.kind
    return {"features": list(work.features), "correction": correction, "kind": kind}


def work_of(model: Model, shapes: Mapping[str, Sequence[int]]) -> Work:
    """What a model does on inputs of these shapes. Shapes within it are inferred by onnx where that
    is installed; without them the weights alone count."""
    graph = read_model(model)
    try:
        inferred = _inferred(model, shapes)
        graph = read_model(Model(inferred, model.folder)) if inferred else graph
    except HalError:
        pass  # what the file itself says is enough for a guess
    return _Counter(graph, shapes).work()


def _inferred(model: Model, shapes: Mapping[str, Sequence[int]]) -> bytes:
    if len(model.data) > 1 << 30:
        return b""
    try:
        import onnx
    except ImportError:
        return b""
    try:
        proto = onnx.load_from_string(model.data)
        for info in proto.graph.input:
            dims = info.type.tensor_type.shape.dim
            for dim, size in zip(dims, shapes.get(info.name, ()), strict=False):
                dim.dim_value = size
        # Symbols that the file left in its own notes contradict the sizes.
        del proto.graph.value_info[:]
        for info in proto.graph.output:
            info.type.tensor_type.ClearField("shape")
        made: bytes = onnx.shape_inference.infer_shapes(proto, data_prop=True).SerializeToString()
        return made
    except Exception:  # noqa: BLE001 (the checker raises its own, protobuf's and RuntimeError)
        return b""


class _Counter:
    def __init__(self, graph: ModelGraph, shapes: Mapping[str, Sequence[int]]) -> None:
        self._graph = graph.graph
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._known = True
        main = self._graph
        for info in (*main.inputs, *main.outputs, *main.value_info.values()):
            if info.shape is not None and all(isinstance(d, int) for d in info.shape):
                self._shapes[info.name] = tuple(d for d in info.shape if isinstance(d, int))
        self._shapes.update((n, tuple(t.shape)) for n, t in main.initializers.items())
        self._shapes.update((n, tuple(s)) for n, s in shapes.items())

    def work(self) -> Work:
        sums = dict.fromkeys(("convolution", "grouped", "product", "other"), 0.0)
        operators: dict[str, tuple[float, float]] = {}
        total = 0.0
        for node in self._graph.nodes:
            kind, operations = self._operations(node)
            moved = 4.0 * sum(self.size(n) for n in (*node.inputs, *node.outputs) if n)
            sums[kind] += operations
            total += moved
            before = operators.get(node.operator, (0.0, 0.0))
            products = 0.0 if kind == "other" else operations
            operators[node.operator] = before[0] + products, before[1] + moved
        return Work(
            sums["convolution"],
            sums["grouped"],
            sums["product"],
            sums["other"],
            bytes=total,
            transfer=self._transfer(self._graph),
            nodes=len(self._graph.nodes),
            known=self._known,
            operators=operators,
        )

    def node(self, node: Node) -> Work:
        sums = dict.fromkeys(("convolution", "grouped", "product", "other"), 0.0)
        kind, operations = self._operations(node)
        sums[kind] = operations
        moved = 4.0 * sum(self.size(n) for n in (*node.inputs, *node.outputs) if n)
        return Work(
            sums["convolution"],
            sums["grouped"],
            sums["product"],
            sums["other"],
            bytes=moved,
            transfer=0.0,
            nodes=1,
            known=self._known,
        )

    def _transfer(self, graph: Graph) -> float:
        ends = (*graph.inputs, *graph.outputs)
        return 4.0 * sum(self.size(i.name) for i in ends if i.name not in graph.initializers)

    def size(self, name: str) -> float:
        shape = self._shapes.get(name)
        return 0.0 if shape is None else float(math.prod(shape))

    def _operations(self, node: Node) -> tuple[str, float]:
        out = self.size(node.outputs[0]) if node.outputs else 0.0
        shapes = [self._shapes.get(name) for name in node.inputs]
        if node.outputs and node.outputs[0] not in self._shapes:
            self._known = False
            # The weights alone, each used once.
            out = 1.0
        group = int(_integer(node, "group", 1))
        return product_operations(node.op_type, shapes, out, group=group) or ("other", out)


class NodeCosts:
    """What single nodes take, by the shapes that a model itself notes; `sizes` are those of open
    dimensions."""

    def __init__(self, model: ModelGraph, sizes: Mapping[str, int]) -> None:
        shapes: dict[str, Sequence[int]] = {}
        main = model.graph
        for info in (*main.inputs, *main.outputs, *main.value_info.values()):
            dims = [sizes.get(d, 1) if isinstance(d, str) else d or 1 for d in info.shape or ()]
            if info.shape is not None:
                shapes[info.name] = dims
        self._counter = _Counter(model, shapes)

    def work(self, node: Node) -> Work:
        """What a run of a node takes."""
        return self._counter.node(node)

    def bytes(self, name: str) -> float:
        """Bytes of a value, 0 where its shape is not known."""
        return 4.0 * self._counter.size(name)

    @staticmethod
    def moved(size: float, kind: DeviceKind) -> float:
        """Seconds that bytes take to or from a device."""
        return 0.0 if kind == "cpu" else size / _LINK


def _integer(node: Node, name: str, default: int) -> int:
    value = node.attributes.get(name, default)
    return value if isinstance(value, int) else default
