"""One-node models that ask a backend whether it takes a cell, without running anything.

A probe imports the lowest opset and IR that admit the cell, has small static shapes, and gives the
operator the attributes it requires. It is meant for `Backend.supports`; its values mean nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from hal.contract import _proto
from hal.contract._contract import Contract
from hal.contract._probe_table import DEFAULT_SHAPE, PROBES, Probe
from hal.contract.model import DEFAULT_DOMAIN, Cell, Operator
from hal.model import Model
from hal.types import ElementType

__all__ = ["cell_probe", "operator_probe"]

_PREFERRED = ("float", "int64", "int32", "uint8", "int8", "bool", "string", "float16")
_TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype", "output_datatype")
_EMPTY = Probe()
_OUTER = "outer"
"""A graph input that the branches of an If read."""


def cell_probe(contract: Contract, cell: Cell) -> Model:
    """A one-node model whose node exercises the cell."""
    operator = contract.latest(cell.operator)
    return _probe(contract, operator, cell.constraint, cell.type)


def operator_probe(contract: Contract, operator: Operator) -> Model:
    """A one-node model of an operator over the types that are most often met."""
    if not operator.constraints:
        return _probe(contract, operator, "", "")
    first = operator.constraints[0]
    return _probe(contract, operator, first.name, _matching(first.types, "tensor(float)"))


def _probe(contract: Contract, operator: Operator, constraint: str, type_: str) -> Model:
    probe = PROBES.get(operator.key, _EMPTY)
    types = _bind(operator, constraint, type_)
    inputs, ports, constants = _inputs(operator, probe, constraint, types)
    outputs = _outputs(operator, probe, constraint, types)
    if operator.key == "If" and types["V"].startswith("seq("):
        ports.append(_proto.Port(_OUTER, types["V"], DEFAULT_SHAPE))
    attributes = {
        **probe.attributes,
        **_type_attributes(operator, types, given=len(inputs)),
        **_bodies(contract, operator, types, inputs),
    }
    domain = "" if operator.domain == DEFAULT_DOMAIN else operator.domain
    body = _proto.node(
        operator.name,
        inputs,
        [port.name for port in outputs],
        attributes,
        domain=domain,
        name="probe",
    )
    opsets = {operator.domain: operator.since_version}
    if operator.key == "If" and types["V"].startswith("optional("):
        # Only the newest Optional makes every element type that If takes.
        opsets = {DEFAULT_DOMAIN: contract.newest_opset()}
    if operator.domain != DEFAULT_DOMAIN:
        opsets[DEFAULT_DOMAIN] = _companion(contract, operator)
    main = _proto.graph("probe", [body], ports, outputs, constants)
    return Model(_proto.model(main, opsets, contract.ir_version(opsets)))


def _bind(operator: Operator, constraint: str, type_: str) -> dict[str, str]:
    """A type for every constraint: the one asked for, and those that go with it."""
    types = {constraint: type_} if constraint else {}
    if operator.key == "ai.onnx.ml::CategoryMapper":  # maps each of its two types to the other
        given = types.get("T1", "tensor(string)" if "int" in types.get("T2", "int") else "")
        text, number = "tensor(string)", "tensor(int64)"
        return {"T1": text, "T2": number} if given == text else {"T1": number, "T2": text}
    for other in operator.constraints:
        if other.name not in types:
            types[other.name] = _matching(other.types, type_)
    return types


def _matching(allowed: Sequence[str], wanted: str) -> str:
    """The type of `allowed` that fits beside `wanted`: itself, what it holds or what holds it, the
    same element type, or the most usual."""
    inner = wanted.partition("(")[2][:-1]
    element = _element(wanted)
    candidates = [
        wanted,
        *(inner,) * ("(" in inner),
        f"seq({wanted})",
        f"optional({wanted})",
        *(t for t in allowed if _element(t) == element),
        *(f"tensor({name})" for name in _PREFERRED),
    ]
    return next((t for t in candidates if t in allowed), allowed[0])


def _element(type_: str) -> str:
    words = re.findall(r"\w+", type_)
    return words[-1] if words else ""


def _inputs(
    operator: Operator, probe: Probe, constraint: str, types: Mapping[str, str]
) -> tuple[list[str], list[_proto.Port], list[_proto.TensorLiteral]]:
    """The node's input names, the graph's inputs, and its constants."""
    needed = [operator.min_inputs, probe.count, *(position + 1 for position in probe.inputs)]
    for position, parameter in enumerate(operator.inputs):
        if parameter.option == "variadic" and parameter.min_arity > 0:
            needed.append(position + 1)
    users = [p for p, formal in enumerate(operator.inputs) if formal.type == constraint][:1]
    count = max(*needed, *(position + 1 for position in users))
    names: list[str] = []
    ports: list[_proto.Port] = []
    constants: list[_proto.TensorLiteral] = []
    for position in range(count):
        parameter = operator.inputs[min(position, len(operator.inputs) - 1)]
        wanted = position < operator.min_inputs or position in (*probe.inputs, *users)
        if not wanted and position < count - 1 and parameter.option == "optional":
            names.append("")
            continue
        name = f"x{position}"
        names.append(name)
        type_ = types.get(parameter.type, parameter.type)
        value = probe.values.get(position)
        if value is not None and type_ == "tensor(int64)":
            if isinstance(value, int):
                constants.append(_proto.int64s(name, [value], ()))
            else:
                constants.append(_proto.int64s(name, value))
        else:
            shape = probe.shapes[min(position, len(probe.shapes) - 1)]
            ports.append(_proto.Port(name, type_, shape))
    return names, ports, constants


def _outputs(
    operator: Operator, probe: Probe, constraint: str, types: Mapping[str, str]
) -> list[_proto.Port]:
    count = max(operator.min_outputs, probe.outputs, 1)
    only_output = constraint and all(p.type != constraint for p in operator.inputs)
    if only_output:
        for position, parameter in enumerate(operator.outputs):
            if parameter.type == constraint:
                count = max(count, position + 1)
                break
    ports = []
    for position in range(count):
        parameter = operator.outputs[min(position, len(operator.outputs) - 1)]
        ports.append(_proto.Port(f"y{position}", types.get(parameter.type, parameter.type)))
    return ports


def _type_attributes(
    operator: Operator, types: Mapping[str, str], *, given: int
) -> dict[str, _proto.AttributeValue]:
    """Attributes that decide a type: of the output, or of a table that the operator holds."""
    special = _SPECIAL.get(operator.key)
    if special is not None:
        return special(types)
    output = types.get(operator.outputs[0].type, "")
    for name in _TYPE_ATTRIBUTES:
        if operator.attribute(name) and not (name == "output_dtype" and given > 2):
            return {name: int(ElementType.from_onnx_name(_element(output)))}
    return {}


def _constant(types: Mapping[str, str]) -> dict[str, _proto.AttributeValue]:
    return {"value": _proto.zeros("value", types["T"], DEFAULT_SHAPE)}


def _constant_of_shape(types: Mapping[str, str]) -> dict[str, _proto.AttributeValue]:
    return {"value": _proto.zeros("value", types["T2"], (1,))}


def _optional(types: Mapping[str, str]) -> dict[str, _proto.AttributeValue]:
    # Without an input, the attribute tells the type.
    return {"type": _proto.type_literal(types["V"], DEFAULT_SHAPE)}


def _window(types: Mapping[str, str]) -> dict[str, _proto.AttributeValue]:
    return {"output_datatype": int(ElementType.from_onnx_name(_element(types["T2"])))}


def _mel(types: Mapping[str, str]) -> dict[str, _proto.AttributeValue]:
    return {"output_datatype": int(ElementType.from_onnx_name(_element(types["T3"])))}


def _layer_normalization(types: Mapping[str, str]) -> dict[str, _proto.AttributeValue]:
    return {"stash_type": int(ElementType.from_onnx_name(_element(types["U"])))}


def _label_encoder(types: Mapping[str, str]) -> dict[str, _proto.AttributeValue]:
    return {
        "keys_tensor": _proto.zeros("keys", types["T1"], (1,)),
        "values_tensor": _proto.zeros("values", types["T2"], (1,)),
        "default_tensor": _proto.zeros("default", types["T2"], (1,)),
    }


def _vocabulary(attribute: str, strings: str) -> _Special:
    """The attribute of int64 or of string entries, whichever the constraint T1 or T holds."""

    def attributes(types: Mapping[str, str]) -> dict[str, _proto.AttributeValue]:
        held = types.get("T1", types.get("T", ""))
        text = held.startswith(("tensor(string", "map(string"))
        return {strings: ["a"]} if text else {attribute: [0]}

    return attributes


def _classes(types: Mapping[str, str]) -> dict[str, _proto.AttributeValue]:
    labels = types.get("T2", types.get("T", ""))
    text = "string" in labels
    return {"classlabels_strings": ["a", "b"]} if text else {"classlabels_ints": [0, 1]}


def _zip_map(types: Mapping[str, str]) -> dict[str, _proto.AttributeValue]:
    text = "string" in types["T"]
    return {"classlabels_strings": list("abc")} if text else {"classlabels_int64s": [0, 1, 2]}


def _cast_map(types: Mapping[str, str]) -> dict[str, _proto.AttributeValue]:
    return {"cast_to": f"TO_{_element(types['T2']).upper()}"}


def _imputer(types: Mapping[str, str]) -> dict[str, _proto.AttributeValue]:
    whole = "int" in types["T"]
    return {"imputed_value_int64s": [0]} if whole else {"imputed_value_floats": [0.0]}


def _tree_ensemble(types: Mapping[str, str]) -> dict[str, _proto.AttributeValue]:
    type_ = types["T"]
    return {
        "leaf_targetids": [0, 0],
        "leaf_weights": _proto.zeros("leaf_weights", type_, (2,)),
        "nodes_falseleafs": [1],
        "nodes_falsenodeids": [1],
        "nodes_featureids": [0],
        "nodes_modes": _proto.zeros("nodes_modes", "tensor(uint8)", (1,)),
        "nodes_splits": _proto.zeros("nodes_splits", type_, (1,)),
        "nodes_trueleafs": [1],
        "nodes_truenodeids": [0],
        "tree_roots": [0],
        "n_targets": 1,
    }


def _tfidf(types: Mapping[str, str]) -> dict[str, _proto.AttributeValue]:
    return {"pool_strings": ["a", "b"]} if "string" in types["T"] else {"pool_int64s": [0, 1]}


_Special = Callable[[Mapping[str, str]], dict[str, _proto.AttributeValue]]

_SPECIAL: Mapping[str, _Special] = {
    "BlackmanWindow": _window,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "HammingWindow": _window,
    "HannWindow": _window,
    "LayerNormalization": _layer_normalization,
    "MelWeightMatrix": _mel,
    "Optional": _optional,
    "TfIdfVectorizer": _tfidf,
    "ai.onnx.ml::CastMap": _cast_map,
    "ai.onnx.ml::DictVectorizer": _vocabulary("int64_vocabulary", "string_vocabulary"),
    "ai.onnx.ml::Imputer": _imputer,
    "ai.onnx.ml::LabelEncoder": _label_encoder,
    "ai.onnx.ml::LinearClassifier": _classes,
    "ai.onnx.ml::OneHotEncoder": _vocabulary("cats_int64s", "cats_strings"),
    "ai.onnx.ml::SVMClassifier": _classes,
    "ai.onnx.ml::TreeEnsemble": _tree_ensemble,
    "ai.onnx.ml::ZipMap": _zip_map,
}


def _bodies(
    contract: Contract, operator: Operator, types: Mapping[str, str], inputs: Sequence[str]
) -> dict[str, _proto.AttributeValue]:
    """The subgraphs of a control-flow operator; they hand on what they are given."""
    if operator.key == "If":
        branch = _branch(contract, types["V"])
        return {"then_branch": branch, "else_branch": branch}
    if operator.key == "Loop":
        return {"body": _loop_body(types["V"])}
    if operator.key == "Scan":
        port = _proto.Port("a", types["V"], DEFAULT_SHAPE[1:])
        copy = _proto.node("Identity", ["a"], ["b"], name="copy")
        body = _proto.graph("body", [copy], [port], [port._replace(name="b")])
        return {"body": body, "num_scan_inputs": 1}
    if operator.key == "SequenceMap":
        element = types["S"][len("seq(") : -1]
        port = _proto.Port("a", element, DEFAULT_SHAPE)
        ports = [port]
        if len(inputs) > 1:
            extra = types["V"]
            inner = extra[len("seq(") : -1] if extra.startswith("seq(") else extra
            ports.append(_proto.Port("c", inner, DEFAULT_SHAPE))
        copy = _proto.node("Identity", ["a"], ["b"], name="copy")
        return {"body": _proto.graph("body", [copy], ports, [port._replace(name="b")])}
    if operator.key == "ai.onnx.preview.training::Gradient":
        return {"xs": list(inputs), "y": inputs[0]}
    return {}


def _branch(contract: Contract, type_: str) -> _proto.Graph:
    """A graph with no input and one output of the type."""
    port = _proto.Port("b", type_)
    kind, _, rest = type_.partition("(")
    inner = rest[:-1]
    if kind == "seq":  # no operator makes a sequence of every element type: take it from outside
        allowed = {t for c in contract.latest("Identity").constraints for t in c.types}
        if type_ in allowed:
            nodes = [_proto.node("Identity", [_OUTER], ["b"], name="copy")]
        else:
            loop = {"body": _loop_body(type_)}
            nodes = [_proto.node("Loop", ["", "", _OUTER], ["b"], loop, name="copy")]
    elif kind == "optional":
        nodes = [_proto.node("Optional", [], ["b"], {"type": _proto.type_literal(inner)})]
    else:
        value = _proto.zeros("value", type_, DEFAULT_SHAPE)
        nodes = [_proto.node("Constant", [], ["b"], {"value": value}, name="made")]
    return _proto.graph("branch", nodes, [], [port])


def _loop_body(type_: str) -> _proto.Graph:
    """Hands on its value untouched: Identity does not take every type that Loop does."""
    more = _proto.Port("more", "tensor(bool)", ())
    value = _proto.Port("a", type_, DEFAULT_SHAPE)
    keep = _proto.node("Identity", ["more"], ["more_out"], name="keep")
    inputs = [_proto.Port("i", "tensor(int64)", ()), more, value]
    return _proto.graph("body", [keep], inputs, [more._replace(name="more_out"), value])


def _companion(contract: Contract, operator: Operator) -> int:
    """The opset of ai.onnx to import beside another domain's: the newest that asks for no newer IR;
    the newest of all beside an operator with a function body, which may call any."""
    newest = contract.newest_opset()
    if operator.function:
        return newest
    ir = contract.ir_version({operator.domain: operator.since_version})
    return max(o for o in range(1, newest + 1) if contract.ir_version({"": o}) <= ir)
