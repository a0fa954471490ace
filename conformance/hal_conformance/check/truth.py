"""What the values of a model should be, by the reference run, asked for when they are needed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from hal import Tensor, Value
from hal.compare import relative_l2
from hal.reference import Reference, ReferenceRun
from hal_conformance.check.parts import Parts

__all__ = ["Truth", "nbytes"]

_STEP = 1.0
"""How far a quantized value may be off: one on either side of a rounding boundary is as right."""


class Truth:
    """The values of one reference run; `budget` bytes of them are kept, the rest is computed again.

    `accuracy` is the relative L2 error that is admitted; 0: what the model's own conditioning
    admits (hal.reference).
    """

    def __init__(
        self,
        reference: Reference,
        parts: Parts,
        inputs: Mapping[str, Value],
        accuracy: float,
        budget: int,
    ) -> None:
        self._reference = reference
        self._parts = parts
        self._inputs = inputs
        self._accuracy = accuracy
        self._budget = budget
        self._kept: OrderedDict[str, Value] = OrderedDict()
        self._tolerances: dict[str, float] = {}
        self._rounded = {
            o
            for node in parts.graph.graph.nodes
            if "Quantize" in node.op_type or "QLinear" in node.op_type or "Integer" in node.op_type
            for o in node.outputs
        }
        self.random = parts.random()
        self.run: ReferenceRun = reference.run(inputs)
        self._take(self.run)

    def values(self, names: Iterable[str]) -> dict[str, Value]:
        """The values of these names. Raises UnsupportedError if no engine can give them."""
        wanted = list(dict.fromkeys(names))
        found: dict[str, Value] = {n: self._inputs[n] for n in wanted if n in self._inputs}
        for name in wanted:
            if name in self._kept:
                self._kept.move_to_end(name)
                found[name] = self._kept[name]
        missing = [
            n for n in wanted if n not in found and n not in self._parts.graph.graph.initializers
        ]
        if missing:
            known = set(self._parts.outputs)
            run = self._reference.run(self._inputs, [n for n in missing if n not in known])
            self._take(run)
            found |= {n: run.outputs[n] for n in missing}
        for name in wanted:
            if name not in found:  # an input with a default that nobody gave
                found[name] = self._parts.graph.graph.initializers[name]
        return {n: found[n] for n in wanted}

    def tolerance(self, name: str) -> float:
        """The relative L2 error that a value may have, once it has been asked for."""
        return self._tolerances[name]

    def wrong(self, name: str, expected: Value, got: Value | None) -> str:
        """Why a value is not what it should be; "" where it is, or where it depends on a draw."""
        if name in self.random:
            return ""
        if got is None:
            return "it is missing"
        error, allowed = relative_l2(expected, got), self.tolerance(name)
        if error <= allowed or (name in self._rounded and _a_step_away(expected, got)):
            return ""
        if isinstance(expected, Tensor) and isinstance(got, Tensor):
            want, have = ((t.type, list(t.shape)) for t in (expected, got))
            if want != have:
                return f"expected {want[0]} {want[1]}, got {have[0]} {have[1]}"
        return f"relative error {error:.2g}, allowed {allowed:.2g}"

    def _take(self, run: ReferenceRun) -> None:
        for name, value in run.outputs.items():
            allowed = run.tolerance(name)
            self._tolerances[name] = max(allowed, self._accuracy) if allowed else allowed
            self._kept[name] = value
            self._kept.move_to_end(name)
        total = sum(map(nbytes, self._kept.values()))
        while total > self._budget and len(self._kept) > len(run.outputs):
            total -= nbytes(self._kept.popitem(last=False)[1])


def nbytes(value: Value) -> int:
    """Bytes of a tensor; of anything else about that."""
    if isinstance(value, Tensor):
        return value.nbytes
    return sum(map(nbytes, getattr(value, "items", ()))) or 64


def _a_step_away(expected: Value, got: Value) -> bool:
    """Whether integers differ by one at most, and few of them do."""
    if not (isinstance(expected, Tensor) and isinstance(got, Tensor)):
        return False
    if (expected.type, expected.shape) != (got.type, got.shape) or not expected.size:
        return False
    want, have = (t.bits().astype("i8") for t in (expected, got))
    off = abs(want - have)
    return bool(off.max() <= _STEP and (off > 0).mean() <= 0.01)
