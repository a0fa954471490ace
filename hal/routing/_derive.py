"""Makes one variant, in a process of its own: `python -m hal.routing._derive NAME FOLDER [DATA]`.

Reads FOLDER/model.onnx, with external data in DATA, and writes FOLDER/made.onnx.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

_NARROWED = {"MatMul": 13, "Gemm": 13, "Conv": 1}
"""Operators that are computed in the narrow type, and the opset at which they take it."""
_CONV_BFLOAT16 = 22
_AXES = 13
"""The opset at which QuantizeLinear takes a scale for each channel."""


def main(arguments: list[str]) -> int:
    """Make the variant; returns the exit status."""
    import onnx

    name, folder = arguments[0], Path(arguments[1])
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    if len(arguments) > 2:
        onnx.external_data_helper.load_external_data_for_model(model, arguments[2])
    try:
        if name.startswith("int8"):
            made = _quantized(model, folder, static=name == "int8-static")
        else:
            made = _narrowed(model, name)
        if made is None:
            raise ValueError("no node of it would change")
        (folder / "made.onnx").write_bytes(made)
    except Exception as error:  # noqa: BLE001 (the parent reads one line)
        print(f"{type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def _quantized(model: Any, folder: Path, *, static: bool) -> bytes | None:
    from onnxruntime import quantization

    source, target = folder / "whole.onnx", folder / "quantized.onnx"
    kinds = ["MatMul", "Gemm", "Conv"] if static else ["MatMul", "Gemm", "LSTM"]
    if not any(node.op_type in kinds for node in model.graph.node):
        return None
    if static and _opset(model) < _AXES:
        from onnx import version_converter

        model = version_converter.convert_version(model, _AXES)
    source.write_bytes(model.SerializeToString())
    common = {"per_channel": True, "weight_type": quantization.QuantType.QInt8}
    if static:
        reader = _reader(folder, model)
        quantization.quantize_static(
            source,
            target,
            reader,
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=kinds,
            activation_type=quantization.QuantType.QUInt8,
            **common,
        )
    else:
        quantization.quantize_dynamic(
            source,
            target,
            op_types_to_quantize=kinds,
            extra_options={"MatMulConstBOnly": True},
            **common,
        )
    return target.read_bytes()


def _reader(folder: Path, model: Any) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    fed = {i.name for i in model.graph.input} - {i.name for i in model.graph.initializer}
    with np.load(folder / "inputs.npz") as archive:
        inputs = {name: archive[name] for name in archive.files if name in fed}

    class Once(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left: Iterator[Any] = iter([inputs])

        def get_next(self) -> Any:
            return next(self.left, None)

    return Once()


def _narrowed(model: Any, name: str) -> bytes | None:
    """The model with its matrix products and convolutions computed in a narrow type: their float32
    weights are stored in it, and what goes in and out of them is cast."""
    import onnx
    from onnx import TensorProto, helper

    narrow = TensorProto.FLOAT16 if name == "float16" else TensorProto.BFLOAT16
    opset = _opset(model)
    graph = model.graph
    weights = {t.name: t for t in graph.initializer if t.data_type == TensorProto.FLOAT}
    types = _types(onnx.shape_inference.infer_shapes(model).graph)
    made: dict[str, str] = {}
    nodes: list[Any] = []
    changed = False
    for node in graph.node:
        since = _NARROWED.get(node.op_type, 0) if node.domain in ("", "ai.onnx") else 0
        if node.op_type == "Conv" and narrow == TensorProto.BFLOAT16:
            since = _CONV_BFLOAT16
        floats = all(
            types.get(n, TensorProto.FLOAT if n in weights else 0) == TensorProto.FLOAT
            for n in node.input
            if n
        )
        if not since or opset < since or not floats:
            nodes.append(node)
            continue
        changed = True
        for i, value in enumerate(node.input):
            if not value:
                continue
            if value not in made:
                made[value] = f"{value}_{name}"
                if value in weights:
                    graph.initializer.append(_cast(weights[value], made[value], narrow))
                else:
                    nodes.append(helper.make_node("Cast", [value], [made[value]], to=narrow))
            node.input[i] = made[value]
        out = node.output[0]
        node.output[0] = f"{out}_{name}_out"
        cast = helper.make_node("Cast", [node.output[0]], [out], to=TensorProto.FLOAT)
        nodes += [node, cast]
    if not changed:
        return None
    used = {n for node in nodes for n in node.input} | {o.name for o in graph.output}
    kept = [t for t in graph.initializer if t.name in used]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    data: bytes = model.SerializeToString()
    return data


def _opset(model: Any) -> int:
    return next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)


def _types(graph: Any) -> dict[str, int]:
    infos = [*graph.input, *graph.value_info, *graph.output]
    return {i.name: i.type.tensor_type.elem_type for i in infos}


def _cast(tensor: Any, name: str, narrow: int) -> Any:
    from onnx import helper, numpy_helper

    array = numpy_helper.to_array(tensor).astype(helper.tensor_dtype_to_np_dtype(narrow))
    return numpy_helper.from_array(array, name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
