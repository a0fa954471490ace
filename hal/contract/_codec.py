"""The contract's data file: the one place that writes and reads it.

A gzip of JSON. Rows are lists rather than objects, and type lists are stored once, because the file
is read whole at the first look-up. Parameters name their constraint; their types follow from it.
"""

from __future__ import annotations

import gzip
import io
import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Any, NamedTuple, get_args

from hal.contract.model import (
    Attribute,
    Determinism,
    FunctionBody,
    Operator,
    Parameter,
    ParameterOption,
    TypeConstraint,
)

__all__ = [
    "CONTRACT_VERSION",
    "CONTRIBUTED_VERSION",
    "ONNX_VERSION",
    "Row",
    "Table",
    "decode",
    "dump",
    "encode",
    "load",
]

CONTRACT_VERSION = "1"
ONNX_VERSION = "1.23.2"
"""The onnx release that the contract is made from; requirements.txt pins the same."""

FILE_NAME = f"onnx-{ONNX_VERSION}.json.gz"
CONTRIBUTED_VERSION = "1.31.1"
"""The onnxruntime release that com.microsoft is read from; requirements.txt pins the same."""

CONTRIBUTED_FILE_NAME = f"onnxruntime-{CONTRIBUTED_VERSION}.json.gz"
_FORMAT = 1
_OPTIONS: tuple[ParameterOption, ...] = get_args(ParameterOption)
_DETERMINISM: tuple[Determinism, ...] = get_args(Determinism)
_FUNCTIONS: tuple[FunctionBody, ...] = get_args(FunctionBody)

Row = Sequence[Any]
"""One operator version as stored: domain, name, since_version, then what `encode` writes."""


class Table(NamedTuple):
    """The file's content, its operators not yet decoded."""

    onnx_version: str
    irs: Mapping[str, Sequence[Sequence[int]]]
    """Per domain, rising pairs of an opset and the lowest IR that admits it."""
    type_sets: Sequence[tuple[str, ...]]
    rows: Sequence[Row]


def encode(
    operators: Iterable[Operator], irs: Mapping[str, Sequence[Sequence[int]]], onnx_version: str
) -> bytes:
    """The JSON of a contract, the same bytes for the same operators. Rows are sorted."""
    type_sets: dict[tuple[str, ...], int] = {}
    rows = []
    for op in sorted(operators, key=lambda o: (o.domain, o.name, o.since_version)):
        constraints = [
            [c.name, type_sets.setdefault(c.types, len(type_sets))] for c in op.constraints
        ]
        rows.append(
            [
                op.domain,
                op.name,
                op.since_version,
                op.family,
                [_parameter_row(p) for p in op.inputs],
                [_parameter_row(p) for p in op.outputs],
                [op.min_inputs, op.max_inputs, op.min_outputs, op.max_outputs],
                [[a.name, a.type, int(a.required), a.default] for a in op.attributes],
                constraints,
                _FUNCTIONS.index(op.function),
                _DETERMINISM.index(op.determinism),
                int(op.deprecated),
                int(op.experimental),
                int(op.latest),
            ]
        )
    names = sorted({type_ for types in type_sets for type_ in types})
    number = {name: i for i, name in enumerate(names)}
    document = {
        "format": _FORMAT,
        "contract": CONTRACT_VERSION,
        "onnx": onnx_version,
        "irs": irs,
        "types": names,
        "type_sets": [[number[t] for t in types] for types in type_sets],
        "operators": rows,
    }
    return json.dumps(document, separators=(",", ":"), ensure_ascii=True).encode()


def dump(document: bytes) -> bytes:
    """The file's bytes: gzip with no time stamp and no name."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, compresslevel=9, mtime=0) as file:
        file.write(document)
    return buffer.getvalue()


def load(document: bytes | None = None, *, name: str = FILE_NAME) -> Table:
    """Read the file of that name that comes with HAL, or the JSON given."""
    if document is None:
        packed = resources.files("hal.contract").joinpath(name).read_bytes()
        document = gzip.decompress(packed)
    content = json.loads(document)
    if content["format"] != _FORMAT:
        raise ValueError(f"{name}: format {content['format']}, this HAL reads {_FORMAT}")
    names = content["types"]
    type_sets = [tuple(names[i] for i in types) for types in content["type_sets"]]
    return Table(content["onnx"], content["irs"], type_sets, content["operators"])


def decode(row: Row, type_sets: Sequence[tuple[str, ...]]) -> Operator:
    """The operator version of a row."""
    (domain, name, since, family, inputs, outputs, arity, attributes, constraints, *rest) = row
    function, determinism, deprecated, experimental, latest = rest
    types = {c: type_sets[i] for c, i in constraints}
    return Operator(
        name=name,
        domain=domain,
        since_version=since,
        family=family,
        inputs=tuple(_parameter(p, types) for p in inputs),
        outputs=tuple(_parameter(p, types) for p in outputs),
        min_inputs=arity[0],
        max_inputs=arity[1],
        min_outputs=arity[2],
        max_outputs=arity[3],
        attributes=tuple(
            Attribute(n, t, bool(required), _default(t, default))
            for n, t, required, default in attributes
        ),
        constraints=tuple(TypeConstraint(c, t) for c, t in types.items()),
        function=_FUNCTIONS[function],
        determinism=_DETERMINISM[determinism],
        deprecated=bool(deprecated),
        experimental=bool(experimental),
        latest=bool(latest),
    )


def _default(type_: str, default: Any) -> Any:
    """The default of an attribute. A FLOAT is the float32 that its digits in the file mean."""
    if isinstance(default, list):
        return tuple(default)
    if type_ == "FLOAT" and default is not None:
        return struct.unpack("f", struct.pack("f", default))[0]
    return default


def _parameter_row(parameter: Parameter) -> Row:
    return [
        parameter.name,
        parameter.type,
        _OPTIONS.index(parameter.option),
        int(parameter.homogeneous),
        parameter.min_arity,
    ]


def _parameter(row: Row, types: Mapping[str, tuple[str, ...]]) -> Parameter:
    name, type_, option, homogeneous, min_arity = row
    allowed = types.get(type_) or (type_,)
    return Parameter(name, type_, allowed, _OPTIONS[option], bool(homogeneous), min_arity)
