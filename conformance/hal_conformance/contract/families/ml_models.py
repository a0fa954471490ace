"""ai.onnx.ml: linear classifiers, support vectors, trees; and counted n-grams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hal import ElementType
from hal_conformance.contract.draft import Ask, Draft, generates
from hal_conformance.contract.numbers import Array, epsilon, is_float, narrow, widen
from hal_conformance.contract.tolerance import Tolerance, accumulated, composed, elementary

_FLOAT = "tensor(float)"
_ML = "ai.onnx.ml::"
_LABELS: dict[str, dict[str, Any]] = {
    "tensor(int64)": {"classlabels_ints": [7, -2, 40]},
    "tensor(string)": {"classlabels_strings": ["a", "", "naïve"]},
}
_TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO")
_NEAR: Tolerance = composed(ElementType.FLOAT, magnitude=32.0)


def _labels(ask: Ask) -> list[str]:
    """The types of labels that an ask is about: both for each type of the data."""
    return list(_LABELS) if ask.first else [ask.type]


@generates(_ML + "LinearClassifier")
def linear_classifier(ask: Ask) -> Iterator[Draft]:
    """Three classes by rows of coefficients; each transformation; labels of both types."""
    source = ask.element if ask.first else ElementType.FLOAT
    for label in _labels(ask):
        for transform in _TRANSFORMS if is_float(source) and label.endswith("(int64)") else (None,):
            slug = f"{label[7:-1]}-{(transform or 'default').lower().replace('_', '-')}"
            x = ask.draw(slug).tensor(source, (5, 2), -4, 4)
            yield ask.draft(
                slug,
                [x],
                outputs=(label, _FLOAT),
                attributes={
                    "coefficients": [0.5, -1.25, 1.5, 0.75, -0.25, 1.0],
                    "intercepts": [0.25, -1.5, 0.5],
                    **_LABELS[label],
                    **({} if transform is None else {"post_transform": transform}),
                },
                tolerance=_NEAR,
                oracle="native",
            )


_VECTORS = [0.5, -1.0, 2.0, 0.25, -1.5, 1.0, 1.25, -0.75]
_KERNELS: dict[str, list[float]] = {
    "LINEAR": [0.0, 0.0, 0.0],
    "POLY": [0.5, 1.0, 2.0],
    "RBF": [0.25, 0.0, 0.0],
    "SIGMOID": [0.25, 0.5, 0.0],
}


@generates(_ML + "SVMRegressor")
def support_regressor(ask: Ask) -> Iterator[Draft]:
    """Each kernel over four vectors; one class, of which only the side is told. The evaluator
    computes on integers as integers, so they have no case."""
    if not is_float(ask.element):
        return
    for kernel, params in _KERNELS.items():
        for one_class in (0, 1) if kernel == "RBF" else (0,):
            slug = kernel.lower() + ("-one-class" if one_class else "")
            x = ask.draw(slug).tensor(ask.element, (6, 2), -3, 3)
            yield ask.draft(
                slug,
                [x],
                outputs=(_FLOAT,),
                attributes={
                    "coefficients": [1.0, -0.5, 0.75, -1.25],
                    "support_vectors": _VECTORS,
                    "n_supports": 4,
                    "rho": [0.375],
                    "kernel_type": kernel,
                    "kernel_params": params,
                    **({"one_class": 1} if one_class else {}),
                },
                tolerance=_NEAR,
                oracle="native",
            )


@generates(_ML + "SVMClassifier")
def support_classifier(ask: Ask) -> Iterator[Draft]:
    """Two vectors a class and votes of every two classes, by each kernel; labels of both types."""
    source = ask.element if ask.first else ElementType.FLOAT
    if not is_float(source):  # see support_regressor
        return
    for label in _labels(ask):
        for kernel, params in _KERNELS.items():
            slug = f"{label[7:-1]}-{kernel.lower()}"
            x = ask.draw(slug).tensor(source, (6, 2), -3, 3)
            yield ask.draft(
                slug,
                [x],
                outputs=(label, _FLOAT),
                attributes={
                    "coefficients": [1.0, 0.5, -0.75, -1.25, 0.25, 0.5, -1.0, 0.75],
                    "support_vectors": _VECTORS,
                    "vectors_per_class": [2, 1, 1],
                    "rho": [0.375, -0.25, 0.125],
                    "kernel_type": kernel,
                    "kernel_params": params,
                    **_LABELS[label],
                },
                tolerance=_NEAR,
                oracle="native",
            )


@generates(_ML + "TreeEnsemble")
def trees(ask: Ask) -> Iterator[Draft]:
    """Two trees of two targets: each comparison, aggregation and transformation; NaN in a node that
    takes it for true; members of a set."""
    rows: list[tuple[str, dict[str, Any], list[int]]] = [
        ("default", {}, [0, 1, 2, 3]),
        ("equal", {}, [1, 4, 5, 2]),
        ("average", {"aggregate_function": 0}, [0, 1, 2, 3]),
        ("sum", {"aggregate_function": 1}, [3, 0, 1, 2]),
        ("min", {"aggregate_function": 2}, [0, 1, 2, 3]),
        ("max", {"aggregate_function": 3}, [2, 3, 0, 1]),
        ("softmax", {"post_transform": 1}, [0, 1, 2, 3]),
        ("logistic", {"post_transform": 2}, [0, 1, 2, 3]),
        ("softmax-zero", {"post_transform": 3}, [0, 1, 2, 3]),
        ("missing", {"nodes_missing_value_tracks_true": [1, 0, 1, 0]}, [0, 1, 2, 3]),
    ]
    element = ask.element
    for slug, settings, modes in rows:
        x = ask.draw(slug).floats((12, 3), -2, 2)
        x[0], x[1], x[2] = (0.5, -0.5, 1.0), (0.75, 0.25, 1.0), (0.5, 0.25, 1.0)
        x[6:8] = (0.5 * (1 + epsilon(element)), -0.5 * (1 - epsilon(element) / 2), 0.75)
        if slug == "missing":
            x[3:6] = np.where(np.eye(3, dtype=bool), np.nan, x[3:6])
        given = narrow(x, element)
        forest = _forest(element, modes)
        if "aggregate_function" in settings:  # of a target without a leaf nothing is the least
            forest |= {"n_targets": 1, "leaf_targetids": [0] * 6}
        attributes = {**forest, **settings}
        transformed = "post_transform" in settings
        yield ask.draft(
            slug,
            [given],
            [_voted(widen(given), attributes)],
            attributes=attributes,
            tolerance=composed(element, magnitude=4.0)
            if transformed
            else elementary(element, "Add", absolute=4.0),
            oracle="none" if transformed else "native",
            reason="onnx 1.23.2's evaluator transforms nothing",
        )


_COMPARISONS = (np.less_equal, np.less, np.greater_equal, np.greater, np.equal, np.not_equal)


def _voted(x: Array, a: dict[str, Any]) -> Array:
    """What the leaves that each row reaches say of each target, aggregated and transformed."""
    modes, splits = widen(a["nodes_modes"]), widen(a["nodes_splits"])
    weights = widen(a["leaf_weights"])
    missing = a.get("nodes_missing_value_tracks_true", [0] * len(splits))
    result = np.zeros((len(x), a["n_targets"]))
    for i, row in enumerate(x):
        found: list[tuple[int, float]] = []
        for root in a["tree_roots"]:
            node, leaf = root, False
            while not leaf:
                value = row[a["nodes_featureids"][node]]
                true = bool(_COMPARISONS[int(modes[node])](value, splits[node]))
                true = true or bool(np.isnan(value) and missing[node])
                way = "true" if true else "false"
                node, leaf = a[f"nodes_{way}nodeids"][node], bool(a[f"nodes_{way}leafs"][node])
            found.append((a["leaf_targetids"][node], float(weights[node])))
        for target in range(a["n_targets"]):
            said = [w for t, w in found if t == target]
            turn = a.get("aggregate_function", 1)
            if turn in (0, 1):
                result[i, target] = sum(said) / (len(a["tree_roots"]) if turn == 0 else 1)
            else:
                result[i, target] = min(said) if turn == 2 else max(said)
    powers = np.exp(result - result.max(1, keepdims=True))
    return np.asarray(
        {
            0: result,
            1: powers / powers.sum(1, keepdims=True),
            2: 1 / (1 + np.exp(-result)),
            3: np.where(result == 0, 0, powers)
            / np.where(result == 0, 0, powers).sum(1, keepdims=True),
        }[a.get("post_transform", 0)]
    )


def _forest(element: ElementType, modes: list[int]) -> dict[str, Any]:
    return {
        "tree_roots": [0, 3],
        "nodes_splits": narrow(np.array([0.5, -0.5, 1.0, 0.25]), element),
        "nodes_featureids": [0, 1, 2, 1],
        "nodes_modes": narrow(np.array(modes), ElementType.UINT8),
        "nodes_truenodeids": [1, 0, 2, 4],
        "nodes_trueleafs": [0, 1, 1, 1],
        "nodes_falsenodeids": [2, 1, 3, 5],
        "nodes_falseleafs": [0, 1, 1, 1],
        "leaf_targetids": [0, 1, 0, 1, 1, 0],
        "leaf_weights": narrow(np.array([0.5, -1.25, 2.0, 0.75, -0.5, 1.5]), element),
        "n_targets": 2,
    }


@generates("TfIdfVectorizer")
def counted_ngrams(ask: Ask) -> Iterator[Draft]:
    """One to two words of a row and of two, with gaps; each mode, weights that differ."""
    if not ask.first:
        return
    text = ask.element is ElementType.STRING
    words: list[Any] = ["a", "", "naïve", "b"] if text else [5, -1, 300, 7]
    picks = [0, 1, 2, 0, 1, 2, 3]
    pool = [words[i] for i in picks]  # three of one word, then two of two words
    name = "pool_strings" if text else "pool_int64s"
    weights = [0.5, 2.0, 1.5, 3.0, 0.25]
    for mode in ("TF", "IDF", "TFIDF"):
        for skip in (0, 2):
            for shape in ((9,), (2, 6)):
                slug = f"{mode.lower()}-skip{skip}-{len(shape)}d"
                draw = ask.draw(slug)
                chosen = draw.integers(shape, 0, 3)
                values = np.array(words, object if text else np.int64)[chosen]
                yield ask.draft(
                    slug,
                    [narrow(values, ask.element)],
                    outputs=(_FLOAT,),
                    attributes={
                        "mode": mode,
                        "max_skip_count": skip,
                        "min_gram_length": 1,
                        "max_gram_length": 2,
                        "ngram_counts": [0, 3],
                        # Whether weights are in the order of the pool or of the results is read
                        # in two ways; here it is one order where there are weights.
                        "ngram_indexes": [1, 0, 4, 2, 3] if mode == "TF" else [0, 1, 2, 3, 4],
                        name: pool,
                        **({} if mode == "TF" else {"weights": weights}),
                    },
                    tolerance=accumulated(ElementType.FLOAT, terms=9, magnitude=32.0),
                    oracle="native",
                )
