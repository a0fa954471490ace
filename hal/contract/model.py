"""The words of the contract as frozen dataclasses: operators, their signatures, cells."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Sequence
from typing import Literal, Union

__all__ = [
    "CONTRIBUTED_DOMAIN",
    "DEFAULT_DOMAIN",
    "STABLE_DOMAINS",
    "UNBOUNDED",
    "Attribute",
    "AttributeDefault",
    "Cell",
    "Operator",
    "Parameter",
    "TypeConstraint",
    "canonical_domain",
    "operator_key",
]

DEFAULT_DOMAIN = "ai.onnx"
STABLE_DOMAINS = (DEFAULT_DOMAIN, "ai.onnx.ml")
"""The domains whose cells the contract counts; preview domains come on top."""

CONTRIBUTED_DOMAIN = "com.microsoft"
"""The domain of onnxruntime's own operators, which the standard does not know. Its cells are
counted apart, under the profile `microsoft`."""

UNBOUNDED = 2**31 - 1
"""What `max_inputs` and `max_outputs` say of a variadic operator, as ONNX's schemas do."""

AttributeDefault = Union[int, float, str, tuple[int, ...], tuple[str, ...], None]
ParameterOption = Literal["single", "optional", "variadic"]
FunctionBody = Literal["", "static", "context-dependent"]
Determinism = Literal["deterministic", "non-deterministic", "unknown"]


def canonical_domain(domain: str) -> str:
    """The domain as HAL writes it: the default domain, "" in a model, is "ai.onnx"."""
    return domain or DEFAULT_DOMAIN


def operator_key(domain: str, op_type: str) -> str:
    """How HAL names an operator: "Softmax" in ai.onnx, else "ai.onnx.ml::Scaler"."""
    domain = canonical_domain(domain)
    return op_type if domain == DEFAULT_DOMAIN else f"{domain}::{op_type}"


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A formal input or output.

    `type` is the name of a type constraint ("T") or a type string ("tensor(int64)"), and `types`
    every type string that it allows. A variadic parameter is the last one, takes at least
    `min_arity` values, and if it is `homogeneous` these all have the same type.
    """

    name: str
    type: str
    types: tuple[str, ...]
    option: ParameterOption = "single"
    homogeneous: bool = True
    min_arity: int = 1


@dataclasses.dataclass(frozen=True)
class Attribute:
    """An attribute; `type` is named as in AttributeProto ("INTS", "GRAPH"). `default` is None when
    the standard states none; strings are text."""

    name: str
    type: str
    required: bool = False
    default: AttributeDefault = None


@dataclasses.dataclass(frozen=True)
class TypeConstraint:
    """A named type of an operator version and the type strings it allows."""

    name: str
    types: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Cell:
    """One requirement: an operator's latest version takes `type` for its type constraint."""

    operator: str
    domain: str
    since_version: int
    constraint: str
    type: str

    @property
    def id(self) -> str:
        """E.g. "Add-14/T/tensor(float)" or "ai.onnx.ml::Scaler-1/T/tensor(float)"."""
        return f"{self.operator}-{self.since_version}/{self.constraint}/{self.type}"

    @property
    def container(self) -> bool:
        """Whether the type is a sequence, an optional or a map, not a tensor."""
        return not self.type.startswith("tensor(")

    @property
    def first_opset(self) -> int:
        """The lowest opset of the domain at which the cell's operator version exists."""
        return self.since_version


@dataclasses.dataclass(frozen=True)
class Operator:
    """One version of an operator.

    `latest` is set on the version that cells are counted on: the newest one, unless that is
    deprecated. `family` is the part of the standard that defines it (math, nn, tensor ...).
    `function` says whether the standard gives a body in terms of other operators, and whether that
    depends on the node. `determinism` is what the schema declares; it is wider than randomness (If
    and Loop count as non-deterministic, their bodies being unknown), for that see `random`.
    """

    name: str
    domain: str
    since_version: int
    family: str
    inputs: tuple[Parameter, ...]
    outputs: tuple[Parameter, ...]
    min_inputs: int
    max_inputs: int
    min_outputs: int
    max_outputs: int
    attributes: tuple[Attribute, ...]
    constraints: tuple[TypeConstraint, ...]
    function: FunctionBody = ""
    determinism: Determinism = "deterministic"
    deprecated: bool = False
    experimental: bool = False
    latest: bool = False

    @property
    def key(self) -> str:
        """The operator without its version: "Softmax", "ai.onnx.ml::Scaler"."""
        return operator_key(self.domain, self.name)

    @property
    def id(self) -> str:
        """The operator with its version: "Softmax-13", "ai.onnx.ml::Scaler-1"."""
        return f"{self.key}-{self.since_version}"

    @property
    def random(self) -> bool:
        """Whether its output is drawn at random: these operators, and only these, have a `seed`."""
        return any(attribute.name == "seed" for attribute in self.attributes)

    @functools.cached_property
    def cells(self) -> tuple[Cell, ...]:
        """Its cells, in the order of the standard; none unless this version is the `latest`."""
        if not self.latest:
            return ()
        return tuple(
            Cell(self.key, self.domain, self.since_version, constraint.name, type_)
            for constraint in self.constraints
            for type_ in constraint.types
        )

    def attribute(self, name: str) -> Attribute | None:
        """The attribute of that name, or None."""
        return next((a for a in self.attributes if a.name == name), None)

    def input(self, index: int) -> Parameter | None:
        """The formal parameter of the actual input at `index`; None if there is none."""
        return _formal(self.inputs, index)

    def output(self, index: int) -> Parameter | None:
        """The formal parameter of the actual output at `index`; None if there is none."""
        return _formal(self.outputs, index)

    def bind(
        self,
        input_types: Sequence[str | None],
        output_types: Sequence[str | None] = (),
    ) -> dict[str, tuple[str, ...]]:
        """The types that a node's inputs and outputs give each constraint, in order, each once.

        Types are type strings; None or "" stands for an absent optional or an unknown type. A type
        that the constraint does not allow is left out.
        """
        bound: dict[str, dict[str, None]] = {c.name: {} for c in self.constraints}
        for formals, types in ((self.inputs, input_types), (self.outputs, output_types)):
            for index, type_ in enumerate(types):
                formal = _formal(formals, index)
                if not type_ or formal is None or formal.type not in bound:
                    continue
                known = _spelling(formal.types, type_)
                if known:
                    bound[formal.type][known] = None
        return {name: tuple(types) for name, types in bound.items() if types}


def _formal(parameters: tuple[Parameter, ...], index: int) -> Parameter | None:
    if index < len(parameters):
        return parameters[index]
    if parameters and parameters[-1].option == "variadic":
        return parameters[-1]
    return None


def _spelling(types: tuple[str, ...], type_: str) -> str:
    """`type_` as the standard spells it (with a blank in maps), "" if not among `types`."""
    if type_ in types:
        return type_
    bare = _bare(type_)
    return next((known for known in types if _bare(known) == bare), "")


def _bare(type_: str) -> str:
    """Without blanks, and with a map's values as schemas write them: "map(int64,float)", where a
    model's type says "map(int64, tensor(float))"."""
    return _MAP.sub(r"map(\1,\2)", type_.replace(" ", ""))


_MAP = re.compile(r"map\((\w+),tensor\((\w+)\)\)")
