"""Tree ensembles: official cases, and random forests against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

F32 = np.float32
MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ")
FEATURES = 3


def forest(
    kind: str,
    targets: int,
    *,
    trees: int = 3,
    modes: tuple[str, ...] = ("BRANCH_LEQ",),
    each: int = 1,
    positive: bool = False,
    missing: bool = False,
) -> dict[str, Any]:
    """Attributes of random trees of uneven depth; every leaf has `each` weights."""
    random = np.random.default_rng(len(modes) + targets + trees)
    made: dict[str, list[Any]] = {
        f"nodes_{name}": []
        for name in (
            *("treeids", "nodeids", "featureids", "values", "modes"),
            *("truenodeids", "falsenodeids", "missing_value_tracks_true"),
        )
    }
    leaves: dict[str, list[Any]] = {
        f"{kind}_{name}": [] for name in ("treeids", "nodeids", "ids", "weights")
    }

    def grow(tree: int, number: int, depth: int) -> int:
        leaf = depth == 0 or (depth < 3 and random.random() < 0.3)
        row = len(made["nodes_modes"])
        values = (
            *(tree, number, int(random.integers(FEATURES)), float(random.integers(-2, 3))),
            *("LEAF" if leaf else str(random.choice(modes)), 0, 0),
            int(missing and not leaf and random.random() < 0.5),
        )
        for column, value in zip(made.values(), values, strict=True):
            column.append(value)
        after = number + 1
        if leaf:
            for index in range(each):
                weight = random.normal()
                entry = (tree, number, (index + int(random.integers(targets))) % targets)
                entry = (tree, number, index) if each == targets else entry
                for column, value in zip(
                    leaves.values(), (*entry, abs(weight) / 3 if positive else weight), strict=True
                ):
                    column.append(value)
            return after
        made["nodes_truenodeids"][row] = after
        after = grow(tree, after, depth - 1)
        made["nodes_falsenodeids"][row] = after
        return grow(tree, after, depth - 1)

    for tree in range(trees):
        grow(tree, 0, 3)
    return {**made, **leaves}


def rows(dtype: Any = F32) -> Any:
    """Small whole numbers, so that values meet thresholds."""
    return np.random.default_rng(5).integers(-3, 4, (20, FEATURES)).astype(dtype)


def check(check_ort: Any, op_type: str, x: Any, outputs: Any, attributes: Any, v: int = 3) -> None:
    check_ort(op_type, [x], outputs, attributes, domain="ai.onnx.ml", version=v)


def test_official_cases(official_failures: Any) -> None:
    assert official_failures(["ai.onnx.ml::TreeEnsemble"]) == []


@pytest.mark.parametrize("function", ["SUM", "AVERAGE", "MIN", "MAX"])
@pytest.mark.parametrize(("targets", "each"), [(1, 1), (3, 1), (3, 2), (3, 3)])
def test_regressor_aggregates(check_ort: Any, targets: int, each: int, function: str) -> None:
    attributes = forest("target", targets, each=each)
    attributes |= {"n_targets": targets, "aggregate_function": function}
    if each == targets:  # onnxruntime adds none to a target that no leaf reaches
        attributes["base_values"] = [0.5, -1.0, 2.0][:targets]
    check(check_ort, "TreeEnsembleRegressor", rows(), ["float"], attributes)


@pytest.mark.parametrize("modes", [*((m,) for m in MODES), MODES], ids="+".join)
@pytest.mark.parametrize("version", [1, 3])
def test_regressor_modes(check_ort: Any, modes: tuple[str, ...], version: int) -> None:
    attributes = {**forest("target", 1, modes=modes, trees=5), "n_targets": 1}
    check(check_ort, "TreeEnsembleRegressor", rows(), ["float"], attributes, version)


def test_regressor_missing_values(check_ort: Any) -> None:
    x = rows()
    x[::3, 1] = np.nan
    attributes = {**forest("target", 1, trees=5, missing=True), "n_targets": 1}
    assert any(attributes["nodes_missing_value_tracks_true"])
    check(check_ort, "TreeEnsembleRegressor", x, ["float"], attributes)


@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.int32])
def test_classifier_input_types(check_ort: Any, dtype: Any) -> None:
    attributes = {**forest("class", 3, each=3), "classlabels_int64s": [0, 1, 2]}
    check(check_ort, "TreeEnsembleClassifier", rows(dtype), ["int64", "float"], attributes)


def test_regressor_of_doubles(check_ort: Any) -> None:
    attributes = {**forest("target", 2), "n_targets": 2}
    check(check_ort, "TreeEnsembleRegressor", rows(np.float64), ["float"], attributes)


@pytest.mark.parametrize("transform", ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"])
def test_regressor_transforms(check_ort: Any, transform: str) -> None:
    attributes = {**forest("target", 3, each=3), "n_targets": 3, "post_transform": transform}
    check(check_ort, "TreeEnsembleRegressor", rows(), ["float"], attributes)


@pytest.mark.parametrize("transform", ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"])
@pytest.mark.parametrize("labels", ["int64", "string"])
def test_classifier_of_three(check_ort: Any, labels: str, transform: str) -> None:
    names: Any = [5, 7, 2] if labels == "int64" else ["a", "b", "c"]
    attributes = {**forest("class", 3, each=3), "post_transform": transform}
    attributes[f"classlabels_{labels}s"] = names
    check(check_ort, "TreeEnsembleClassifier", rows(), [labels, "float"], attributes)


@pytest.mark.parametrize("base", [(), (0.25,)], ids=["", "base"])
@pytest.mark.parametrize("positive", [False, True], ids=["mixed", "positive"])
@pytest.mark.parametrize("transform", ["NONE", "LOGISTIC"])
def test_binary_classifier_of_one_class(
    check_ort: Any, transform: str, positive: bool, base: tuple[float, ...]
) -> None:
    attributes = {**forest("class", 1, positive=positive), "post_transform": transform}
    attributes["classlabels_int64s"] = [3, 8]
    if base:
        attributes["base_values"] = list(base)
    check(check_ort, "TreeEnsembleClassifier", rows(), ["int64", "float"], attributes)


def test_tree_ensemble_5(check_ort: Any) -> None:
    attributes: dict[str, Any] = {
        "n_targets": 2,
        "aggregate_function": 1,
        "post_transform": 0,
        "tree_roots": [0, 2],
        "nodes_featureids": [0, 1, 2],
        "nodes_modes": np.array([0, 6, 4], np.uint8),
        "nodes_splits": np.array([0.5, 0.0, 1.0], F32),
        "nodes_truenodeids": [1, 0, 2],
        "nodes_trueleafs": [0, 1, 1],
        "nodes_falsenodeids": [3, 1, 4],
        "nodes_falseleafs": [1, 1, 1],
        "leaf_targetids": [0, 1, 0, 1, 1],
        "leaf_weights": np.array([1.0, 2.0, 4.0, 8.0, 16.0], F32),
        "membership_values": np.array([-1.0, 2.0, 3.0, np.nan], F32),
    }
    from onnx import numpy_helper

    for name, value in attributes.items():
        if isinstance(value, np.ndarray):
            attributes[name] = numpy_helper.from_array(value, name)
    check(check_ort, "TreeEnsemble", rows(), ["float"], attributes, 5)


def test_no_rows(check_ort: Any) -> None:
    attributes = {**forest("target", 2), "n_targets": 2}
    check(check_ort, "TreeEnsembleRegressor", rows()[:0], ["float"], attributes)


def test_bad_trees_are_model_errors() -> None:
    from hal_torch.kernels._forest import LESS, Forest

    from hal.errors import ModelError

    cycle = Forest(
        roots=np.array([0]),
        feature=np.zeros(2, np.int64),
        threshold=np.zeros(2, F32),
        test=np.full(2, LESS),
        when_true=np.array([1, 0]),
        when_false=np.array([1, 0]),
        missing_true=np.zeros(2, bool),
    )
    with pytest.raises(ModelError, match="cycle"):
        cycle.depth()
