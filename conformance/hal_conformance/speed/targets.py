"""What is timed: operators at the sizes that models give them, and models that reach a ceiling."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Iterator, Sequence

import numpy as np
from onnx import numpy_helper, parser

from hal import Model, Tensor, Value
from hal.contract import contract
from hal_conformance.speed.single import single_node
from hal_conformance.speed.typical import typical
from hal_conformance.speed.usage import Instance, usage
from hal_conformance.speed.work import bytes_of, operations_of

__all__ = ["PROFILES", "CeilingTarget", "Target", "ceiling_targets", "operators", "targets"]

PROFILES = ("core", "vision", "transformer")
"""The profiles all of whose operators are timed, beside those that the zoo uses."""
_MIB = 1 << 20
_COPIES = (_MIB, *(_MIB << step for step in range(2, 9)))
"""Bytes read and written together; in steps of two where a cache may end."""
_PRODUCTS = (512, 1024, 2048)
_ROW = 1024


@dataclasses.dataclass(frozen=True)
class Target:
    """An operator by its key, at one size."""

    key: str
    instance: Instance

    @property
    def shape(self) -> str:
        """ "float[1,64,56,56], float[64,64,1,1]": what the node reads."""
        return ", ".join(str(a) for a in self.instance.inputs if a)

    @property
    def operations(self) -> float:
        """Two a multiply-add."""
        found = operations_of(contract().latest(self.key).name, self.instance)
        if found is None:
            raise NotImplementedError(f"no formula for the operations of {self.key}")
        return found

    @property
    def bytes(self) -> int:
        """Read and written."""
        return bytes_of(contract().latest(self.key).name, self.instance)

    def made(self) -> tuple[Model, dict[str, Value]]:
        """The model, and what it is fed."""
        return single_node(self.key, self.instance)


@dataclasses.dataclass(frozen=True)
class CeilingTarget:
    """A model that does nothing but multiply, or but move: `work` are its operations or bytes.
    `weights` are constants of the model. The one named `call` has as good as no work."""

    name: str
    what: str
    bytes: int
    work: float
    text: str
    shapes: tuple[tuple[int, ...], ...]
    weights: tuple[int, ...] = ()

    def made(self) -> tuple[Model, dict[str, Value]]:
        """The model, and what it is fed."""
        drawn = np.random.default_rng(0)
        proto = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 13]> {self.text}')
        inputs: dict[str, Value] = {
            f"x{i}": Tensor.from_numpy(drawn.random(shape, np.float32))
            for i, shape in enumerate(self.shapes)
        }
        if self.weights:
            weights = drawn.random(self.weights, np.float32)
            proto.graph.initializer.append(numpy_helper.from_array(weights, "w"))
        return Model(proto.SerializeToString()), inputs


@functools.cache
def operators() -> frozenset[str]:
    """The keys of all that can be timed."""
    profiles = {op.key for name in PROFILES for op in contract().operators_of(name)}
    return frozenset(profiles | set(usage().operators))


def targets(only: Collection[str] | None = None) -> list[Target]:
    """What is timed of these operators, or of all: the size on which models spend most, of each
    operator, then the next ones. What models use most comes first."""
    used = usage().operators
    chosen = sorted(
        operators() if only is None else operators() & set(only),
        key=lambda key: (-used[key].nodes if key in used else 0, key),
    )
    lists: list[Sequence[Instance]] = []
    for key in chosen:
        known = used.get(key)
        if known and known.instances:
            lists.append(known.instances)
        elif (own := typical(key)) is not None:
            lists.append([own])
        else:
            raise NotImplementedError(f"no size for {key}")
    most = max(map(len, lists), default=0)
    pairs = list(zip(chosen, lists, strict=True))
    return [Target(k, found[i]) for i in range(most) for k, found in pairs if i < len(found)]


def ceiling_targets() -> list[CeilingTarget]:
    """An empty call; products and copies, of which the best count. Engines have several kernels of
    each: for a product of two inputs, for one with a constant that can be packed, for a convolution
    of one pixel; to negate, to copy two inputs in one, to pick the halves in another order."""
    one = "call (float[1] x0) => (float[1] y) { y = Neg(x0) }"
    return [
        CeilingTarget("call", "Neg float[1]", 8, 8.0, one, ((1,),)),
        *(target for n in _PRODUCTS for target in _products(n)),
        *(target for size in _COPIES for target in _copies(size)),
    ]


def _products(n: int) -> Iterator[CeilingTarget]:
    one, image = f"float[{n},{n}]", f"float[1,{n},{n // 32},32]"
    moved, work = 12 * n * n, 2.0 * n**3
    text = f"matmul ({one} x0, {one} x1) => ({one} y) {{ y = MatMul(x0, x1) }}"
    yield CeilingTarget("matmul", f"MatMul {one}", moved, work, text, ((n, n),) * 2)
    text = f"matmul ({one} x0) => ({one} y) {{ y = MatMul(x0, w) }}"
    what = f"MatMul {one} by a constant"
    yield CeilingTarget("matmul", what, moved, work, text, ((n, n),), (n, n))
    text = f"conv ({image} x0) => ({image} y) {{ y = Conv(x0, w) }}"
    shape = (1, n, n // 32, 32)
    yield CeilingTarget("matmul", f"Conv 1x1 {image}", moved, work, text, (shape,), (n, n, 1, 1))


def _copies(size: int) -> Iterator[CeilingTarget]:
    rows = size // 8 // _ROW
    whole, half = f"float[{rows},{_ROW}]", f"float[{rows // 2},{_ROW}]"
    text = f"neg ({whole} x0) => ({whole} y) {{ y = Neg(x0) }}"
    yield CeilingTarget("copy", f"Neg {whole}", size, size, text, ((rows, _ROW),))
    text = f"cat ({half} x0, {half} x1) => ({whole} y) {{ y = Concat<axis=0>(x0, x1) }}"
    halves = ((rows // 2, _ROW),) * 2
    yield CeilingTarget("copy", f"Concat 2 x {half}", size, size, text, halves)
    pair = f"float[2,{rows // 2 * _ROW}]"
    text = f"pick ({pair} x0) => ({pair} y) <int64[2] i = {{1, 0}}> {{ y = Gather<axis=0>(x0, i) }}"
    yield CeilingTarget("copy", f"Gather {pair}", size, size, text, ((2, rows // 2 * _ROW),))
