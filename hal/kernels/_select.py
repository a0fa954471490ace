"""Finds the row of a table that takes a node, and makes the step that calls it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Union

from hal.contract import Operator
from hal.errors import ExecutionError, HalError, UnsupportedError
from hal.kernels._program import Constants, Step, Value
from hal.kernels._table import KernelTable, NodeInfo, Row

if TYPE_CHECKING:
    from hal.kernels._lower import Lowering

__all__ = ["Refusal", "Selected", "select"]


@dataclasses.dataclass(frozen=True)
class Refusal:
    """Why no row takes a node. `final`: a function body would not help."""

    reason: str
    final: bool = False


@dataclasses.dataclass(frozen=True)
class Selected:
    """The step that computes a node, and what was known of the node in the end."""

    step: Step
    info: NodeInfo


def select(
    lowering: Lowering,
    table: KernelTable,
    operator: Operator | None,
    info: NodeInfo,
    inputs: Sequence[Value | None],
    given: Mapping[str, Any],
) -> Selected | Refusal:
    """The step of the first row that takes the node, or why none does."""
    if operator is not None and operator.deprecated:
        return Refusal(f"deprecated by opset {info.opset}", final=True)
    known_domain = (info.domain or "ai.onnx") in lowering.contract.domains
    versions = table.versions(info.domain, info.op_type)
    # A table may know operators that a runtime put in a domain of the standard: onnxruntime's
    # optimizer writes ai.onnx's SimplifiedLayerNormalization, and LayerNormalization before 17.
    if operator is None and known_domain and not any(v <= info.opset for v in versions):
        return Refusal(f"the standard has no such operator in opset {info.opset}", final=True)
    reason = lowering.unsupported_types([*info.input_types, *info.output_types])
    if reason:
        return Refusal(reason, final=True)
    version = info.version
    if operator is None:
        version = max((v for v in versions if v <= info.opset), default=0)
    rows = table.rows(info.domain, info.op_type, version)
    if not rows:
        return Refusal(_no_row(info, versions))
    reasons: list[str] = []
    for row in rows:
        found = _try(lowering, row, operator, info, inputs, given)
        if isinstance(found, Selected):
            return found
        if found not in reasons:
            reasons.append(found)
    return Refusal("; ".join(reasons))


def _no_row(info: NodeInfo, versions: Sequence[int]) -> str:
    types = ", ".join(t for t in info.input_types if t)
    of = f" (for {types})" if types else ""
    if versions:
        return f"no kernel for this version{of}, only for {', '.join(map(str, versions))}"
    return f"no kernel{of}"


def _try(
    lowering: Lowering,
    row: Row,
    operator: Operator | None,
    info: NodeInfo,
    inputs: Sequence[Value | None],
    given: Mapping[str, Any],
) -> Union[Selected, str]:
    reason = _types_refused(row, operator, info) or _attributes_refused(row, operator, given)
    if reason:
        return reason
    least, most = row.arity
    present = len(inputs)
    while present and inputs[present - 1] is None:
        present -= 1
    if 0 <= most < present:
        return f"its kernel takes {most} inputs, the node has {present}"
    args = list(inputs[:present]) + [None] * (least - present)
    info = _completed(lowering, row, operator, info, inputs)
    try:
        function, keywords = _bound(row, info, given)
    except UnsupportedError as error:
        return str(error)
    except HalError:
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise ExecutionError(f"node {info.name!r} ({info.label}): compiling it: {what}") from error
    moved = None
    if lowering.host_table is not None and not row.host_only:
        moved = _on_host(lowering, operator, info, inputs, given)
    step = Step(
        label="",
        origin="",
        args=args,
        outputs=(),
        op_type=info.op_type,
        function=function,
        keywords=keywords,
        host=row.host,
        on_host=row.host_only,
        host_result=row.host_only,
        host_only=row.host_only,
        deterministic=row.deterministic,
        moved=moved,
    )
    return Selected(step, info)


def _on_host(
    lowering: Lowering,
    operator: Operator | None,
    info: NodeInfo,
    inputs: Sequence[Value | None],
    given: Mapping[str, Any],
) -> Callable[[], tuple[Callable[..., Any], Mapping[str, Any]]] | None:
    """How the host table computes the node, if it does."""
    if lowering.host_table is None:
        return None
    for row in lowering.host_table.rows(info.domain, info.op_type, info.version):
        if row.specialized or _types_refused(row, operator, info):
            continue
        if _attributes_refused(row, operator, given):
            continue
        if any(hasattr(value, "element_type") for value in given.values()):
            continue  # a tensor attribute is an array of the device by now
        least, most = row.arity
        if len(inputs) >= least and (most < 0 or len(inputs) <= most):
            return lambda: _bound(row, info, given)
    return None


def _types_refused(row: Row, operator: Operator | None, info: NodeInfo) -> str:
    if not row.types:
        return ""
    plain = [t.replace(" ", "") for t in info.input_types]
    anywhere = row.types.get("")
    if anywhere is not None:
        for type_ in plain if any(plain) else info.output_types:
            if type_ and type_ not in anywhere:
                return f"no kernel for {type_}"
    if operator is None:
        return ""
    bound = operator.bind(info.input_types, info.output_types)
    for constraint, allowed in row.types.items():
        for type_ in bound.get(constraint, ()):
            if constraint and type_.replace(" ", "") not in allowed:
                return f"no kernel for {constraint} = {type_}"
    return ""


def _attributes_refused(row: Row, operator: Operator | None, given: Mapping[str, Any]) -> str:
    for name in row.required:
        if name not in given:
            return f"its kernel needs the attribute {name!r}"
    if row.attributes is None:
        return ""
    for name, value in given.items():
        if name in row.attributes:
            continue
        formal = operator.attribute(name) if operator is not None else None
        if formal is None or formal.default is None or formal.default != value:
            return f"its kernel does not take the attribute {name!r}"
    return ""


class _KnownInputs(Sequence[Any]):
    """The constant inputs of a node in the form that a row wants, None for the others. Each array
    is made when it is asked for: most kernels look at none, and weights are large."""

    def __init__(self, constants: Constants, row: Row, inputs: Sequence[Value | None]) -> None:
        self._constants = constants
        self._host = set(range(len(inputs))) if row.host_only else row.host
        self._inputs = inputs

    def __len__(self) -> int:
        return len(self._inputs)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        position = range(len(self))[index]
        value = self._inputs[position]
        if value is None or not value.constant:
            return None
        get = self._constants.host if position in self._host else self._constants.device
        return get(value)


def _completed(
    lowering: Lowering,
    row: Row,
    operator: Operator | None,
    info: NodeInfo,
    inputs: Sequence[Value | None],
) -> NodeInfo:
    """The info that a kernel sees: constants, and attributes over the standard's defaults."""
    constants: Sequence[Any] = ()
    if row.specialized or "node" in row.keywords:
        constants = _KnownInputs(lowering.constants, row, inputs)
    attributes = dict(info.attributes)
    if operator is not None:
        for formal in operator.attributes:
            if formal.default is not None:
                attributes.setdefault(formal.name, formal.default)
    info = dataclasses.replace(
        info, version=row.version, constants=constants, attributes=attributes
    )
    if operator is not None:
        return info
    found = list(row.output_types(info)) if row.output_types is not None else []
    first = next((t for t in info.input_types if t), "")
    types = tuple(
        (found[i] if i < len(found) else "") or said or first
        for i, said in enumerate(info.output_types)
    )
    return dataclasses.replace(info, output_types=types)


def _bound(
    row: Row, info: NodeInfo, given: Mapping[str, Any]
) -> tuple[Callable[..., Any], Mapping[str, Any]]:
    """The function to call at run time and its keyword arguments."""
    if row.host_only:
        given = {name: info.attributes[name] for name in given}
    keywords = {
        name: info.attributes[name]
        for name in given
        if name in row.keywords or (row.attributes is None and name != "node")
    }
    if "node" in row.keywords:
        keywords["node"] = info
    if row.specialized:
        return row.function(info, **keywords), {}
    return row.function, keywords
