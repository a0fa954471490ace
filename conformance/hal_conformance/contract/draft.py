"""What a generator yields: one node, its runs, and what is known of the result."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

from hal import ElementType, Value
from hal.contract import DEFAULT_DOMAIN, Operator, TypeConstraint
from hal_conformance.case import Judge
from hal_conformance.contract.draw import Draw
from hal_conformance.contract.tolerance import EXACT, Tolerance

__all__ = [
    "Ask",
    "Draft",
    "Generator",
    "Oracle",
    "Run",
    "generates",
    "generators_of",
    "label_of",
    "main_constraint",
]

Oracle = Literal["widened", "native", "none"]
"""How ONNX's reference evaluator is asked: on double and complex128, on the types as they are
(where the types are what is tested), or not at all."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One data set. `inputs` by position, None for an optional input left out. `expected` holds a
    result an output, from the generator's own formula in higher precision (see
    `numbers.value_of`); empty if there is none, and the reference evaluator alone decides."""

    inputs: tuple[Value | None, ...]
    expected: tuple[Any, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Draft:
    """A case before its model is built.

    Dimensions that differ between runs are symbolic in the model; `dynamic` makes all of them so.
    """

    slug: str
    runs: tuple[Run, ...]
    outputs: tuple[str, ...]
    """The type string of each output, "" for an optional output left out."""
    attributes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    captured: int = 0
    """How many of the last inputs are no inputs of the node: its subgraphs read them, as `x<i>`."""
    constants: frozenset[int] = frozenset()
    """Inputs, by position, that are initializers instead of graph inputs."""
    tolerance: Tolerance = EXACT
    oracle: Oracle = "widened"
    composition: str = ""
    """For an operator that the evaluator does not have: the same by ONNX's operators, as the body
    of a graph in ONNX's text form over the inputs x0 ... and the outputs y0 ..."""
    reason: str = ""
    """Why the reference evaluator is not asked."""
    reference_error: float = 0.0
    """How far, relative and absolute, the evaluator may be from the formula where it is known to
    compute in float32 or by an approximation."""
    opset: int = 0
    """A newer opset than the operator's version asks for, where a subgraph needs one."""
    dynamic: bool = False
    dynamic_outputs: bool = False
    """Whether the output shapes depend on values, and so are not stated in the model."""
    judge: Judge = "values"
    twice: bool = False
    """Whether the model has the node twice, on the same inputs: `z<i>` are the second one's
    outputs."""


@dataclasses.dataclass(frozen=True)
class Ask:
    """What a generator is asked for: cases of an operator with `type` for one constraint. Operators
    without constraints are asked once, with empty strings."""

    operator: Operator
    constraint: str
    type: str
    salt: str = ""
    """Another one, other draws."""

    @property
    def name(self) -> str:
        """The operator's name without its domain."""
        return self.operator.name

    @property
    def element(self) -> ElementType:
        """The element type of a tensor type."""
        return ElementType.from_onnx_name(self.type[len("tensor(") : -1])

    @property
    def first(self) -> bool:
        """Whether the constraint is the operator's first one."""
        return not self.constraint or self.constraint == self.operator.constraints[0].name

    @property
    def main(self) -> bool:
        """Whether the constraint is that of the data: see `main_constraint`."""
        main = main_constraint(self.operator)
        return main is None or self.constraint == main.name

    @property
    def full(self) -> bool:
        """Whether this type gets every variant: the one most in use. Others get fewer shapes."""
        types = self.types(self.constraint) if self.constraint else ()
        preferred = "tensor(float)" if "tensor(float)" in types else types[0] if types else ""
        return self.type == preferred

    def types(self, constraint: str) -> tuple[str, ...]:
        """The types that the operator allows for a constraint; none if it has no such one."""
        return next((c.types for c in self.operator.constraints if c.name == constraint), ())

    def id(self, slug: str) -> str:
        """The id of this ask's case of that slug."""
        name = self.operator.name
        if self.operator.domain != DEFAULT_DOMAIN:
            name = f"{self.operator.domain}.{name}"
        label = label_of(self.type)
        if not self.first:
            label = f"{self.constraint}_{label}"
        return f"contract/{name}-{self.operator.since_version}/{label}-{slug}".replace("/-", "/")

    def draw(self, slug: str) -> Draw:
        """The draws of the case of that slug."""
        return Draw(self.id(slug) + self.salt)

    def draft(
        self,
        slug: str,
        inputs: Sequence[Value | None],
        expected: Sequence[Any] = (),
        *,
        outputs: Sequence[str] | None = None,
        **settings: Any,
    ) -> Draft:
        """A draft with one run; by default its one output has the type asked for."""
        return Draft(
            slug=slug,
            runs=(Run(tuple(inputs), tuple(expected)),),
            outputs=tuple(outputs) if outputs is not None else (self.type,),
            **settings,
        )


_DATA = {
    "BlackmanWindow": "T2",
    "ConstantOfShape": "T2",
    "EyeLike": "T2",
    "HammingWindow": "T2",
    "HannWindow": "T2",
    "MelWeightMatrix": "T3",
    "OneHot": "T3",
    "QLinearMatMul": "T1",
    "Where": "T",
}


def main_constraint(operator: Operator) -> TypeConstraint | None:
    """The constraint of the data that an operator computes on or moves, for which it has a kernel a
    type: its first one, but where that is of sizes, indices or conditions. None without any."""
    name = _DATA.get(operator.key, "")
    first = operator.constraints[0] if operator.constraints else None
    return next((c for c in operator.constraints if c.name == name), first)


Generator = Callable[[Ask], Iterator[Draft]]

_GENERATORS: dict[str, list[Generator]] = {}


def generates(*operators: str) -> Callable[[Generator], Generator]:
    """Register a generator for operators, by key. It is called once for each type of each
    constraint of their latest version; one operator may have several."""

    def register(generator: Generator) -> Generator:
        for key in operators:
            _GENERATORS.setdefault(key, []).append(generator)
        return generator

    return register


def generators_of(key: str) -> tuple[Generator, ...]:
    """The generators of an operator, in the order in which their modules are imported."""
    return tuple(_GENERATORS.get(key, ()))


def label_of(type_: str) -> str:
    """A type string as part of an id: "seq(tensor(float))" is "seq_float"."""
    words = type_.replace("tensor", "").replace("(", " ").replace(")", " ").replace(",", " ")
    return "_".join(words.split())
