"""Cases in ONNX's own test-data layout: model.onnx, and a folder a data set with input_0.pb ...
and output_0.pb ..., the i-th of the model's i-th input or output.

A tensor's file is a TensorProto, that of a sequence, an optional or a map a SequenceProto,
OptionalProto or MapProto of onnx-data.proto.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from hal import ElementType, MapValue, Model, OptionalValue, SequenceValue, Tensor, Value
from hal.errors import DataError
from hal_conformance.case import Case, DataSet
from hal_conformance.contract.protos import tensor_proto
from hal_conformance.model_facts import type_string

__all__ = [
    "MODEL",
    "data_set_folder",
    "proto_of",
    "read_case",
    "read_values",
    "value_from",
    "write_case",
]

MODEL = "model.onnx"


def data_set_folder(number: int) -> str:
    """The name of the folder of a data set."""
    return f"test_data_set_{number}"


def write_case(case: Case, folder: Path) -> None:
    """Write a case into a folder, which is made. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL).write_bytes(case.model.data)
    graph = onnx.ModelProto.FromString(case.model.data).graph
    for number, data_set in enumerate(case.data_sets):
        into = folder / data_set_folder(number)
        into.mkdir(exist_ok=True)
        for stem, infos, values in (
            ("input", graph.input, data_set.inputs),
            ("output", graph.output, data_set.outputs),
        ):
            for position, info in enumerate(infos):
                if info.name in values:
                    proto = proto_of(values[info.name], info.name)
                    path = into / f"{stem}_{position}.pb"
                    path.write_bytes(proto.SerializeToString(deterministic=True))


def read_case(folder: Path) -> tuple[Model, tuple[DataSet, ...]]:
    """The model and the data sets of a case's folder. Raises DataError, naming the file."""
    try:
        model = Model((folder / MODEL).read_bytes())
    except OSError as error:
        raise DataError(f"{folder / MODEL}: {error.strerror or error}") from None
    try:
        graph = onnx.ModelProto.FromString(model.data).graph
    except Exception as error:  # noqa: BLE001 (protobuf's DecodeError is not onnx's to import)
        raise DataError(f"{folder / MODEL}: no ONNX model: {error}") from None
    count = len(list(folder.glob(data_set_folder(0)[:-1] + "*")))
    places = [folder / data_set_folder(number) for number in range(count)]
    return model, tuple(
        DataSet(
            read_values(place, graph.input, "input"), read_values(place, graph.output, "output")
        )
        for place in places
    )


def read_values(
    folder: Path, infos: Iterable[onnx.ValueInfoProto], stem: str = "output"
) -> Mapping[str, Value]:
    """The values in `<stem>_0.pb` ... of a folder, by name; those without a file are left out.

    Raises DataError, naming the file, for one that is no value of the output's kind.
    """
    values = {}
    for position, info in enumerate(infos):
        path = folder / f"{stem}_{position}.pb"
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}") from None
        try:
            values[info.name] = value_from(data, info.type)
        except (ValueError, TypeError, OverflowError) as error:
            raise DataError(f"{path}: no value of type {type_string(info.type)}: {error}") from None
    return values


def proto_of(value: Value | None, name: str = "") -> Any:
    """The message of a value: a TensorProto, SequenceProto, OptionalProto or MapProto."""
    if isinstance(value, Tensor):
        return tensor_proto(name, value)
    if isinstance(value, SequenceValue):
        return _sequence(value, name)
    if isinstance(value, MapValue):
        return _map(value, name)
    optional = onnx.OptionalProto(name=name)
    if isinstance(value, OptionalValue):
        inner = value.type[len("optional(") : -1]
        kind = {"tensor": "TENSOR", "seq": "SEQUENCE", "map": "MAP", "optional": "OPTIONAL"}[
            inner.partition("(")[0]
        ]
        optional.elem_type = onnx.OptionalProto.DataType.Value(kind)
        if value.value is not None:
            field = f"{kind.lower()}_value"
            getattr(optional, field).CopyFrom(proto_of(value.value))
    return optional


