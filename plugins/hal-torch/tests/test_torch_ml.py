"""ai.onnx.ml without its trees: official cases, and the rest against onnxruntime."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch
from hal_torch.kernels._ml_scores import transform as transformed

ML: Any = {"domain": "ai.onnx.ml"}
F32 = np.float32


def floats(*shape: int, seed: int = 1) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(F32)


def strings(*values: str) -> Any:
    return np.array(values, dtype=object)


def test_official_cases(official_failures: Any) -> None:
    names = ("ArrayFeatureExtractor", "Binarizer", "LabelEncoder")
    assert official_failures([f"ai.onnx.ml::{name}" for name in names]) == []


X = np.arange(12, dtype=F32).reshape(3, 4) - 5
FEATURES: tuple[tuple[str, list[Any], str, dict[str, Any]], ...] = (
    ("ArrayFeatureExtractor", [X, np.array([2, 0])], "float", {}),
    ("ArrayFeatureExtractor", [X[0], np.array([[2, 0, 1]])], "float", {}),
    ("ArrayFeatureExtractor", [strings("a", "b", "c"), np.array([2, 0])], "string", {}),
    ("Binarizer", [X], "float", {"threshold": 0.5}),
    ("FeatureVectorizer", [X, X[:, :2]], "float", {"inputdimensions": [4, 2]}),
    ("FeatureVectorizer", [X.astype(np.int64)] * 2, "float", {"inputdimensions": [4, 4]}),
    (
        "Imputer",
        [np.where(X == 1, np.nan, X).astype(F32)],
        "float",
        {"imputed_value_floats": [1.0, 2.0, 3.0, 4.0], "replaced_value_float": float("nan")},
    ),
    (
        "Imputer",
        [X.astype(np.int64)],
        "int64",
        {"imputed_value_int64s": [9], "replaced_value_int64": 3},
    ),
    ("Normalizer", [abs(X)], "float", {"norm": "MAX"}),
    ("Normalizer", [X], "float", {"norm": "L1"}),
    ("Normalizer", [X], "float", {"norm": "L2"}),
    ("Normalizer", [X[0]], "float", {"norm": "L2"}),
    ("Normalizer", [np.zeros((2, 3), F32)], "float", {"norm": "L2"}),
    ("Normalizer", [X.astype(np.int64)], "float", {"norm": "L1"}),
    ("OneHotEncoder", [X[:2]], "float", {"cats_int64s": [-5, 0, 1], "zeros": 1}),
    ("OneHotEncoder", [np.array([3, 4, 3])], "float", {"cats_int64s": [3, 4], "zeros": 0}),
    ("OneHotEncoder", [strings("a", "z")], "float", {"cats_strings": ["b", "a"]}),
    ("Scaler", [X], "float", {"offset": [1.0, 2.0, 3.0, 4.0], "scale": [0.5, 1.0, 2.0, 3.0]}),
    ("Scaler", [X.astype(np.int32)], "float", {"offset": [1.0], "scale": [0.5]}),
)


@pytest.mark.parametrize(
    ("op_type", "inputs", "output", "attributes"),
    [pytest.param(*row, id=f"{row[0]}-{row[1][0].dtype}-{i}") for i, row in enumerate(FEATURES)],
)
def test_features(check_ort: Any, op_type: str, inputs: Any, output: str, attributes: Any) -> None:
    check_ort(op_type, inputs, [output], attributes, **ML)


KEYS: dict[str, Any] = {
    "keys_strings": ["b", "a"],
    "keys_int64s": [5, 3],
    "keys_floats": [1.5, float("nan")],
}
VALUES: dict[str, Any] = {
    "values_strings": ["y", "x"],
    "values_int64s": [10, 20],
    "values_floats": [0.5, 0.25],
}
INPUTS = {
    "keys_strings": strings("a", "z", "b"),
    "keys_int64s": np.array([[3, 5], [7, 3]]),
    "keys_floats": np.array([1.5, np.nan, 2.0], F32),
}


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("keys", KEYS)
@pytest.mark.parametrize("version", [2, 4])
def test_label_encoder(check_ort: Any, keys: str, values: str, version: int) -> None:
    output = {"s": "string", "i": "int64", "f": "float"}[values[7]]
    defaults = {"default_string": "none", "default_int64": -7, "default_float": -2.5}
    name = f"default_{values[7:-1]}"
    attributes = {keys: KEYS[keys], values: VALUES[values], name: defaults[name]}
    check_ort("LabelEncoder", [INPUTS[keys]], [output], attributes, version=version, **ML)


def test_label_encoder_1_and_category_mapper(check_ort: Any) -> None:
    classes = {"classes_strings": ["a", "b"]}
    check_ort("LabelEncoder", [strings("b", "z")], ["int64"], classes, version=1, **ML)
    check_ort("LabelEncoder", [np.array([1, 9])], ["string"], classes, version=1, **ML)
    cats = {"cats_strings": ["a", "b"], "cats_int64s": [7, 5]}
    check_ort("CategoryMapper", [strings("b", "z")], ["int64"], cats, **ML)
    check_ort("CategoryMapper", [np.array([5, 9])], ["string"], cats, **ML)


TRANSFORMS = ("NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT")


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("labels", ["classlabels_ints", "classlabels_strings"])
def test_linear_classifier(check_ort: Any, labels: str, transform: str) -> None:
    names: Any = [7, 3, 5] if labels.endswith("ints") else ["x", "y", "z"]
    scale = 0.02 if transform == "PROBIT" else 1.0  # a probability
    attributes = {
        "coefficients": (floats(12) * scale).tolist(),
        "intercepts": [0.3, 0.4, 0.6],  # onnxruntime's PROBIT loses its digits near a half
        "post_transform": transform,
        labels: names,
    }
    output = "int64" if labels.endswith("ints") else "string"
    check_ort("LinearClassifier", [floats(6, 4, seed=2)], [output, "float"], attributes, **ML)


@pytest.mark.parametrize("p", [1e-6, 0.1, 0.499, 0.4999, 0.50001, 0.7, 0.99])
def test_probit_has_its_digits_at_a_half_too(p: float) -> None:
    """The approximation of erf is right to 0.2 %."""
    given = torch.tensor([p])
    exact = NormalDist().inv_cdf(float(given))
    assert transformed("PROBIT")(given).item() == pytest.approx(exact, rel=3e-3)


@pytest.mark.parametrize("transform", ["NONE", "LOGISTIC"])
def test_linear_classifier_of_one_score(check_ort: Any, transform: str) -> None:
    attributes = {
        "coefficients": floats(4).tolist(),
        "intercepts": [0.3],
        "post_transform": transform,
        "classlabels_ints": [7, 3],
    }
    check_ort("LinearClassifier", [floats(6, 4, seed=2)], ["int64", "float"], attributes, **ML)


@pytest.mark.parametrize("transform", ["NONE", "LOGISTIC", "SOFTMAX"])
def test_linear_regressor(check_ort: Any, transform: str) -> None:
    attributes = {
        "coefficients": floats(8).tolist(),
        "intercepts": [0.3, 0.4],
        "targets": 2,
        "post_transform": transform,
    }
    check_ort("LinearRegressor", [floats(6, 4, seed=2)], ["float"], attributes, **ML)


KERNELS = {
    "LINEAR": [0.0, 0.0, 0.0],
    "POLY": [0.5, 1.0, 3.0],
    "RBF": [0.3, 0.0, 0.0],
    "SIGMOID": [0.2, 0.1, 0.0],
}


@pytest.mark.parametrize("one_class", [0, 1])
@pytest.mark.parametrize("kernel", KERNELS)
def test_svm_regressor(check_ort: Any, kernel: str, one_class: int) -> None:
    attributes = {
        "coefficients": floats(5, seed=3).tolist(),
        "kernel_params": KERNELS[kernel],
        "kernel_type": kernel,
        "n_supports": 5,
        "one_class": one_class,
        "rho": [0.2],
        "support_vectors": floats(20, seed=4).tolist(),
    }
    check_ort("SVMRegressor", [floats(6, 4, seed=2)], ["float"], attributes, **ML)


@pytest.mark.parametrize("proba", [False, True], ids=["scores", "probabilities"])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("kernel", KERNELS)
def test_svm_classifier(check_ort: Any, kernel: str, classes: int, proba: bool) -> None:
    pairs = classes * (classes - 1) // 2
    counts = [2, 3, 2][:classes]
    attributes: dict[str, Any] = {
        "classlabels_ints": [4, 9, 2][:classes],
        "coefficients": floats((classes - 1) * sum(counts), seed=3).tolist(),
        "kernel_params": KERNELS[kernel],
        "kernel_type": kernel,
        "rho": [0.2, -0.1, 0.05][:pairs],
        "support_vectors": floats(sum(counts) * 4, seed=4).tolist(),
        "vectors_per_class": counts,
    }
    if proba:
        attributes |= {"prob_a": [-1.5, -1.2, -0.8][:pairs], "prob_b": [0.1, -0.2, 0.05][:pairs]}
    check_ort(
        "SVMClassifier", [floats(8, 4, seed=2)], ["int64", "float"], attributes, rtol=1e-3, **ML
    )


@pytest.mark.parametrize("transform", ["NONE", "LOGISTIC", "SOFTMAX"])
def test_svm_classifier_linear(check_ort: Any, transform: str) -> None:
    attributes = {
        "classlabels_strings": ["a", "b", "c"],
        "coefficients": floats(12, seed=3).tolist(),
        "kernel_params": [0.0, 0.0, 0.0],
        "kernel_type": "LINEAR",
        "post_transform": transform,
        "rho": [0.2] * 3,
    }
    check_ort("SVMClassifier", [floats(8, 4, seed=2)], ["string", "float"], attributes, **ML)


def test_two_scores_of_one() -> None:
    """As ONNX's reference evaluator makes them; onnxruntime leaves the transform out."""
    import torch
    from hal_torch.kernels._ml_scores import finished

    got = finished(torch.tensor([[0.5], [-2.0]]), "SOFTMAX", 0)
    want = [
        [1 / (1 + np.exp(1)), 1 / (1 + np.exp(-1))],
        [1 / (1 + np.exp(-4)), 1 / (1 + np.exp(4))],
    ]
    np.testing.assert_allclose(got, want, rtol=1e-6)
    np.testing.assert_array_equal(finished(torch.tensor([[0.5]]), "LOGISTIC"), [[0.5]])


