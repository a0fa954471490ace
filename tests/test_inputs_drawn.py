"""Inputs drawn for a model: plausible by name, type, shape and use, and the same every time."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper as h

import hal
from hal.errors import ModelError, UsageError
from hal.graph import ModelGraph, read_model
from hal.inputs import draw_inputs, input_sizes


def graph_of(inputs: dict[str, tuple[int, list[Any] | None]], nodes: Any = (), **held: Any) -> Any:
    infos = [h.make_tensor_value_info(n, t, s) for n, (t, s) in inputs.items()]
    constants = [onnx.numpy_helper.from_array(v, n) for n, v in held.items()]
    out = h.make_tensor_value_info("out", T.FLOAT, None)
    graph = h.make_graph(list(nodes) or [h.make_node("Constant", [], ["out"], value_float=1.0)],
                         "g", infos, [out], constants)  # fmt: skip
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8)
    return read_model(hal.Model(model.SerializeToString()))


DECODER = {
    "input_ids": (T.INT64, ["batch", "sequence"]),
    "attention_mask": (T.INT64, ["batch", "past_length + sequence"]),
    "position_ids": (T.INT64, ["batch", "sequence"]),
    "past_key_values.0.key": (T.FLOAT, ["batch", 2, "past_length", 8]),
    "past_key_values.0.value": (T.FLOAT, ["batch", 2, "past_length", 8]),
}


def drawn(graph: ModelGraph, **options: Any) -> dict[str, np.ndarray[Any, Any]]:
    values = draw_inputs(graph, **options)
    return {n: v.numpy() for n, v in values.items() if isinstance(v, hal.Tensor)}


def decoder() -> ModelGraph:
    nodes = [
        h.make_node("Cast", ["input_ids"], ["ids"], to=T.INT32),
        h.make_node("Gather", ["table", "ids"], ["out"]),
    ]
    return graph_of(DECODER, nodes, table=np.zeros((50, 4), np.float32))


def test_a_decoder_with_a_cache() -> None:
    found = drawn(decoder(), sizes={"batch": 2, "past_length": 5, "sequence": 9})
    assert found["input_ids"].shape == (2, 9)
    assert found["input_ids"].min() >= 0 and 20 < found["input_ids"].max() < 50
    assert found["attention_mask"].shape == (2, 14)
    assert found["attention_mask"][0].all() and found["attention_mask"][1].tolist()[:4] == [
        0,
        0,
        0,
        1,
    ]
    assert found["position_ids"].tolist() == [list(range(5, 14))] * 2
    assert found["past_key_values.0.key"].shape == (2, 2, 5, 8)
    assert not np.array_equal(found["past_key_values.0.key"], found["past_key_values.0.value"])


def test_open_dimensions_have_sizes_by_name() -> None:
    assert input_sizes(decoder()) == {
        "batch": 1, "sequence": 32, "past_length + sequence": 48, "past_length": 16
    }  # fmt: skip
    image = graph_of({"pixel_values": (T.FLOAT, [None, 3, "unk__1", "unk__2"])})
    assert input_sizes(image) == {"pixel_values.0": 1, "unk__1": 224, "unk__2": 224}


def test_total_without_a_sum_follows_from_the_past() -> None:
    inputs = {**DECODER, "attention_mask": (T.INT64, ["batch", "total"])}
    assert input_sizes(graph_of(inputs), {"sequence": 3})["total"] == 19


def test_images() -> None:
    graph = graph_of({"image": (T.UINT8, [1, 8, 8, 3]), "x": (T.FLOAT, [1, 3, 32, 32])})
    found = drawn(graph)
    assert found["image"].max() > 200
    assert abs(float(found["x"].mean())) < 0.1 and 0.9 < float(found["x"].std()) < 1.1


def test_lengths_segments_and_scalars() -> None:
    inputs = {
        "features": (T.FLOAT, [2, 40, 16]),
        "feature_lengths": (T.INT64, [2]),
        "token_type_ids": (T.INT64, [2, 40]),
        "seqlens_k": (T.INT32, [2]),
        "total_sequence_length": (T.INT32, []),
        "use_cache_branch": (T.BOOL, [1]),
    }
    found = drawn(graph_of(inputs))
    assert found["feature_lengths"].tolist() == [40, 30]
    assert set(found["token_type_ids"].ravel().tolist()) == {0, 1}
    assert found["seqlens_k"].tolist() == [39, 39]
    assert found["total_sequence_length"] == 40
    assert not found["use_cache_branch"].any()


@pytest.mark.parametrize("element", [e for e in hal.ElementType if e.name != "UNDEFINED"])
def test_every_element_type(element: hal.ElementType) -> None:
    value = draw_inputs(graph_of({"x": (int(element), [3, 4])}))["x"]
    assert isinstance(value, hal.Tensor)
    assert (value.element_type, value.shape) == (element, (3, 4))
    if element.storage.kind == "f":
        assert np.isfinite(value.numpy()).all()


def test_other_types() -> None:
    tensor, scalar = (h.make_tensor_type_proto(T.FLOAT, s) for s in ([2], []))
    infos = [
        h.make_value_info("s", h.make_sequence_type_proto(tensor)),
        h.make_value_info("o", h.make_optional_type_proto(tensor)),
        h.make_value_info("m", h.make_map_type_proto(T.INT64, scalar)),
    ]
    out = h.make_tensor_value_info("out", T.FLOAT, None)
    nodes = [h.make_node("Constant", [], ["out"], value_float=1.0)]
    model = h.make_model(h.make_graph(nodes, "g", infos, [out]), ir_version=8)
    values = draw_inputs(read_model(hal.Model(model.SerializeToString())))
    assert [type(values[n]) for n in "som"] == [
        hal.SequenceValue, hal.OptionalValue, hal.MapValue
    ]  # fmt: skip


def test_the_same_seed_gives_the_same_and_another_others() -> None:
    first, again, other = (drawn(decoder(), seed=s) for s in (0, 0, 1))
    assert all(np.array_equal(first[n], again[n]) for n in first)
    assert not np.array_equal(first["input_ids"], other["input_ids"])


def test_inputs_with_an_initializer_are_left_out() -> None:
    graph = graph_of({"x": (T.FLOAT, [1]), "w": (T.FLOAT, [2])}, w=np.zeros(2, np.float32))
    assert list(draw_inputs(graph)) == ["x"]


def test_what_cannot_be() -> None:
    with pytest.raises(UsageError, match="Did you mean 'sequence'"):
        draw_inputs(decoder(), sizes={"sequense": 4})
    with pytest.raises(UsageError, match="cannot have the size -1"):
        draw_inputs(decoder(), sizes={"batch": -1})
    with pytest.raises(ModelError, match="more than the 4 GiB"):
        draw_inputs(graph_of({"x": (T.FLOAT, [10**6, 10**7])}))
    with pytest.raises(ModelError, match="'x' has the type ''"):
        draw_inputs(graph_of({"x": (T.UNDEFINED, None)}))


def test_neither_onnx_nor_an_engine_is_loaded() -> None:
    code = (
        "import sys, hal.inputs; bad = {'onnx', 'torch', 'onnxruntime'} & set(sys.modules); "
        "sys.exit(str(bad) if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
