"""Support vectors, trees, n-grams and maps once more: defaults, zeros, what is infinite, sets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hal import ElementType, MapValue, SequenceValue, Tensor
from hal_conformance.contract.draft import Ask, Draft, Run, generates
from hal_conformance.contract.families.ml_edges import probit
from hal_conformance.contract.numbers import is_float, largest, narrow, widen
from hal_conformance.contract.tolerance import accumulated, composed, elementary

_FLOAT = "tensor(float)"
_F = ElementType.FLOAT
_ML = "ai.onnx.ml::"
_NEAR = composed(_F, magnitude=32.0)
_NONE = [0.0, 0.0, 0.0]


@generates(_ML + "SVMRegressor")
def plain_regressor(ask: Ask) -> Iterator[Draft]:
    """Without support vectors, by default linear: zeros and infinity among the results; each
    transformation of them."""
    if not is_float(ask.element):
        return
    rows = np.array([[1.0, 2.0], [np.inf, 1.0], [-0.5, 0.25], [0.125, 0.5], [2.0, 1.0]])
    zeros = np.array([[1.0, 2.0], [-2.0, 1.0], [0.5, -0.25], [1.0, 1.0], [2.0, -1.0]])
    weights, rho = np.array([0.5, 1.0]), 0.0
    yield Draft(
        slug="plain",
        runs=tuple(
            Run((narrow(v, ask.element),), ((v @ weights + rho)[:, None],)) for v in (rows, zeros)
        ),
        outputs=(_FLOAT,),
        attributes={"coefficients": weights.tolist(), "rho": [rho], "kernel_params": _NONE},
        tolerance=_NEAR,
        oracle="native",
    )
    x = ask.draw("default").tensor(ask.element, (6, 2), -3, 3)
    yield ask.draft(
        "default",
        [x],
        outputs=(_FLOAT,),
        attributes={
            "coefficients": [1.0, -0.5],
            "support_vectors": [0.5, -1.0, 2.0, 0.25],
            "n_supports": 2,
            "kernel_params": [0.5, 1.0, 2.0],
            "rho": [0.375],
        },
        tolerance=_NEAR,
        oracle="native",
    )
    if ask.full:
        x = narrow(np.array([[0.25, 0.25], [0.5, 0.25], [0.125, 0.75]]), ask.element)
        yield ask.draft(
            "probit",
            [x],
            [probit(widen(x) @ weights + 0.0625)[:, None]],
            outputs=(_FLOAT,),
            attributes={
                "coefficients": weights.tolist(),
                "rho": [0.0625],
                "kernel_params": _NONE,
                "post_transform": "PROBIT",
            },
            tolerance=_NEAR,
            oracle="none",
            reason="onnx 1.23.2's evaluator has no PROBIT of a target",
        )


@generates(_ML + "SVMClassifier")
def plain_classifier(ask: Ask) -> Iterator[Draft]:
    """Each transformation of the votes' scores, by default linear; without support vectors, zeros
    and infinity among the scores, and PROBIT."""
    if not (ask.first and is_float(ask.element)):
        return
    base: dict[str, Any] = {
        "coefficients": [1.0, 0.5, -0.75, -1.25, 0.25, 0.5, -1.0, 0.75],
        "support_vectors": [0.5, -1.0, 2.0, 0.25, -1.5, 1.0, 1.25, -0.75],
        "vectors_per_class": [2, 1, 1],
        "rho": [0.375, -0.25, 0.125],
        "kernel_params": _NONE,
        "classlabels_ints": [7, -2, 40],
    }
    rows: list[tuple[str, dict[str, Any]]] = [
        ("default", {}),
        ("softmax", {"post_transform": "SOFTMAX"}),
        ("logistic", {"post_transform": "LOGISTIC"}),
        ("softmax-zero", {"post_transform": "SOFTMAX_ZERO"}),
    ]
    for slug, settings in rows:
        if slug != "default" and not ask.full:
            continue
        x = ask.draw(slug).tensor(ask.element, (7, 2), -2, 2)
        yield ask.draft(
            slug,
            [x],
            outputs=("tensor(int64)", _FLOAT),
            attributes={**base, **settings},
            tolerance=_NEAR,
            oracle="native",
        )
    weights, labels = np.array([[0.5, 0.25], [0.25, 1.0], [1.0, 0.5]]), [7, -2, 40]
    values: list[list[list[float]]] = [
        [[1, 2], [np.inf, 1], [3, 1]],
        [[0.25, -0.5], [1, -1], [-1, 0.5]],
    ]
    shown = [values, [[[0.125, 0.5], [0.125, 0.25], [0.5, 0.25]]]] if ask.full else [values]
    for slug, given in zip(("plain", "probit"), shown, strict=False):
        runs = []
        for row in given:
            scores = np.array(row) @ weights.T
            chosen = np.array([labels[i] for i in scores.argmax(1)])
            result = probit(scores) if slug == "probit" else scores
            runs.append(Run((narrow(np.array(row), ask.element),), (chosen, result)))
        yield Draft(
            slug=slug,
            runs=tuple(runs),
            outputs=("tensor(int64)", _FLOAT),
            attributes={
                "coefficients": weights.ravel().tolist(),
                "rho": [0.0] * 3,
                "kernel_params": _NONE,
                "classlabels_ints": labels,
                **({"post_transform": "PROBIT"} if slug == "probit" else {}),
            },
            tolerance=_NEAR,
            oracle="native",
        )


@generates(_ML + "TreeEnsemble")
def sets_and_ends(ask: Ask) -> Iterator[Draft]:
    """One tree a row: infinity against the largest number, infinite weights, and NaN; a target of
    no leaf; members of two sets; PROBIT."""
    top = largest(ask.element)
    settings: list[tuple[str, float, list[float], int, int]] = [
        ("ends", top, [np.inf, -np.inf, 0.5], 3, 0),
        ("nan-leaf", 0.5, [np.nan, -0.25, 0.5], 2, 0),
        ("probit", 0.5, [0.25, 0.625, 0.75], 2, 4),
    ]
    x = np.array([[0.25, 2], [np.inf, 0.5], [-np.inf, 3], [1, 1], [2, 0.75], [top, 1], [0, -1]])
    for slug, split, leaves, targets, transform in settings:
        if transform and not ask.full:
            continue
        given = narrow(x, ask.element)
        wide = widen(given)
        result = np.full((7, targets), 0.0)
        small = wide[:, 0] <= split
        result[:, 0] = np.where(small, leaves[0], 0)
        result[:, 1] = np.where(small, 0, np.where(wide[:, 1] < 1, leaves[1], leaves[2]))
        if transform:
            result = np.full((7, targets), 0.0) + result + 0.125
        attributes: dict[str, Any] = {
            "tree_roots": [0],
            "nodes_splits": narrow(np.array([split, 1.0]), ask.element),
            "nodes_featureids": [0, 1],
            "nodes_modes": narrow(np.array([0, 1]), ElementType.UINT8),
            "nodes_truenodeids": [0, 1],
            "nodes_trueleafs": [1, 1],
            "nodes_falsenodeids": [1, 2],
            "nodes_falseleafs": [0, 1],
            "leaf_targetids": [0, 1, 1],
            "leaf_weights": narrow(np.array(leaves), ask.element),
            "n_targets": targets,
        }
        if transform:  # a second tree of one leaf a target, so that all are in (0, 1)
            attributes |= {
                "tree_roots": [0, 2, 3],
                "nodes_splits": narrow(np.array([split, 1.0, 0.0, 0.0]), ask.element),
                "nodes_featureids": [0, 1, 0, 0],
                "nodes_modes": narrow(np.array([0, 1, 0, 0]), ElementType.UINT8),
                "nodes_truenodeids": [0, 1, 3, 4],
                "nodes_trueleafs": [1, 1, 1, 1],
                "nodes_falsenodeids": [1, 2, 3, 4],
                "nodes_falseleafs": [0, 1, 1, 1],
                "leaf_targetids": [0, 1, 1, 0, 1],
                "leaf_weights": narrow(np.array([*leaves, 0.125, 0.125]), ask.element),
                "post_transform": transform,
            }
            result = probit(result)
        yield ask.draft(
            slug,
            [given],
            [result],
            attributes=attributes,
            tolerance=composed(ask.element, magnitude=4.0)
            if transform
            else elementary(ask.element, "Add", absolute=4.0),
            oracle="none" if transform else "native",
            reason="onnx 1.23.2's evaluator transforms nothing",
        )
    yield _members(ask)


def _members(ask: Ask) -> Draft:
    """Two sets in one tree, each ended by NaN."""
    x = np.array([[5, 3], [1.5, 2], [2, 2.5], [0.25, 0.25], [1, 0.5], [7, 3]])
    given = narrow(x, ask.element)
    first = np.isin(x[:, 0], (5, 2, 1))
    second = np.isin(x[:, 1], (2, 3))
    sets = np.array([5, 2, 1, np.nan, 2, 3, np.nan])
    return ask.draft(
        "members",
        [given],
        [np.where(first, 0.5, np.where(second, -1.5, 2.0))[:, None]],
        attributes={
            "tree_roots": [0],
            "nodes_splits": narrow(np.zeros(2), ask.element),
            "nodes_featureids": [0, 1],
            "nodes_modes": narrow(np.array([6, 6]), ElementType.UINT8),
            "nodes_truenodeids": [0, 1],
            "nodes_trueleafs": [1, 1],
            "nodes_falsenodeids": [1, 2],
            "nodes_falseleafs": [0, 1],
            "leaf_targetids": [0, 0, 0],
            "leaf_weights": narrow(np.array([0.5, -1.5, 2.0]), ask.element),
            "n_targets": 1,
            "membership_values": narrow(sets, ask.element),
        },
        tolerance=elementary(ask.element, "Add", absolute=4.0),
        oracle="native",
    )


@generates("TfIdfVectorizer")
def many_ngrams(ask: Ask) -> Iterator[Draft]:
    """Nineteen places and weights of many digits; words that fall together in a narrower type; one
    model on several batches, nothing among them."""
    if not ask.first:
        return
    close: dict[ElementType, list[Any]] = {
        ElementType.INT64: [5, 2**40 + 5, 2**53, 2**53 + 1],
        ElementType.INT32: [5, 2**16 + 5, 2**24, 2**24 + 1],
        ElementType.STRING: ["a", "", "naïve", "b"],
    }
    text = ask.element is ElementType.STRING
    pool = close[ask.element] + [f"w{i}" if text else i + 100 for i in range(15)]
    draw = ask.draw("many")
    weights = widen(narrow(draw.floats((19,), 0.5, 4), _F))
    runs = []
    for rows in (2, 2, 3):
        picks = draw.integers((rows, 9), 0, 18)
        picks[:, :4] = [0, 1, 3, 2]
        counts = np.stack([np.bincount(row, minlength=19) for row in picks]) * weights
        words = np.array(pool, object if text else None)[picks]
        runs.append(Run((narrow(words, ask.element),), (counts,)))
    yield Draft(
        slug="many",
        runs=tuple(runs),
        outputs=(_FLOAT,),
        attributes={
            "mode": "TFIDF",
            "max_skip_count": 0,
            "min_gram_length": 1,
            "max_gram_length": 1,
            "ngram_counts": [0],
            "ngram_indexes": list(range(19)),
            "pool_strings" if text else "pool_int64s": pool,
            "weights": weights.tolist(),
        },
        tolerance=accumulated(_F, terms=9, magnitude=36.0),
        oracle="native",
    )


@generates(_ML + "ZipMap")
def other_rows(ask: Ask) -> Iterator[Draft]:
    """One model on other rows: zeros where there were numbers, and more of them."""
    text = "string" in ask.type
    keys: list[Any] = ["a", "", "b", "c", "d"] if text else [3, -1, 7, 0, 5]
    key = "string" if text else "int64"
    inner, sequence = f"map({key}, tensor(float))", f"seq(map({key}, tensor(float)))"
    kind = ElementType.STRING if text else ElementType.INT64
    labels = narrow(np.array(keys, object if text else None), kind)
    first: Tensor = ask.draw("again").tensor(_F, (2, 5), -3, 3)
    zeros = narrow(np.where(np.eye(2, 5, dtype=bool), 0.0, widen(first)), _F)
    more: Tensor = ask.draw("more").tensor(_F, (3, 5), -3, 3)
    runs = []
    for x in (first, zeros, more):
        maps = tuple(MapValue(inner, labels, narrow(row, _F)) for row in widen(x))
        runs.append(Run((x,), (SequenceValue(sequence, maps),)))
    yield Draft(
        slug="again",
        runs=tuple(runs),
        outputs=(sequence,),
        attributes={f"classlabels_{key}s": keys},
        oracle="none",
        reason="onnx 1.23.2's evaluator has no ZipMap",
    )