def _map_model(node: Any, given: Any, made: Any) -> bytes:
    from onnx import helper

    graph = helper.make_graph([node], "g", [given], [made])
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 1)]
    data: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    return data


MAPS: tuple[tuple[str, dict[str, Any], int], ...] = (
    ("CastMap", {"cast_to": "TO_FLOAT"}, 1),
    ("CastMap", {"cast_to": "TO_STRING"}, 8),
    ("CastMap", {"cast_to": "TO_INT64"}, 7),
    ("CastMap", {"cast_to": "TO_FLOAT", "map_form": "SPARSE", "max_map": 5}, 1),
    ("DictVectorizer", {"int64_vocabulary": [3, 1, 9]}, 1),
)


@pytest.mark.parametrize(("op_type", "attributes", "output"), MAPS)
def test_operators_of_maps(
    torch_backend: Any, torch_cpu: Any, op_type: str, attributes: Any, output: int
) -> None:
    import onnxruntime
    from onnx import TensorProto, helper

    from hal.model import Model
    from hal.tensor import MapValue, Tensor

    values = helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    type_ = helper.make_map_type_proto(TensorProto.INT64, values)
    data = _map_model(
        helper.make_node(op_type, ["x"], ["y"], "node", domain="ai.onnx.ml", **attributes),
        helper.make_value_info("x", type_),
        helper.make_tensor_value_info("y", output, None),
    )
    (want,) = onnxruntime.InferenceSession(data).run(None, {"x": {3: 1.25, 1: 2.5}})
    given = MapValue(
        "map(int64,tensor(float))",
        Tensor.from_numpy(np.array([3, 1])),
        Tensor.from_numpy(np.array([1.25, 2.5], F32)),
    )
    executable = torch_backend.compile(torch_cpu, Model(data), {})
    got = executable.run({"x": given})["y"].numpy()
    assert got.tolist() == want.tolist()
    assert got.dtype.kind == np.asarray(want).dtype.kind


