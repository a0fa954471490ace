"""Models on the emulator: right within half precision, on the device, and nowhere else.

The tolerance is half precision's unit roundoff u = 2^-11 (IEEE 754-2019, binary16: 11 significant
bits), with the bounds of Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition: an
element-wise operation rounds its inputs and its result (section 2.2), and a sum of n products is
off by at most n·u times the sum of the absolute products, in practice by sqrt(n)·u (section 3.1).
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx.reference
import pytest
from onnx import TensorProto

from hal import Evidence, Tensor
from hal.errors import FallbackError, ModelError, UnsupportedError, UsageError

U = 2.0**-11


def node(operator, inputs, output, name):
    return onnx.helper.make_node(operator, inputs, [output], name=name)


def random(*shape):
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


def execute(qnn, emulator, model, x, **options):
    executable = qnn.compile(emulator, model, options)
    result = executable.run({"x": Tensor.from_numpy(x)})["y"].numpy()
    placement = executable.placement()
    executable.close()
    return result, placement


def expected(model, x):
    evaluator = onnx.reference.ReferenceEvaluator(onnx.load_from_string(model.data))
    return evaluator.run(None, {"x": x})[0]


def places(placement):
    return {n.node: n.device for n in placement.nodes}


@pytest.mark.parametrize("operator", ["Add", "Mul", "Relu"])
def test_elementwise(qnn, emulator, build, operator):
    inputs = ["x"] if operator == "Relu" else ["x", "k"]
    k = np.linspace(0.5, 2.0, 16, dtype=np.float32).reshape(2, 8)
    model = build([node(operator, inputs, "y", "n")], {"x": [2, 8]}, {"y": [2, 8]}, k=k)
    x = np.abs(random(2, 8)) + np.float32(0.1)  # no cancellation
    result, placement = execute(qnn, emulator, model, x)
    np.testing.assert_allclose(result, expected(model, x), rtol=3 * U, atol=0)
    assert places(placement) == {"n": emulator.id}
    assert placement.evidence is Evidence.ASSIGNED


def test_matmul(qnn, emulator, build):
    w = np.random.default_rng(5).standard_normal((64, 16)).astype(np.float32)
    model = build([node("MatMul", ["x", "w"], "y", "n")], {"x": [4, 64]}, {"y": [4, 16]}, w=w)
    x = random(4, 64)
    result, placement = execute(qnn, emulator, model, x)
    bound = (np.sqrt(64) + 3) * U * (np.abs(x) @ np.abs(w))
    assert (np.abs(result - x @ w) <= bound).all()
    assert not np.array_equal(result, x @ w), "float32 arithmetic: this is not the NPU's"
    assert not placement.fell_back(emulator.id, accelerator=True)


def test_network(qnn, emulator, network):
    x = random(1, 3, 8, 8)
    result, placement = execute(qnn, emulator, network, x)
    # Six roundings one after the other, the longest sum over 288 products, of scores around 1.
    np.testing.assert_allclose(result, expected(network, x), rtol=(np.sqrt(288) + 6) * U, atol=0)
    names = {"conv", "relu", "add", "flatten", "matmul", "softmax"}
    assert places(placement) == dict.fromkeys(names, emulator.id)
    assert placement.evidence is Evidence.ASSIGNED
    assert not placement.fell_back(emulator.id, accelerator=True)


@pytest.mark.parametrize("chip", [{}, {"soc_model": 30, "htp_arch": 68}], ids=["v73", "v68"])
def test_quantized(qnn, emulator, quantized, chip):
    x = random(1, 3, 8, 8)
    result, placement = execute(qnn, emulator, quantized, x, **chip)
    steps = np.abs(result - expected(quantized, x)) / 0.1
    # Integer arithmetic: a value halfway between two steps may be rounded to either.
    assert np.max(steps) <= 1 + 1e-5
    assert np.mean(steps > 0.5) < 0.1
    assert set(places(placement).values()) <= {emulator.id, ""}
    assert places(placement)["conv"] == emulator.id


def test_half_in_and_out(qnn, emulator, build):
    half = (TensorProto.FLOAT16, [2, 8])
    model = build([node("Add", ["x", "x"], "y", "n")], {"x": half}, {"y": half})
    x = random(2, 8).astype(np.float16)
    result, _ = execute(qnn, emulator, model, x)
    assert result.dtype == np.float16
    np.testing.assert_array_equal(result, x + x)


def test_bfloat16_is_coarser(qnn, emulator, build):
    model = build([node("Relu", ["x"], "y", "n")], {"x": [1, 512]}, {"y": [1, 512]})
    x = np.abs(random(1, 512)) + np.float32(0.1)
    half, _ = execute(qnn, emulator, model, x)
    brain, _ = execute(qnn, emulator, model, x, precision="bf16", soc_model=88, htp_arch=81)
    assert np.abs(half / x - 1).max() < 2 * U
    assert 4 * U < np.abs(brain / x - 1).max() < 2 * 2.0**-8  # 8 significant bits


def test_fallback_is_refused_and_the_node_named(qnn, emulator, erf):
    with pytest.raises(FallbackError, match="'erf'") as caught:
        qnn.compile(emulator, erf, {})
    assert caught.value.nodes == ("erf",)


def test_supports_names_what_it_does_not_take(qnn, emulator, erf, relu):
    (missing,) = qnn.supports(emulator, erf).unsupported
    assert (missing.node, missing.operator) == ("erf", "Erf-13")
    assert "CPUExecutionProvider" in missing.reason
    assert qnn.supports(emulator, relu).supported


def test_free_sizes_are_refused_with_the_remedy(qnn, emulator, build):
    model = build([node("Relu", ["x"], "y", "n")], {"x": ["batch", 8]}, {"y": ["batch", 8]})
    with pytest.raises(FallbackError, match="'n'") as caught:
        qnn.compile(emulator, model, {})
    assert "sizes" in caught.value.next_step


def test_a_model_that_is_folded_whole_is_a_fallback(qnn, emulator, build):
    model = build([node("Shape", ["x"], "y", "n")], {"x": [2, 8]}, {"y": (TensorProto.INT64, [2])})
    result, placement = execute(qnn, emulator, model, random(2, 8))
    assert result.tolist() == [2, 8]
    assert places(placement) == {"n": ""}
    assert placement.fell_back(emulator.id, accelerator=True)


def test_layout_transposes_stand_for_no_node(qnn, emulator, build):
    """Nor does a node that was folded get a place by them."""
    nodes = [
        node("Exp", ["k"], "e", "folded"),
        node("Conv", ["x", "w"], "c", "conv"),
        node("Add", ["c", "e"], "y", "add"),
    ]
    w = random(2, 3, 3, 3)
    model = build(nodes, {"x": [1, 3, 6, 6]}, {"y": [1, 2, 4, 4]}, w=w, k=np.float32([1.0]))
    _, placement = execute(qnn, emulator, model, random(1, 3, 6, 6))
    assert places(placement) == {"folded": "", "conv": emulator.id, "add": emulator.id}


def test_an_operator_that_nobody_has_is_unsupported(qnn, emulator):
    graph = onnx.helper.make_graph(
        [node("Nope", ["x"], "y", "n")],
        "g",
        [onnx.helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [onnx.helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
    )
    from hal import Model

    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9
    )
    with pytest.raises(UnsupportedError) as caught:
        qnn.compile(emulator, Model(model.SerializeToString()), {})
    assert caught.value.nodes == ("n",)


def test_no_model_is_a_model_error(qnn, emulator):
    from hal import Model

    with pytest.raises(ModelError):
        qnn.compile(emulator, Model(b"junk"), {})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"soc_modle": 60}, "Did you mean 'soc_model'"),
        ({"soc_model": "x"}, "soc_model takes a number"),
        ({"soc_model": 99999}, "does not start with .*soc_model=99999"),
        ({"htp_arch": 12}, "htp_arch takes 68, 69, 73"),
        ({"performance": "brst"}, "Did you mean 'burst'"),
        ({"precision": "fp32"}, "precision takes fp16, bf16"),
        ({"precision": "bf16", "soc_model": 60}, "refuses its options: BF16 mode"),
        ({"context_cache": 3}, "context_cache takes"),
        ({"graph_optimization": "most"}, "graph_optimization takes"),
        ({"ep.backend_type": "cpu"}, "backend_type is the device's"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_options_that_the_provider_would_ignore_are_refused(qnn, emulator, relu, options, says):
    with pytest.raises(UsageError, match=says):
        qnn.compile(emulator, relu, options)


@pytest.mark.parametrize(
    "options", [{"performance": "burst"}, {"htp_arch": 75}, {"ep.vtcm_mb": 8}], ids=str
)
def test_options_are_taken(qnn, emulator, relu, options):
    x = random(2, 8)
    result, _ = execute(qnn, emulator, relu, x, **options)
    np.testing.assert_allclose(result, np.maximum(x, 0), rtol=2 * U, atol=0)
