"""Lower precision for some nodes: what torch.autocast does at run time, decided at compile time."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from hal.graph import AttributeValue, Node
from hal.kernels._program import Value
from hal.kernels._types import infer_output_types
from hal.types import ElementType

if TYPE_CHECKING:
    from hal.kernels._lower import Context, Lowering

__all__ = ["Precision", "PrecisionPolicy"]

FULL = "tensor(float)"


@dataclasses.dataclass(frozen=True)
class PrecisionPolicy:
    """Which operators compute float32 in `element_type`.

    An operator of `compute` always does. One of `follow` (data movement, elementwise) does where
    all that it is given, constants aside, is of that type already. Every other operator, control
    flow and the model's outputs are given float32. Keys are (domain, op_type) as in NodeInfo.
    """

    element_type: ElementType
    compute: Collection[tuple[str, str]]
    follow: Collection[tuple[str, str]]


class Precision:
    """A policy at work on one lowering."""

    def __init__(self, lowering: Lowering, policy: PrecisionPolicy) -> None:
        self._lowering = lowering
        self._policy = policy
        self._low = f"tensor({policy.element_type.onnx_name})"
        self._lowered: dict[int, Value] = {}
        """The values that are of the lower type by the policy, not by the model's own doing."""
        self._casts: dict[tuple[int, int, str], tuple[Value, Value | None]] = {}
        """By block, value and type; the value is kept so that its id stays its own."""

    def node(
        self,
        node: Node,
        used: tuple[bool, ...],
        declared: tuple[str, ...],
        attributes: Mapping[str, AttributeValue],
        inputs: Sequence[Value | None],
        context: Context,
    ) -> Sequence[Value | None]:
        """Lower a node in the precision that the policy gives it."""
        operator = (node.domain, node.op_type)
        is_call = (node.domain, node.op_type, node.overload) in self._lowering.model.functions
        target = FULL
        if operator in self._policy.compute and not is_call:
            target = self._low
        elif operator in self._policy.follow and not is_call:
            live = [v for v in inputs if v is not None and not v.constant]
            given = [v for v in live if v.type == FULL or id(v) in self._lowered]
            if given and all(id(v) in self._lowered for v in given):
                target = self._low
        cast = [self._in(value, target, context.origin_of(node), context) for value in inputs]
        if target == self._low:
            declared = self._declared(node, declared, attributes, cast, context)
        lenient = target == self._low  # an operator's older versions do not list bfloat16
        outputs = self._lowering.node(node, used, declared, attributes, cast, context, lenient)
        if target == self._low:
            for value in outputs:
                if value is not None and value.type == self._low:
                    self._lowered[id(value)] = value
        return outputs

    def _declared(
        self,
        node: Node,
        declared: tuple[str, ...],
        attributes: Mapping[str, AttributeValue],
        inputs: Sequence[Value | None],
        context: Context,
    ) -> tuple[str, ...]:
        """The types of a lowered node's outputs: what they are over float32, in the lower type.
        Older versions of operators do not list bfloat16, so that their own constraints say nothing
        of it."""
        opset = context.opsets.get(node.domain)
        operator = None
        if opset is not None:
            operator = self._lowering.contract.resolve(node.domain, node.op_type, opset)
        if operator is not None:
            plain = ["" if v is None else self._full_type(v) for v in inputs]
            declared = infer_output_types(operator, node.domain, attributes, plain, declared)
        return tuple(self._low if t == FULL else t for t in declared)

    def _full_type(self, value: Value) -> str:
        return FULL if id(value) in self._lowered else value.type

    def full(self, values: Sequence[Value | None], context: Context) -> list[Value | None]:
        """Values that leave a graph, in the types that the model gives them."""
        return [self._in(value, FULL, context.origin, context) for value in values]

    def _in(self, value: Value | None, type_: str, origin: str, context: Context) -> Value | None:
        """The value in `type_`, if it is float32 or the policy has lowered it."""
        if value is None or value.type == type_:
            return value
        if value.type != FULL and id(value) not in self._lowered:
            return value
        key = (id(context.block), id(value), type_)
        if key not in self._casts:
            self._casts[key] = (value, self._cast(value, type_, origin, context))
        return self._casts[key][1]

    def _cast(self, value: Value, type_: str, origin: str, context: Context) -> Value | None:
        newest = self._lowering.contract.newest_opset("")
        context = dataclasses.replace(context, origin=origin or "Cast", opsets={"": newest})
        element_type = ElementType.from_onnx_name(type_[len("tensor(") : -1])
        node = Node("", "Cast", "", ("x",), ("y",), {})
        to = {"to": int(element_type)}
        (made,) = self._lowering.node(node, (True,), (type_,), to, [value], context)
        if made is not None and type_ == self._low:
            self._lowered[id(made)] = made
        return made