def test_zip_map(torch_backend: Any, torch_cpu: Any) -> None:
    from onnx import TensorProto, helper

    from hal.model import Model
    from hal.tensor import Tensor

    values = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    type_ = helper.make_map_type_proto(TensorProto.STRING, values)
    labels = ["a", "b"]
    data = _map_model(
        helper.make_node(
            "ZipMap", ["x"], ["y"], "node", domain="ai.onnx.ml", classlabels_strings=labels
        ),
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 2]),
        helper.make_value_info("y", helper.make_sequence_type_proto(type_)),
    )
    executable = torch_backend.compile(torch_cpu, Model(data), {})
    x = np.array([[0.25, 0.75], [0.5, 0.5]], F32)
    got = executable.run({"x": Tensor.from_numpy(x)})["y"]
    assert [m.keys.numpy().tolist() for m in got.items] == [labels, labels]
    np.testing.assert_array_equal([m.values.numpy() for m in got.items], x)


def test_a_key_beyond_the_sparse_row_is_an_error() -> None:
    from hal_torch.kernels import ml

    with pytest.raises(ValueError, match="max_map"):
        ml.cast_map({9: 1.0}, map_form="SPARSE", max_map=4)


def test_double_stays_double(check_ort: Any) -> None:
    attributes = {"norm": "L2"}
    (got,) = check_ort("Normalizer", [X.astype(np.float64)], ["float"], attributes, **ML)
    assert got.type == "tensor(float)"


def test_unknown_transform_is_refused(run_ml: Any) -> None:
    with pytest.raises(Exception, match="'CUBE' is none of NONE"):
        run_ml("LinearRegressor", {"coefficients": [1.0], "post_transform": "CUBE"})


def test_one_hot_without_a_category_is_an_error(run_ml: Any) -> None:
    with pytest.raises(Exception, match="no category"):
        run_ml("OneHotEncoder", {"cats_int64s": [5], "zeros": 0})


@pytest.fixture
def run_ml(torch_backend: Any, torch_cpu: Any) -> Any:
    """Runs a node of ai.onnx.ml over one float [1, 1]."""
    from onnx import TensorProto, helper

    from hal.model import Model
    from hal.tensor import Tensor

    def run(op_type: str, attributes: Any) -> Any:
        node = helper.make_node(op_type, ["x"], ["y"], "node", domain="ai.onnx.ml", **attributes)
        graph = helper.make_graph(
            [node],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        )
        opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 1)]
        model = Model(helper.make_model(graph, opset_imports=opsets).SerializeToString())
        executable = torch_backend.compile(torch_cpu, model, {})
        return executable.run({"x": Tensor.from_numpy(np.ones((1, 1), F32))})["y"]

    return run
