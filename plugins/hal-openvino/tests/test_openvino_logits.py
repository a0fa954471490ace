"""Logits stay in float32 where the arithmetic is narrower."""

from __future__ import annotations

import numpy as np
import pytest
from hal_openvino._compat import openvino as openvino_module
from hal_openvino._logits import keep_logits
from onnx import TensorProto, helper, numpy_helper

from hal import Tensor

FLOAT = TensorProto.FLOAT
FEATURES, CLASSES = 8, 200


@pytest.fixture
def classifier(build):
    """Whole numbers up to 16, which bfloat16 holds, times weights that it holds too, so that only
    rounding the logits, 64 and more, can be wrong; then a softmax, as exporters write it."""

    def made(op_type="Gemm", *, behind=()):
        weights = np.random.default_rng(0).integers(0, 16, (FEATURES, CLASSES)) / 16
        bias = np.arange(CLASSES) / 64
        parameters = {"w": weights, "b": bias, "shape": np.array([0, -1])}
        first = (
            [helper.make_node("Gemm", ["x", "w", "b"], ["z"])]
            if op_type == "Gemm"
            else [
                helper.make_node("MatMul", ["x", "w"], ["p"]),
                helper.make_node("Add", ["b", "p"], ["z"]),
            ]
        )
        nodes = [
            *first,
            helper.make_node("Reshape", ["z", "shape"], ["r"]),
            helper.make_node("Softmax", ["r"], ["y"], axis=1),
            *behind,
        ]
        return build(
            nodes,
            {"x": (FLOAT, ["n", FEATURES])},
            {(behind[-1].output[0] if behind else "y"): (FLOAT, None)},
            initializer=[
                numpy_helper.from_array(a.astype(np.int64 if n == "shape" else np.float32), n)
                for n, a in parameters.items()
            ],
        )

    return made


def drawn(rows: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 16, (rows, FEATURES)).astype(np.float32)


def off(got: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))


@pytest.mark.parametrize("op_type", ["Gemm", "MatMul"])
def test_a_softmax_of_large_logits_is_right_in_bfloat16(openvino, cpu, classifier, op_type):
    model, x = classifier(op_type), drawn(5)
    wanted = openvino.compile(cpu, model, {}).run({"x": Tensor.from_numpy(x)})["y"].numpy()
    narrow = openvino.compile(cpu, model, {"precision": "bfloat16"})
    got = narrow.run({"x": Tensor.from_numpy(x)})["y"].numpy()
    assert off(got, wanted) < 1e-3  # 0.047 where the logits are rounded to bfloat16
    assert {node.device for node in narrow.placement().nodes} <= {cpu.id, ""}


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_what_is_not_finite_stays_so(openvino, cpu, classifier, value):
    x = drawn(2)
    x[0, 0] = value
    narrow = openvino.compile(cpu, classifier(), {"precision": "bfloat16"})
    got = narrow.run({"x": Tensor.from_numpy(x)})["y"].numpy()
    assert np.isnan(got[0]).any()
    assert np.isfinite(got[1]).all()


@pytest.mark.parametrize("inside", [False, True])
def test_only_the_last_softmax_is_changed(classifier, inside):
    """Attention's has a product behind it, which reads its result in the narrow type."""
    behind = [
        helper.make_node("Transpose", ["y"], ["t"], perm=[1, 0]),
        helper.make_node("MatMul", ["y", "t"], ["u"]),
    ]
    model = classifier(behind=behind if inside else ())
    converted = openvino_module.Core().read_model(model.data)
    keep_logits(converted)
    kinds = [node.get_type_name() for node in converted.get_ops()]
    assert kinds.count("Clamp") == (0 if inside else 1)
