"""Damaged models for fuzz_loader.py: each is made again from its kind, its number and a seed."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import hal

__all__ = ["mutated"]

F, I64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
INTEGERS = (0, 1, -1, 2, 7, 64, 255, 2**31 - 1, 2**31, -(2**31), 2**40, 2**62, 2**63 - 1, -(2**63))
TEXTS = (
    "", "x", "w", "no such value", "\0", "ü\n", "../../etc/passwd", "/etc/passwd", "A" * 5000, "If",
    "ai.onnx", "com.microsoft", "no.such.domain", "Loop", "Conv", "Constant", "1" * 30,
)  # fmt: skip
FLOATS = (0.0, -0.0, 1.0, -1.0, float("nan"), float("inf"), 1e38)


def mutated(kind: str, number: int, seed: int, folder: Path) -> hal.Model:
    """A mutation; the folder gets the external data of the models that have some."""
    draw = random.Random(f"{seed} {kind} {number}")
    (folder / "weights.bin").write_bytes(np.arange(16, dtype="<f4").tobytes())
    (folder / "link.bin").symlink_to("/etc/hostname")
    proto = draw.choice(SEEDS)()
    if kind == "none":
        return hal.Model(proto.SerializeToString(), folder)
    if kind == "bytes":
        data = bytearray(proto.SerializeToString())
        for _ in range(draw.choice((1, 1, 1, 2, 4, 16))):
            draw.choice(BYTES)(draw, data)
        return hal.Model(bytes(data), folder)
    for _ in range(draw.choice((1, 1, 1, 2, 3, 6))):
        with contextlib.suppress(IndexError):  # nothing of that kind is left
            draw.choice(STRUCTURE)(draw, proto)
    data = bytearray(proto.SerializeToString())
    if not draw.randrange(12):  # what the classes of protobuf cannot hold: a message given twice
        other = draw.choice(SEEDS)()
        data += onnx.ModelProto(graph=other.graph).SerializeToString()
    return hal.Model(bytes(data), folder)


# Byte by byte


def _flip(draw: random.Random, data: bytearray) -> None:
    if data:
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def _set(draw: random.Random, data: bytearray) -> None:
    if data:
        data[draw.randrange(len(data))] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))


def _cut(draw: random.Random, data: bytearray) -> None:
    at = draw.randrange(len(data) + 1)
    del data[at : at + draw.choice((1, 2, 8, 64, len(data)))]


def _insert(draw: random.Random, data: bytearray) -> None:
    at = draw.randrange(len(data) + 1)
    data[at:at] = draw.randbytes(draw.choice((1, 2, 8, 64)))


def _splice(draw: random.Random, data: bytearray) -> None:
    other = draw.choice(SEEDS)().SerializeToString()
    start, at = draw.randrange(len(other)), draw.randrange(len(data) + 1)
    part = other[start : start + draw.randrange(200)]
    data[at : at + len(part) * draw.randrange(2)] = part


BYTES: tuple[Callable[[random.Random, bytearray], None], ...] = (
    _flip,
    _set,
    _cut,
    _insert,
    _splice,
)


# By structure


def _messages(message: Any) -> Iterator[Any]:
    """A message and all within it."""
    yield message
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for item in value if _repeated(field) else (value,):
                yield from _messages(item)


def _repeated(field: Any) -> bool:
    return bool(field.is_repeated)


def _pick(draw: random.Random, proto: Any, *kinds: str) -> Any:
    """A message, each type of message as likely as any other."""
    found: dict[str, list[Any]] = {}
    for message in _messages(proto):
        found.setdefault(message.DESCRIPTOR.name, []).append(message)
    return draw.choice(found[draw.choice([k for k in sorted(found) if k in kinds or not kinds])])


def _scalar(draw: random.Random, field: Any, proto: Any) -> Any:
    if field.type == field.TYPE_ENUM:
        return draw.choice(field.enum_type.values).number
    if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return draw.choice(FLOATS)
    if field.type == field.TYPE_BYTES:
        return draw.choice((b"", b"\0", b"\xff" * 3, draw.randbytes(draw.randrange(64))))
    if field.type == field.TYPE_STRING:
        return draw.choice((*TEXTS, *_names(proto)))
    value = draw.choice((*INTEGERS, draw.randrange(30)))
    if field.cpp_type == field.CPPTYPE_INT32:
        return max(-(2**31), min(2**31 - 1, value))
    return value % 2**64 if field.cpp_type == field.CPPTYPE_UINT64 else value


def _names(proto: Any) -> list[str]:
    return sorted({n for m in _messages(proto) if isinstance(m, onnx.NodeProto)
                   for n in (*m.input, *m.output)})  # fmt: skip


def _change(draw: random.Random, proto: Any) -> None:
    """Any field of any message: another value, one more, one less, or none."""
    message = _pick(draw, proto)
    field = draw.choice(list(message.DESCRIPTOR.fields))
    if not _repeated(field):
        if field.type == field.TYPE_MESSAGE or not draw.randrange(4):
            message.ClearField(field.name)
        else:
            setattr(message, field.name, _scalar(draw, field, proto))
        return
    values = getattr(message, field.name)
    if values and draw.randrange(2):
        del values[draw.randrange(len(values))]
    elif field.type == field.TYPE_MESSAGE:
        if values:
            values.append(draw.choice(list(values)))
    elif values and draw.randrange(2):
        values[draw.randrange(len(values))] = _scalar(draw, field, proto)
    else:
        values.append(_scalar(draw, field, proto))


def _move(draw: random.Random, proto: Any) -> None:
    """A message in the place of another of its type, of this model or of another one."""
    target = _pick(draw, proto)
    source = proto if draw.randrange(2) else draw.choice(SEEDS)()
    name = target.DESCRIPTOR.name
    found = [m for m in _messages(source) if m.DESCRIPTOR.name == name]
    if found:
        copy = type(target)()
        copy.CopyFrom(draw.choice(found))
        (target.MergeFrom if not draw.randrange(4) else target.CopyFrom)(copy)


def _dangle(draw: random.Random, proto: Any) -> None:
    """Another value for a node to read or give: one of nowhere, of itself, of elsewhere."""
    node = _pick(draw, proto, "NodeProto")
    names = node.input if draw.randrange(3) else node.output
    new = draw.choice(["", "nowhere", *_names(proto), *node.output])
    if names and draw.randrange(4):
        names[draw.randrange(len(names))] = new
    else:
        names.append(new)


def _reshape(draw: random.Random, proto: Any) -> None:
    """An absurd shape or type of a tensor or a value."""
    kinds = {m.DESCRIPTOR.name for m in _messages(proto)}
    kind = draw.choice(sorted(kinds & {"TensorProto", "Tensor", "SparseTensorProto", "Dimension"}))
    message = _pick(draw, proto, kind)
    size = draw.choice((*INTEGERS, 10 << 40, 3, 5))
    if kind == "Dimension":
        message.dim_value = size
    elif kind == "Tensor":
        if draw.randrange(2):
            message.elem_type = draw.choice((0, *range(1, 24), 99, -1))
        else:
            message.shape.dim.add(dim_value=size)
    else:
        if message.dims and draw.randrange(2):
            message.dims[draw.randrange(len(message.dims))] = size
        else:
            message.dims.extend([size] * draw.choice((1, 1, 3, 70)))
        if kind == "TensorProto" and not draw.randrange(4):
            message.data_type = draw.choice((0, *range(1, 24), 99, -1))


def _outside(draw: random.Random, proto: Any) -> None:
    """External data that is not there, too short, or elsewhere."""
    tensors = [m for m in _messages(proto) if isinstance(m, TensorProto)]
    if not tensors:
        return
    tensor = draw.choice(tensors)
    tensor.data_location = TensorProto.EXTERNAL
    if draw.randrange(4):
        tensor.ClearField("raw_data")
    places = ("weights.bin", "link.bin", "gone.bin", "../x", "/etc/passwd", "", ".", "weights.bin/")
    tensor.external_data.add(key="location", value=draw.choice(places))
    for key in ("offset", "length"):
        if draw.randrange(2):
            number = draw.choice((0, 4, 8, 60, 64, 65, -1, 2**62, 10 << 40, "x", ""))
            tensor.external_data.add(key=key, value=str(number))


def _nest(draw: random.Random, proto: Any) -> None:
    """The graph within a node of itself."""
    for _ in range(draw.choice((1, 1, 3, 8))):
        if proto.ByteSize() > 100_000:
            return
        copy = onnx.GraphProto()
        copy.CopyFrom(proto.graph)
        node = _pick(draw, proto.graph, "NodeProto") if proto.graph.node else proto.graph.node.add()
        name = draw.choice(("body", "then_branch"))
        node.attribute.add(name=name, type=onnx.AttributeProto.GRAPH).g.CopyFrom(copy)


STRUCTURE: tuple[Callable[[random.Random, Any], None], ...] = (
    _change, _change, _change, _move, _dangle, _reshape, _outside, _nest,
)  # fmt: skip


# What is damaged


def _value(name: str, shape: Any, kind: int = F) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def _model(
    nodes: Any, inputs: Any, outputs: Any, tensors: Any = (), **more: Any
) -> onnx.ModelProto:
    sparse = more.pop("sparse", [])
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(tensors), sparse_initializer=sparse)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, **more)


def _random(*shape: int, name: str) -> TensorProto:
    made = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    return numpy_helper.from_array(made, name)


def _convolution() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Conv", ["x", "k", "b"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("MaxPool", ["r"], ["p"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["f"], "flat"),
        helper.make_node("Gemm", ["f", "w"], ["g"], "gemm", alpha=0.5),
        helper.make_node("Softmax", ["g"], ["y"], "soft", axis=-1),
    ]
    weights = [_random(2, 1, 3, 3, name="k"), _random(2, name="b"), _random(8, 3, name="w")]
    return _model(nodes, [_value("x", ["n", 1, 4, 4])], [_value("y", ["n", 3])], weights)


def _control() -> onnx.ModelProto:
    branch = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["b"])], "b", [], [onnx.ValueInfoProto(name="b")]
    )
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["v", "w"], ["s"])],
        "body",
        [_value("i", [], I64), _value("go", [], BOOL), _value("v", [3])],
        [_value("on", [], BOOL), _value("s", [3])],
    )
    nodes = [
        helper.make_node("If", ["c"], ["t"], "if", then_branch=branch, else_branch=branch),
        helper.make_node("Loop", ["m", "c", "t"], ["l"], "loop", body=body),
        helper.make_node("Add", ["l", "w"], ["y"], "add"),
    ]
    number = numpy_helper.from_array(np.array(3), "m")
    inputs = [_value("x", [3]), _value("c", [], BOOL)]
    return _model(nodes, inputs, [_value("y", [3])], [_random(3, name="w"), number])


def _functions() -> onnx.ModelProto:
    leaf = helper.make_function(
        "local", "Leaf", ["p"], ["q"], [helper.make_node("Abs", ["p"], ["q"])],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    scaled = helper.make_node("LeakyRelu", ["h"], ["q"])
    scaled.attribute.add(name="alpha", ref_attr_name="a", type=onnx.AttributeProto.FLOAT)
    inner = helper.make_node("Leaf", ["p"], ["h"], domain="local")
    top = helper.make_function(
        "local", "Top", ["p"], ["q"], [inner, scaled],
        [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)], ["a"],
    )  # fmt: skip
    values = helper.make_tensor("s", F, [2], [1.0, 2.0])
    sparse = helper.make_sparse_tensor(values, helper.make_tensor("i", I64, [2], [0, 3]), [2, 3])
    nodes = [
        helper.make_node("Top", ["x"], ["a"], "top", domain="local", a=0.5),
        helper.make_node("Constant", [], ["k"], "k", value=_random(2, 3, name="")),
        helper.make_node("Mul", ["a", "k"], ["b"], "mul"),
        helper.make_node("Add", ["b", "s"], ["y"], "add"),
    ]
    return _model(
        nodes, [_value("x", [2, 3])], [_value("y", None)], functions=[leaf, top], sparse=[sparse]
    )


def _external() -> onnx.ModelProto:
    tensor = TensorProto(name="w", data_type=F, dims=[4, 4], data_location=TensorProto.EXTERNAL)
    for key, text in {"location": "weights.bin", "offset": "0", "length": "64"}.items():
        tensor.external_data.add(key=key, value=text)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], "product"),
        helper.make_node("Reshape", ["m", "shape"], ["r"], "shape"),
        helper.make_node("Transpose", ["r"], ["y"], "turn", perm=[1, 0]),
    ]
    shape = numpy_helper.from_array(np.array([-1, 2]), "shape")
    return _model(nodes, [_value("x", [2, 4])], [_value("y", [2, 4])], [tensor, shape])


def _kinds() -> onnx.ModelProto:
    """Strings, integers, sequences and optional inputs."""
    nodes = [
        helper.make_node("SequenceConstruct", ["a", "b"], ["s"], "list"),
        helper.make_node("ConcatFromSequence", ["s"], ["j"], "join", axis=0),
        helper.make_node("Clip", ["j", "", "top"], ["t"], "clip"),
        helper.make_node("Cast", ["t"], ["h"], "half", to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["h"], ["u"], "text", to=TensorProto.STRING),
        helper.make_node("Gather", ["u", "at"], ["y"], "pick", axis=0),
        helper.make_node("ConstantOfShape", ["size"], ["z"], "fill",
                         value=helper.make_tensor("", F, [1], [2.0])),
    ]  # fmt: skip
    tensors = [
        numpy_helper.from_array(np.array([1, 0]), "at"),
        numpy_helper.from_array(np.array(1.0, np.float32), "top"),
        numpy_helper.from_array(np.array([2, 3]), "size"),
        helper.make_tensor("unused", TensorProto.STRING, [2], ["ab", "ü"]),
        helper.make_tensor("half", TensorProto.FLOAT16, [2], [1, 2]),
        helper.make_tensor("four", TensorProto.INT4, [3], [1, -2, 3]),
    ]
    outputs = [_value("y", None, TensorProto.STRING), _value("z", [2, 3])]
    return _model(nodes, [_value("a", ["n", 2]), _value("b", ["m", 2])], outputs, tensors)


SEEDS: tuple[Callable[[], onnx.ModelProto], ...] = (
    _convolution, _control, _functions, _external, _kinds,
)  # fmt: skip
