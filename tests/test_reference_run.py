"""The reference run: which engine is asked, in what precision, and what its distance means."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper as h

import hal
from hal.compare import relative_l2
from hal.errors import ModelError, UnsupportedError
from hal.graph import read_model, with_outputs
from hal.plugins import Registry, load_plugins
from hal.reference import TOLERANCE_FACTOR, Reference

RNG = np.random.default_rng(3)
WEIGHT = RNG.standard_normal((256, 64)).astype(np.float32)
X = RNG.standard_normal((4, 256)).astype(np.float32)
FED = {"x": hal.Tensor.from_numpy(X)}


def model(domain: str = "") -> hal.Model:
    nodes = [
        h.make_node("MatMul", ["x", "w"], ["product"]),
        h.make_node("Softmax", ["product"], ["y"], domain=domain),
        h.make_node("ArgMax", ["y"], ["best"], axis=-1),
    ]
    graph = h.make_graph(
        nodes,
        "g",
        [h.make_tensor_value_info("x", T.FLOAT, [4, 256])],
        [
            h.make_tensor_value_info("y", T.FLOAT, [4, 64]),
            h.make_tensor_value_info("best", T.INT64, [4, 1]),
        ],
        [onnx.numpy_helper.from_array(WEIGHT, "w")],
    )
    opsets = [h.make_opsetid("", 17), h.make_opsetid("other", 1)]
    return hal.Model(h.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    with load_plugins() as found:
        yield found


def only(registry: Registry, *names: str) -> Registry:
    return Registry((), {name: registry.backends[name] for name in names})


def test_float64_goes_first_and_values_in_the_middle_come_along(registry: Registry) -> None:
    with Reference(registry, model(), candidate="ort:cpu") as reference:
        run = reference.run(FED, ["product"])
    assert (run.engine, run.precision, run.independent) == ("torch:cpu", "float64", True)
    assert set(run.outputs) == {"y", "best", "product"}
    exact = (X.astype(float) @ WEIGHT.astype(float)).astype(np.float32)
    product = run.outputs["product"]
    assert isinstance(product, hal.Tensor)
    assert np.array_equal(product.numpy(), exact)  # rounded once
    assert 1e-8 < run.conditioning["product"] < 1e-6
    assert "torch:cpu in float32 against itself" in run.conditioned_by
    assert run.tolerance("y") == TOLERANCE_FACTOR * run.conditioning["y"]
    assert run.tolerance("best") == 0.0


def test_an_engine_is_not_its_own_reference(registry: Registry) -> None:
    with Reference(registry, model(), candidate="torch:cpu") as reference:
        assert reference.engines == ["ort:cpu", "openvino:cpu", "reference:cpu", "torch:cpu"]
        run = reference.run(FED)
        assert (run.engine, run.precision, run.independent) == ("ort:cpu", "float32", True)
        assert "torch:cpu" in run.conditioned_by  # the model's own, whoever runs it
        votes = dict(reference.runs(FED))
    assert set(votes) == {"ort:cpu", "openvino:cpu", "reference:cpu"}
    for outputs in votes.values():
        assert relative_l2(run.outputs["y"], outputs["y"]) < run.tolerance("y")


def test_alone_an_engine_is_compared_with_itself_and_it_says_so(registry: Registry) -> None:
    with Reference(only(registry, "ort"), model(), candidate="ort:cpu") as reference:
        run = reference.run(FED)
        assert not run.independent
        assert "inputs changed by one ULP" in run.conditioned_by
        assert 2**-24 <= run.conditioning["y"] < 1e-5


def test_what_an_engine_refuses_goes_to_the_next_with_its_reason(registry: Registry) -> None:
    nothing = Reference(only(registry, "torch", "reference"), model("other"))
    with nothing, pytest.raises(UnsupportedError, match="torch:cpu: UnsupportedError") as caught:
        nothing.run(FED)
    assert "reference:cpu: UnsupportedError" in str(caught.value)
    empty = Reference(Registry((), {}), model())
    with empty, pytest.raises(UnsupportedError, match="there is none"):
        empty.run(FED)
    with pytest.raises(ModelError):
        Reference(registry, hal.Model(b"not a model"))


def test_more_outputs() -> None:
    wider = with_outputs(model(), ["product"])
    onnx.checker.check_model(onnx.shape_inference.infer_shapes(onnx.load_from_string(wider.data)))
    assert [o.name for o in read_model(wider).graph.outputs] == ["y", "best", "product"]
    assert read_model(wider).graph.initializers["w"].numpy().tolist() == WEIGHT.tolist()
    with pytest.raises(ModelError):
        read_model(with_outputs(model(), ["nothing"]))
    with pytest.raises(ModelError, match="no graph"):
        with_outputs(hal.Model(b""), ["y"])