def value_from(data: bytes, type_: onnx.TypeProto) -> Value:
    """The value in a file's bytes, read as the message that goes with the type.

    Its element type and shape are those that the file states. Raises ValueError for bytes that are
    no such message or do not fill the shape they state.
    """
    message: Any = {
        "tensor_type": onnx.TensorProto,
        "sequence_type": onnx.SequenceProto,
        "optional_type": onnx.OptionalProto,
        "map_type": onnx.MapProto,
    }[str(type_.WhichOneof("value"))]
    try:
        proto = message.FromString(data)
    except Exception as error:  # noqa: BLE001 (protobuf's DecodeError is not onnx's to import)
        raise ValueError(f"no {message.DESCRIPTOR.name}: {error}") from None
    return _value(proto, type_string(type_))


def _value(proto: Any, type_: str) -> Value:
    if isinstance(proto, onnx.TensorProto):
        return _tensor(proto)
    inner = type_.partition("(")[2][:-1]
    if isinstance(proto, onnx.SequenceProto):
        return SequenceValue(type_, tuple(_value(item, inner) for item in _items(proto)))
    if isinstance(proto, onnx.OptionalProto):
        held = next((f for f, _ in proto.ListFields() if f.name.endswith("_value")), None)
        value = None if held is None else getattr(proto, held.name)
        return OptionalValue(type_, None if value is None else _value(value, inner))
    strings = proto.key_type == onnx.TensorProto.STRING
    keys = (
        np.array([key.decode() for key in proto.string_keys], object)
        if strings
        else np.array(proto.keys, np.int64)
    )
    parts = [_tensor(item) for item in proto.values.tensor_values]
    if len(parts) != len(keys) or any(part.size != 1 for part in parts):
        raise ValueError(f"a map of {len(keys)} keys and {len(parts)} values")
    element = ElementType.from_onnx_name(inner.partition("(")[2].rstrip(")"))
    return MapValue(type_, Tensor.from_numpy(keys), _joined(parts, element))


def _joined(parts: Sequence[Tensor], element: ElementType) -> Tensor:
    if any(part.element_type is not element for part in parts):
        raise ValueError(f"values that are no tensor({element.onnx_name})")
    bits = np.empty(len(parts), element.storage)
    for i, part in enumerate(parts):
        bits[i] = part.bits().reshape(-1)[0]
    return Tensor.from_numpy(bits, element)


def _sequence(value: SequenceValue, name: str) -> Any:
    kind = value.type[len("seq(") : -1].partition("(")[0]
    word = {"tensor": "TENSOR", "seq": "SEQUENCE", "map": "MAP", "optional": "OPTIONAL"}[kind]
    proto = onnx.SequenceProto(name=name, elem_type=onnx.SequenceProto.DataType.Value(word))
    field = {"seq": "sequence"}.get(kind, kind)
    getattr(proto, f"{field}_values").extend(proto_of(item) for item in value.items)
    return proto


def _map(value: MapValue, name: str) -> Any:
    proto = onnx.MapProto(name=name, key_type=int(value.keys.element_type))
    if value.keys.element_type is ElementType.STRING:
        proto.string_keys.extend(key.encode() for key in value.keys.bits().tolist())
    else:
        proto.keys.extend(value.keys.bits().tolist())
    proto.values.elem_type = onnx.SequenceProto.TENSOR
    for item in value.values.bits().reshape(-1):
        # An array of no dimension, also of objects.
        scalar = np.empty((), value.values.element_type.storage)
        scalar[()] = item
        proto.values.tensor_values.append(
            tensor_proto("", Tensor.from_numpy(scalar, value.values.element_type))
        )
    return proto


def _tensor(proto: onnx.TensorProto) -> Tensor:
    try:
        element = ElementType(proto.data_type)
    except ValueError:
        raise ValueError(f"element type {proto.data_type} is unknown") from None
    if proto.data_location == onnx.TensorProto.EXTERNAL:
        raise ValueError("its data lies in another file")
    shape = tuple(proto.dims)
    if any(extent < 0 for extent in shape):
        raise ValueError(f"a negative dimension: {shape}")
    if element is not ElementType.STRING and proto.HasField("raw_data"):
        return Tensor(element, shape, memoryview(proto.raw_data))
    array = numpy_helper.to_array(proto)
    return Tensor.from_numpy(array.astype(object) if array.dtype.kind in "SU" else array, element)


def _items(proto: onnx.SequenceProto) -> Iterable[Any]:
    kinds = ("tensor_values", "sequence_values", "map_values", "optional_values")
    return next((v for kind in kinds if len(v := getattr(proto, kind))), ())
